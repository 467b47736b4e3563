//! The quality of service class, which follows from requests and limits (J-2414).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as QuantityText,
};

use crate::{kind::pod_spec::list, quantity::Quantity};

/// The resources that count.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// By the resources of the pod as a whole, if it has any; else `Guaranteed` when every container limits both resources and requests just that, `BestEffort` when none asks for anything,
/// else `Burstable`.
pub(super) fn class(spec: &PodSpec) -> &'static str {
    let containers = spec.containers.iter().chain(list(&spec.init_containers));
    let mut all: Vec<_> = containers.map(|container| container.resources.clone().unwrap_or_default()).collect();
    let is_set = |resources: &&ResourceRequirements| {
        let names = [&resources.limits, &resources.requests].into_iter().flatten().flat_map(BTreeMap::keys);
        names.into_iter().any(|name| RESOURCES.contains(&name.as_str()) || name.starts_with("hugepages-"))
    };
    if let Some(whole) = spec.resources.as_ref().filter(is_set) {
        all = vec![whole.clone()];
    }
    let (mut guaranteed, mut best_effort) = (true, true);
    for resources in all {
        for resource in RESOURCES {
            let limit = amount(resources.limits.as_ref(), resource);
            let request = amount(resources.requests.as_ref(), resource);
            best_effort &= limit.is_none() && request.is_none();
            // A limit without a request is requested in full by default, before this is asked.
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// Zero is as good as nothing.
fn amount(quantities: Option<&BTreeMap<String, QuantityText>>, resource: &str) -> Option<i128> {
    let quantity = Quantity::parse(&quantities?.get(resource)?.0).ok()?;
    Some(quantity.milli()).filter(|milli| *milli > 0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::json;

    #[test]
    fn follows_requests_and_limits_j_2414() {
        for (resources, want) in [
            (json!([{}]), "BestEffort"),
            (json!([{"requests": {"cpu": "0"}}]), "BestEffort"),
            (json!([{"requests": {"ephemeral-storage": "1Gi"}}]), "BestEffort"),
            (json!([{"requests": {"cpu": "1"}}]), "Burstable"),
            (json!([{"limits": {"cpu": "1"}}]), "Burstable"),
            (json!([{"limits": {"cpu": "1", "memory": "1Gi"}}]), "Guaranteed"),
            (
                json!([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}]),
                "Guaranteed",
            ),
            (
                json!([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}]),
                "Burstable",
            ),
            (json!([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}]), "Burstable"),
        ] {
            let containers = resources.as_array().unwrap().iter().map(|one| json!({"name": "c", "resources": one}));
            let spec: PodSpec = serde_json::from_value(json!({"containers": containers.collect::<Vec<_>>()})).unwrap();
            assert_eq!(super::class(&spec), want, "{resources}");
        }
    }
}
