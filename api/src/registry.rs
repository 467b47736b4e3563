//! The one list of what is served. Routes, discovery, tables, patches, OpenAPI, decoding and field selectors follow
//! from an entry here and from the [`crate::schema`] table; there is no second list of kinds.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::Object;

/// A kind as it is stored. Each is served under one or more group versions ([`Resource`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    CronJob,
    Event,
    Job,
    Namespace,
    Node,
    Pod,
    Secret,
    ServiceAccount,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::ConfigMap,
        Kind::CronJob,
        Kind::Event,
        Kind::Job,
        Kind::Namespace,
        Kind::Node,
        Kind::Pod,
        Kind::Secret,
        Kind::ServiceAccount,
    ];

    /// The name in the store's `kind` column: the plural.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmaps",
            Kind::CronJob => "cronjobs",
            Kind::Event => "events",
            Kind::Job => "jobs",
            Kind::Namespace => "namespaces",
            Kind::Node => "nodes",
            Kind::Pod => "pods",
            Kind::Secret => "secrets",
            Kind::ServiceAccount => "serviceaccounts",
        }
    }

    /// The kind with that plural.
    #[must_use]
    pub fn find(plural: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == plural)
    }

    /// Where the kind's stored form is served. Events are stored in their core form.
    #[must_use]
    pub fn resource(self) -> &'static Resource {
        resources().iter().find(|resource| resource.stored == self).expect("every kind has an entry")
    }
}

/// A subresource, as discovery lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `log`, `eviction`, …
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// One served resource: a stored kind under one group version.
pub struct Resource {
    pub stored: Kind,
    /// `""` for core.
    pub group: &'static str,
    pub version: &'static str,
    /// `Job`
    pub kind: &'static str,
    /// `jobs`
    pub plural: &'static str,
    /// `job`
    pub singular: &'static str,
    pub namespaced: bool,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// The kind's own rules: its file in [`crate::kind`].
    pub rules: &'static dyn crate::kind::Rules,
}

impl Resource {
    /// `batch/v1`, or `v1` for core.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `jobs.batch`, or `pods` for core: how messages name the resource.
    #[must_use]
    pub fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Job.batch`, or `Pod` for core: how validation messages name the kind.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    #[must_use]
    pub fn find_subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }
}

/// Everything that is served, core first, in the order of discovery (W-38).
#[must_use]
pub fn resources() -> &'static [Resource] {
    todo!()
}

/// The served resource with that group, version and plural.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources().iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The cells of an object's table row, in the order of the schema's columns (section 4 of the wire rules).
#[must_use]
pub fn cells(resource: &Resource, object: &Object, now: Timestamp) -> Vec<Value> {
    resource.rules.cells(object, now)
}
