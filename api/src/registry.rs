//! The one list of what is served. Routes, discovery, tables, patches, OpenAPI, decoding and field selectors follow
//! from an entry here and from the [`crate::schema`] table; there is no second list of kinds.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kind::{
        config_map::ConfigMapRules, cron_job::CronJobRules, event::EventRules, job::JobRules,
        namespace::NamespaceRules, node::NodeRules, pod::PodRules, pod_template::PodTemplateRules, secret::SecretRules,
        service::ServiceRules, service_account::ServiceAccountRules,
    },
    object::Object,
};

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
    PodTemplate,
    Secret,
    Service,
    ServiceAccount,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::ConfigMap,
        Kind::CronJob,
        Kind::Event,
        Kind::Job,
        Kind::Namespace,
        Kind::Node,
        Kind::Pod,
        Kind::PodTemplate,
        Kind::Secret,
        Kind::Service,
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
            Kind::PodTemplate => "podtemplates",
            Kind::Secret => "secrets",
            Kind::Service => "services",
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
    &RESOURCES
}

/// Everything that a full resource can do (W-39).
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

static RESOURCES: [Resource; 12] = [
    Resource {
        stored: Kind::ConfigMap,
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        namespaced: true,
        short_names: &["cm"],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &ConfigMapRules,
    },
    Resource {
        stored: Kind::Event,
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        namespaced: true,
        short_names: &["ev"],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &EventRules::Core,
    },
    Resource {
        stored: Kind::Namespace,
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        namespaced: false,
        short_names: &["ns"],
        categories: &[],
        // No deletecollection: one slip would take everything (W-110).
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: &[
            Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: &["update"] },
            Subresource { name: "status", group: "", version: "v1", kind: "Namespace", verbs: STATUS_VERBS },
        ],
        rules: &NamespaceRules,
    },
    Resource {
        stored: Kind::Node,
        group: "",
        version: "v1",
        kind: "Node",
        plural: "nodes",
        singular: "node",
        namespaced: false,
        short_names: &["no"],
        categories: &[],
        // There is one node, and it is this machine: it is neither made nor removed by clients (W-190).
        verbs: &["get", "list", "patch", "update", "watch"],
        subresources: &[Subresource { name: "status", group: "", version: "v1", kind: "Node", verbs: STATUS_VERBS }],
        rules: &NodeRules,
    },
    Resource {
        stored: Kind::Pod,
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        namespaced: true,
        short_names: &["po"],
        categories: &["all"],
        verbs: ALL_VERBS,
        subresources: &[
            Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
            Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &["get"] },
            Subresource { name: "status", group: "", version: "v1", kind: "Pod", verbs: STATUS_VERBS },
        ],
        rules: &PodRules,
    },
    Resource {
        stored: Kind::PodTemplate,
        group: "",
        version: "v1",
        kind: "PodTemplate",
        plural: "podtemplates",
        singular: "podtemplate",
        namespaced: true,
        short_names: &[],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &PodTemplateRules,
    },
    Resource {
        stored: Kind::Secret,
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        namespaced: true,
        short_names: &[],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &SecretRules,
    },
    Resource {
        stored: Kind::ServiceAccount,
        group: "",
        version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        namespaced: true,
        short_names: &["sa"],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &ServiceAccountRules,
    },
    Resource {
        stored: Kind::Service,
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        singular: "service",
        namespaced: true,
        short_names: &["svc"],
        categories: &["all"],
        verbs: ALL_VERBS,
        subresources: &[Subresource { name: "status", group: "", version: "v1", kind: "Service", verbs: STATUS_VERBS }],
        rules: &ServiceRules,
    },
    Resource {
        stored: Kind::CronJob,
        group: "batch",
        version: "v1",
        kind: "CronJob",
        plural: "cronjobs",
        singular: "cronjob",
        namespaced: true,
        short_names: &["cj"],
        categories: &["all"],
        verbs: ALL_VERBS,
        subresources: &[Subresource {
            name: "status",
            group: "batch",
            version: "v1",
            kind: "CronJob",
            verbs: STATUS_VERBS,
        }],
        rules: &CronJobRules,
    },
    Resource {
        stored: Kind::Job,
        group: "batch",
        version: "v1",
        kind: "Job",
        plural: "jobs",
        singular: "job",
        namespaced: true,
        short_names: &[],
        categories: &["all"],
        verbs: ALL_VERBS,
        subresources: &[Subresource {
            name: "status",
            group: "batch",
            version: "v1",
            kind: "Job",
            verbs: STATUS_VERBS,
        }],
        rules: &JobRules,
    },
    Resource {
        stored: Kind::Event,
        group: "events.k8s.io",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        namespaced: true,
        short_names: &["ev"],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        rules: &EventRules::EventsV1,
    },
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{object::Object, schema};

    #[test]
    fn agrees_with_the_schema_table() {
        for resource in resources() {
            let name = resource.qualified_plural();
            let facts = schema::kind_facts(resource.group, resource.version, resource.kind).unwrap();
            assert_eq!((facts.plural, facts.namespaced), (resource.plural, resource.namespaced), "{name}");
            assert_eq!(
                (&facts.short_names[..], &facts.categories[..]),
                (resource.short_names, resource.categories),
                "{name}"
            );
            for subresource in resource.subresources {
                assert!(facts.subresources.contains(&subresource.name), "{name}/{}", subresource.name);
            }
            // W-137: exactly these can be selected.
            for label in &facts.selectable {
                assert!(resource.rules.field(&Object::default(), label).is_some(), "{name} {label}");
            }
            assert_eq!(resource.rules.field(&Object::default(), "spec.zz"), None, "{name}");
        }
    }

    #[test]
    fn verbs_and_subresources_are_sorted_as_discovery_lists_them() {
        for resource in resources() {
            assert!(resource.verbs.is_sorted());
            assert!(resource.subresources.is_sorted_by_key(|subresource| subresource.name));
        }
        assert!(!find("", "v1", "namespaces").unwrap().verbs.contains(&"deletecollection"));
    }

    #[test]
    fn w38_every_stored_kind_is_found_in_its_stored_form() {
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.as_str()), Some(kind));
            assert_eq!(kind.resource().plural, kind.as_str());
        }
        assert_eq!(Kind::Event.resource().group, "");
    }
}
