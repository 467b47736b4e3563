//! Resources of the pod as a whole (`spec.resources`): what they default to, and how they stand to those of its containers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity as QuantityText,
};

use super::{container, list, text};
use crate::{
    field::{FieldErrors, Path},
    quantity::Quantity,
};

type Quantities = BTreeMap<String, QuantityText>;

/// What can be given to a pod as a whole, beside huge pages.
const SUPPORTED: [&str; 2] = ["cpu", "memory"];

/// Only the resources that are shared by time or taken back may be promised more than once.
pub(super) fn is_overcommitted(resource: &str) -> bool {
    !resource.contains('/') && !resource.starts_with("hugepages-")
}

fn is_supported(resource: &str) -> bool {
    SUPPORTED.contains(&resource) || resource.starts_with("hugepages-")
}

/// Each amount with its text, which the larger one brings along.
#[derive(Clone, Default)]
struct Sum(BTreeMap<String, (i128, String)>);

impl Sum {
    fn of(container: &Container) -> Self {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let read = |(name, text): (&String, &QuantityText)| {
            let quantity = Quantity::parse(&text.0).ok()?;
            Some((name.clone(), (quantity.milli(), quantity.canonical().to_owned())))
        };
        Self(requests.into_iter().flatten().filter_map(read).collect())
    }

    fn add(&mut self, other: &Self) {
        for (name, (milli, text)) in &other.0 {
            match self.0.get_mut(name) {
                Some((mine, shown)) if *milli != 0 && *mine != 0 => {
                    *mine += milli;
                    *shown = show(name, *mine);
                }
                Some((mine, _)) if *milli == 0 && *mine != 0 => {}
                Some(_) | None => {
                    self.0.insert(name.clone(), (*milli, text.clone()));
                }
            }
        }
    }

    fn raise(&mut self, other: &Self) {
        for (name, (milli, text)) in &other.0 {
            if self.0.get(name).is_none_or(|(mine, _)| mine < milli) {
                self.0.insert(name.clone(), (*milli, text.clone()));
            }
        }
    }
}

/// A sum in canonical form: processors in thousandths, all else in bytes.
fn show(resource: &str, milli: i128) -> String {
    const UNITS: [(&str, i128); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    if resource == "cpu" || milli % 1000 != 0 {
        return if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") };
    }
    let value = milli / 1000;
    let unit = UNITS.iter().find(|(_, size)| value % size == 0);
    unit.map_or_else(|| value.to_string(), |(unit, size)| format!("{}{unit}", value / size))
}

/// What the containers ask for together, or more while they initialise; sidecars count from their start on.
fn aggregate(spec: &PodSpec) -> Sum {
    let mut sum = Sum::default();
    spec.containers.iter().for_each(|container| sum.add(&Sum::of(container)));
    let (mut sidecars, mut initialising) = (Sum::default(), Sum::default());
    for container in list(&spec.init_containers) {
        let own = Sum::of(container);
        let mut meanwhile = sidecars.clone();
        meanwhile.add(&own);
        initialising.raise(&meanwhile);
        if text(&container.restart_policy) == "Always" {
            sum.add(&own);
            sidecars.add(&own);
        }
    }
    sum.raise(&initialising);
    sum
}

/// What a pod asks for of one resource, in thousandths: as a whole, or what its containers ask for together.
#[must_use]
pub fn request(spec: &PodSpec, resource: &str) -> i128 {
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
    match whole.and_then(|text| Quantity::parse(&text.0).ok()) {
        Some(whole) => whole.milli(),
        None => aggregate(spec).0.get(resource).map_or(0, |(milli, _)| *milli),
    }
}

/// A pod that has limits as a whole asks for what its containers ask for, else for all that it is limited to.
pub(super) fn default_requests(spec: &mut PodSpec) {
    let Some(limits) = spec.resources.as_ref().and_then(|resources| resources.limits.clone()) else { return };
    if limits.is_empty() {
        return;
    }
    let asked = aggregate(spec);
    let requests = spec.resources.get_or_insert_default().requests.get_or_insert_default();
    for (name, (_, text)) in asked.0 {
        if is_supported(&name) && is_overcommitted(&name) {
            requests.entry(name).or_insert(QuantityText(text));
        }
    }
    for (name, limit) in limits {
        if is_supported(&name) {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// Names, quantities, and that the containers fit in.
pub(super) fn validate(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        errors.forbidden(&path, "may not be set for a windows pod");
        return;
    }
    if !list(&resources.claims).is_empty() {
        errors.forbidden(&path.child("claims"), "claims may not be set for resources at pod-level");
    }
    container::validate_resources(errors, resources, container::Level::Pod, &path);
    let read = |quantities: &Option<Quantities>, name: &str| Quantity::parse(&quantities.as_ref()?.get(name)?.0).ok();
    for (name, (milli, text)) in aggregate(spec).0 {
        if let Some(request) = read(&resources.requests, &name)
            && milli > request.milli()
        {
            let detail = format!("must be greater than or equal to aggregate container requests of {text}");
            errors.invalid(&path.child("requests").key(&name), request.canonical(), &detail);
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.clone()).unwrap_or_default();
        for (name, limit) in limits {
            if let (Ok(limit), Some(whole)) = (Quantity::parse(&limit.0), read(&resources.limits, &name))
                && limit.milli() > whole.milli()
            {
                // So the API builds it: below the pod's resources, the field last.
                let path = path.child("containers").index(index).key(&name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {}", whole.canonical());
                errors.invalid(&path, limit.canonical(), &detail);
            }
        }
    }
}

/// A name that no pod as a whole can have.
pub(super) fn validate_name(errors: &mut FieldErrors, resource: &str, path: &Path) {
    if !is_supported(resource) {
        if !resource.contains('/') && resource != "ephemeral-storage" && resource != "storage" {
            errors.invalid(path, resource, "must be a standard resource type or fully qualified");
        } else {
            errors.not_supported(path, resource, &["cpu", "hugepages-", "memory"]);
        }
    }
}
