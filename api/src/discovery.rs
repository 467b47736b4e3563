//! Discovery documents, in both forms (W-33 to W-41), made from the registry.
//!
//! What is answered without being stored (the reviews) is listed here, since the registry holds stored kinds only.

use serde_json::{Map, Value, json};

use crate::registry::{self, Resource, Subresource};

/// A resource that is only ever POSTed to and answered, never stored (W-191 to W-193).
#[derive(Debug)]
pub struct Review {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    /// The full name of its type in the schema table, for [`crate::decode::message`].
    pub type_name: &'static str,
}

/// All reviews, in the order of their groups.
pub const REVIEWS: &[Review] = &[
    Review {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        type_name: "io.k8s.api.authentication.v1.SelfSubjectReview",
    },
    Review {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        type_name: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    },
    Review {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        type_name: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    },
];

/// `/api`, unaggregated.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions("").into_iter().map(|(_, version)| version).collect::<Vec<_>>(),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `/apis`, unaggregated.
#[must_use]
pub fn api_group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; none for a group that is not served.
#[must_use]
pub fn api_group(group: &str) -> Option<Value> {
    let group = groups().into_iter().find(|other| *other == group)?;
    let mut entry = group_entry(group);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

/// `/api/v1` (group `""`) and `/apis/GROUP/VERSION`.
#[must_use]
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    let mut entries = Vec::new();
    for listed in listed().filter(|listed| listed.is_in(group, version)) {
        entries.push(listed.entry());
        for subresource in listed.subresources {
            entries.push(subresource_entry(&listed, subresource));
        }
    }
    if entries.is_empty() {
        return None;
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": entries,
    }))
}

