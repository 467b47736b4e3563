//! Which objects a list, watch or collection delete is about: what an index can answer, and what is left to check on each.

use jobd_api::{
    object::Object,
    registry::Resource,
    selector::{Fields, Labels, Operator, Requirement},
};

use super::{path::ResourceTarget, query::ListOptions};
use crate::store::{Key, ListQuery, Revision, Stored};

/// How many labels the store is asked for; more are looked at on each object. SQLite refuses a statement of a thousand conditions, and
/// what so many labels leave is short.
const ASKED_LABELS_MAX: usize = 8;

/// The objects that a request selects.
#[derive(Clone)]
pub(crate) struct Selection {
    pub(crate) resource: &'static Resource,
    /// Empty: all namespaces, or a cluster-scoped resource.
    namespace: String,
    labels: Labels,
    fields: Fields,
}

impl Selection {
    pub(crate) fn new(target: &ResourceTarget, options: &ListOptions) -> Self {
        Self {
            resource: target.resource,
            namespace: target.namespace.clone(),
            labels: options.labels.clone(),
            fields: options.fields.clone(),
        }
    }

    /// Whether it has no selectors: then a count of what remains can be given (W-116).
    pub(crate) fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.fields.terms.is_empty()
    }

    /// What the store is asked.
    pub(crate) fn query(&self, at: Option<Revision>, after: Option<(String, String)>, limit: usize) -> ListQuery {
        let exact = |field: &str| self.fields.exact(field).filter(|value| !value.is_empty()).map(str::to_owned);
        let involved =
            |part: &str| exact(&format!("involvedObject.{part}")).or_else(|| exact(&format!("regarding.{part}")));
        ListQuery {
            namespace: Some(self.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: exact("metadata.name"),
            labels: self.labels.requirements.iter().filter_map(exact_label).take(ASKED_LABELS_MAX).collect(),
            involved_uid: involved("uid"),
            involved_name: involved("name"),
            at,
            after,
            ..ListQuery::all(self.resource.stored, limit)
        }
    }

    /// Whether an answer of the store still needs [`Self::matches`].
    pub(crate) fn is_answered_by_index(&self) -> bool {
        let labels = &self.labels.requirements;
        self.fields.terms.is_empty()
            && labels.len() <= ASKED_LABELS_MAX
            && labels.iter().all(|one| exact_label(one).is_some())
    }

    /// Whether an object with this key can match at all; cheap.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        key.kind == self.resource.stored
            && (self.namespace.is_empty() || self.namespace == key.namespace)
            && self.fields.exact("metadata.name").is_none_or(|name| name == key.name)
            && self.fields.exact("metadata.namespace").is_none_or(|namespace| namespace == key.namespace)
    }

    /// Whether an object (in the served shape) matches the selectors.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.labels.matches(|key| object.label(key)) && self.fields.matches(self.resource, object)
    }
}

/// A label that must have one value: what the store's index can answer.
fn exact_label(requirement: &Requirement) -> Option<(String, String)> {
    match &requirement.operator {
        Operator::In(values) => match values.as_slice() {
            [value] => Some((requirement.key.clone(), value.clone())),
            _ => None,
        },
        Operator::NotIn(_)
        | Operator::Exists
        | Operator::DoesNotExist
        | Operator::GreaterThan(_)
        | Operator::LessThan(_) => None,
    }
}

/// A stored object in the shape under which `resource` serves it, with its resourceVersion.
pub(crate) fn served(resource: &Resource, stored: &Stored) -> Result<Object, crate::store::Error> {
    let object = stored.object()?;
    Ok(if is_stored_shape(resource) { object } else { resource.rules.from_stored(object) })
}

/// Whether the resource is served exactly as it is stored; only events have a second shape (W-199).
pub(crate) fn is_stored_shape(resource: &Resource) -> bool {
    std::ptr::eq(resource, resource.stored.resource())
}