/// The aggregated form of `/api` (`core`) or `/apis`; `version` is `v2` or `v2beta1`.
#[must_use]
pub fn aggregated(core: bool, version: &str) -> Value {
    let names = if core { vec![""] } else { groups() };
    let items: Vec<Value> = names
        .into_iter()
        .map(|group| {
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            let versions: Vec<Value> = versions(group)
                .into_iter()
                .map(|(group, version)| {
                    let resources: Vec<Value> = listed()
                        .filter(|listed| listed.is_in(group, version))
                        .map(|listed| listed.aggregated())
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

/// What discovery says of a resource, stored or not.
struct Listed {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [Subresource],
}

impl Listed {
    fn stored(resource: &'static Resource) -> Self {
        Self {
            group: resource.group,
            version: resource.version,
            kind: resource.kind,
            plural: resource.plural,
            singular: resource.singular,
            namespaced: resource.namespaced,
            verbs: resource.verbs,
            short_names: resource.short_names,
            categories: resource.categories,
            subresources: resource.subresources,
        }
    }

    fn review(review: &'static Review) -> Self {
        Self {
            group: review.group,
            version: review.version,
            kind: review.kind,
            plural: review.plural,
            singular: review.singular,
            namespaced: false,
            verbs: &["create"],
            short_names: &[],
            categories: &[],
            subresources: &[],
        }
    }

    fn is_in(&self, group: &str, version: &str) -> bool {
        self.group == group && self.version == version
    }

    fn entry(&self) -> Value {
        let mut entry = json!({
            "name": self.plural,
            "singularName": self.singular,
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": self.verbs,
        });
        self.add_names(&mut entry);
        entry
    }

    fn aggregated(&self) -> Value {
        let mut entry = json!({
            "resource": self.plural,
            "responseKind": {"group": self.group, "version": self.version, "kind": self.kind},
            "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": self.singular,
            "verbs": self.verbs,
        });
        self.add_names(&mut entry);
        if !self.subresources.is_empty() {
            let subresources: Vec<Value> = self
                .subresources
                .iter()
                .map(|Subresource { name, group, version, kind, verbs }| {
                    json!({
                        "subresource": name,
                        "responseKind": {"group": group, "version": version, "kind": kind},
                        "verbs": verbs,
                    })
                })
                .collect();
            entry["subresources"] = Value::Array(subresources);
        }
        entry
    }

    fn add_names(&self, entry: &mut Value) {
        if !self.short_names.is_empty() {
            entry["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            entry["categories"] = json!(self.categories);
        }
    }
}

/// A subresource in an APIResourceList. Group and version are told where they are not the list's own (W-40).
fn subresource_entry(listed: &Listed, subresource: &Subresource) -> Value {
    let Subresource { name, group, version, kind, verbs } = *subresource;
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(format!("{}/{name}", listed.plural)));
    entry.insert("singularName".to_owned(), json!(""));
    entry.insert("namespaced".to_owned(), json!(listed.namespaced));
    if !listed.is_in(group, version) {
        entry.insert("group".to_owned(), json!(group));
        entry.insert("version".to_owned(), json!(version));
    }
    entry.insert("kind".to_owned(), json!(kind));
    entry.insert("verbs".to_owned(), json!(verbs));
    Value::Object(entry)
}

fn listed() -> impl Iterator<Item = Listed> {
    registry::resources().iter().map(Listed::stored).chain(REVIEWS.iter().map(Listed::review))
}

/// The groups beside core, in the order of preference (W-38).
fn groups() -> Vec<&'static str> {
    let mut groups = Vec::new();
    for listed in listed() {
        if !listed.group.is_empty() && !groups.contains(&listed.group) {
            groups.push(listed.group);
        }
    }
    groups
}

/// The group versions of a group, preferred first.
fn versions(group: &str) -> Vec<(&'static str, &'static str)> {
    let mut versions = Vec::new();
    for listed in listed().filter(|listed| listed.group == group) {
        if !versions.contains(&(listed.group, listed.version)) {
            versions.push((listed.group, listed.version));
        }
    }
    versions
}

/// All served group versions, core first.
pub(crate) fn group_versions() -> Vec<(&'static str, &'static str)> {
    std::iter::once("").chain(groups()).flat_map(versions).collect()
}

fn group_entry(group: &'static str) -> Value {
    let versions: Vec<Value> = versions(group)
        .into_iter()
        .map(|(group, version)| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-2.
    #[test]
    fn api_is_as_in_the_sample() {
        assert_eq!(
            api_versions("127.0.0.1:6443"),
            json!({"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"127.0.0.1:6443"}]})
        );
    }

    /// S-3.
    #[test]
    fn groups_are_listed_with_their_versions() {
        let list = api_group_list();
        assert_eq!(
            list["groups"][0],
            json!({"name":"batch","versions":[{"groupVersion":"batch/v1","version":"v1"}],"preferredVersion":{"groupVersion":"batch/v1","version":"v1"}})
        );
        let names: Vec<_> = list["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
        assert_eq!(names, ["batch", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io"]);
        assert_eq!(api_group("batch").unwrap()["kind"], "APIGroup");
        assert_eq!(api_group("apps"), None);
        assert_eq!(api_group(""), None);
    }

    /// J-101, C-101; S-4, for as many of its kinds as the registry has.
    #[test]
    fn batch_is_as_in_the_sample() {
        let list = api_resource_list("batch", "v1").unwrap();
        assert_eq!(
            (&list["kind"], &list["apiVersion"], &list["groupVersion"]),
            (&json!("APIResourceList"), &json!("v1"), &json!("batch/v1"))
        );
        let sample = json!([
            {"name":"cronjobs","singularName":"cronjob","namespaced":true,"kind":"CronJob","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cj"],"categories":["all"]},
            {"name":"cronjobs/status","singularName":"","namespaced":true,"kind":"CronJob","verbs":["get","patch","update"]},
            {"name":"jobs","singularName":"job","namespaced":true,"kind":"Job","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"categories":["all"]},
            {"name":"jobs/status","singularName":"","namespaced":true,"kind":"Job","verbs":["get","patch","update"]}
        ]);
        let entries = list["resources"].as_array().unwrap();
        for entry in entries {
            assert!(sample.as_array().unwrap().contains(entry), "{entry}");
        }
        assert!(entries.iter().any(|entry| entry["name"] == "jobs/status"));
    }

    /// S-5.
    #[test]
    fn aggregated_form_is_as_in_the_sample() {
        let list = aggregated(false, "v2");
        assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
        let batch = &list["items"][0];
        assert_eq!(batch["metadata"], json!({"name": "batch"}));
        let jobs =
            batch["versions"][0]["resources"].as_array().unwrap().iter().find(|r| r["resource"] == "jobs").unwrap();
        assert_eq!(
            *jobs,
            json!({"resource":"jobs","responseKind":{"group":"batch","version":"v1","kind":"Job"},"scope":"Namespaced","singularResource":"job",
               "verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"categories":["all"],
               "subresources":[{"subresource":"status","responseKind":{"group":"batch","version":"v1","kind":"Job"},"verbs":["get","patch","update"]}]})
        );
        let core = aggregated(true, "v2beta1");
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        assert_eq!(core["items"][0]["metadata"], json!({}));
        assert_eq!(core["items"][0]["versions"][0]["version"], "v1");
    }

    /// W-40: `kubectl drain` looks for it.
    #[test]
    fn pods_have_an_eviction_of_another_group() {
        let list = api_resource_list("", "v1").unwrap();
        let eviction = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["name"] == "pods/eviction")
            .unwrap()
            .clone();
        assert_eq!(
            eviction,
            json!({"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]})
        );
    }

    /// W-41.
    #[test]
    fn every_listed_group_version_has_its_list() {
        for (group, version) in group_versions() {
            assert!(api_resource_list(group, version).is_some(), "{group}/{version}");
        }
        assert_eq!(api_resource_list("batch", "v2"), None);
    }

    #[test]
    fn reviews_are_in_the_schema() {
        for review in REVIEWS {
            let of = crate::schema::find_kind(review.group, review.version, review.kind).unwrap();
            assert_eq!(of.name, review.type_name);
        }
    }
}
