//! Which request is meant: method and path -> target, from the registry. Pure; no handler, no body, no query.
//!
//! Clients ask with and without a trailing slash and are never redirected (W-6). What is not served is refused in one of
//! three forms (W-140, W-65), decided here and nowhere else.

use jobd_api::{
    discovery::{REVIEWS, Review},
    registry::{self, Resource},
};

/// What a path is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/`
    Root,
    Version,
    Metrics,
    /// `/healthz`, `/livez`, `/readyz`, with the name of one check after it.
    Health(Option<String>),
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1` (group empty) or `/apis/GROUP/VERSION`
    GroupVersion {
        group: String,
        version: String,
    },
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/…`: the part after it.
    OpenApiDocument(String),
    Resource(ResourceTarget),
    /// POST of a question that is answered and not stored.
    Review(ReviewTarget),
}

/// One of the reviews that discovery lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReviewTarget(pub(crate) &'static Review);

impl PartialEq for ReviewTarget {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for ReviewTarget {}

/// A request about objects.
#[derive(Clone)]
pub(crate) struct ResourceTarget {
    pub(crate) resource: &'static Resource,
    /// Empty for cluster-scoped resources and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) operation: Operation,
}

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// GET of a collection: list or watch, as the query says.
    List,
    Create,
    DeleteCollection,
    Get(Sub),
    Replace(Sub),
    Patch(Sub),
    Delete,
    Log,
    Evict,
    /// PUT of `namespaces/NAME/finalize`.
    Finalize,
}

/// The object itself, or its status subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sub {
    Main,
    Status,
}

impl PartialEq for ResourceTarget {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.resource, other.resource)
            && (&self.namespace, &self.name, self.operation) == (&other.namespace, &other.name, other.operation)
    }
}

impl Eq for ResourceTarget {}

impl std::fmt::Debug for ResourceTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, namespace, name, operation } = self;
        write!(f, "{operation:?} {} {namespace}/{name}", resource.qualified_plural())
    }
}

/// Why a path has no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing of ours: plain text 404 (W-140).
    UnknownPath,
    /// An unknown resource or version of a served group: Status 404 (W-140).
    UnknownResource,
    /// Status 405 (W-65).
    MethodNotAllowed,
}

/// The methods that mean something here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    /// `HEAD`, `OPTIONS` and the rest: no resource has them.
    Other,
}

/// Finds the target of a request. `path` is as it stands on the request line, still percent-encoded.
pub(crate) fn resolve(method: &str, path: &str) -> Result<Target, Refusal> {
    let verb = match method {
        "GET" => Verb::Get,
        "POST" => Verb::Post,
        "PUT" => Verb::Put,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => Verb::Other,
    };
    let trimmed = path.strip_prefix('/').ok_or(Refusal::UnknownPath)?;
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    let segments = trimmed.split('/').map(super::query::decode_path).collect::<Option<Vec<String>>>();
    let segments = segments.ok_or(Refusal::UnknownPath)?;
    let parts = segments.iter().map(String::as_str).collect::<Vec<_>>();
    if parts.len() > 1 && parts.iter().any(|part| part.is_empty()) {
        return Err(Refusal::UnknownPath);
    }
    match parts.as_slice() {
        ["api"] => document(method, Target::CoreVersions),
        ["apis"] => document(method, Target::Groups),
        ["api", version, rest @ ..] => group_version(verb, "", version, rest),
        ["apis", group] => {
            known_group(group)?;
            document(method, Target::Group((*group).to_owned()))
        }
        ["apis", group, version, rest @ ..] => group_version(verb, group, version, rest),
        other => server_wide(method, other),
    }
}

/// Paths outside the API groups; they are only read.
fn server_wide(method: &str, parts: &[&str]) -> Result<Target, Refusal> {
    let target = match parts {
        [""] => Target::Root,
        ["version"] => Target::Version,
        ["metrics"] => Target::Metrics,
        ["healthz" | "livez" | "readyz"] => Target::Health(None),
        ["healthz" | "livez" | "readyz", check] => Target::Health(Some((*check).to_owned())),
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiIndex,
        ["openapi", "v3", rest @ ..] => Target::OpenApiDocument(rest.join("/")),
        _ => return Err(Refusal::UnknownPath),
    };
    document(method, target)
}

/// Documents are read with GET; HEAD is GET without the body, which the transport drops.
fn document(method: &str, target: Target) -> Result<Target, Refusal> {
    if matches!(method, "GET" | "HEAD") { Ok(target) } else { Err(Refusal::MethodNotAllowed) }
}

fn known_group(group: &str) -> Result<(), Refusal> {
    let known = registry::resources().iter().any(|resource| resource.group == group)
        || REVIEWS.iter().any(|review| review.group == group);
    if known { Ok(()) } else { Err(Refusal::UnknownPath) }
}

fn group_version(verb: Verb, group: &str, version: &str, rest: &[&str]) -> Result<Target, Refusal> {
    known_group(group)?;
    let reviews = || REVIEWS.iter().filter(|review| review.group == group && review.version == version);
    let is_served = registry::resources().iter().any(|r| r.group == group && r.version == version);
    if !is_served && reviews().next().is_none() {
        return Err(Refusal::UnknownResource);
    }
    if let [plural] = rest
        && let Some(review) = reviews().find(|review| review.plural == *plural)
    {
        let found = Target::Review(ReviewTarget(review));
        return if verb == Verb::Post { Ok(found) } else { Err(Refusal::MethodNotAllowed) };
    }
    let find = |plural: &str| registry::find(group, version, plural).ok_or(Refusal::UnknownResource);
    let (resource, namespace, name, sub) = match rest {
        [] => {
            let (group, version) = (group.to_owned(), version.to_owned());
            let found = Target::GroupVersion { group, version };
            return if verb == Verb::Get { Ok(found) } else { Err(Refusal::MethodNotAllowed) };
        }
        // `namespaces` is a resource by itself, and the prefix of every namespaced path.
        ["namespaces", namespace, plural] if find("namespaces").is_err() || !is_subresource(group, version, plural) => {
            (namespaced(find(plural)?)?, *namespace, "", "")
        }
        ["namespaces", namespace, plural, name] => (namespaced(find(plural)?)?, *namespace, *name, ""),
        ["namespaces", namespace, plural, name, sub] => (namespaced(find(plural)?)?, *namespace, *name, *sub),
        [plural] => (find(plural)?, "", "", ""),
        [plural, name] => (cluster_scoped(find(plural)?)?, "", *name, ""),
        [plural, name, sub] => (cluster_scoped(find(plural)?)?, "", *name, *sub),
        _ => return Err(Refusal::UnknownResource),
    };
    let operation = operation(verb, resource, namespace, name, sub)?;
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Ok(Target::Resource(ResourceTarget { resource, namespace, name, operation }))
}

/// Whether a namespace's third segment is one of its own subresources (`status`, `finalize`).
fn is_subresource(group: &str, version: &str, name: &str) -> bool {
    registry::find(group, version, "namespaces").is_some_and(|resource| resource.find_subresource(name).is_some())
}

fn namespaced(resource: &'static Resource) -> Result<&'static Resource, Refusal> {
    if resource.namespaced { Ok(resource) } else { Err(Refusal::UnknownResource) }
}

fn cluster_scoped(resource: &'static Resource) -> Result<&'static Resource, Refusal> {
    if resource.namespaced { Err(Refusal::UnknownResource) } else { Ok(resource) }
}

fn operation(verb: Verb, resource: &Resource, namespace: &str, name: &str, sub: &str) -> Result<Operation, Refusal> {
    if !sub.is_empty() {
        return subresource(verb, resource, sub);
    }
    let everywhere = resource.namespaced && namespace.is_empty();
    let (operation, needed) = match (verb, name.is_empty()) {
        (Verb::Get, true) => (Operation::List, "list"),
        (Verb::Post, true) if !everywhere => (Operation::Create, "create"),
        (Verb::Delete, true) if !everywhere => (Operation::DeleteCollection, "deletecollection"),
        (Verb::Get, false) => (Operation::Get(Sub::Main), "get"),
        (Verb::Put, false) => (Operation::Replace(Sub::Main), "update"),
        (Verb::Patch, false) => (Operation::Patch(Sub::Main), "patch"),
        (Verb::Delete, false) => (Operation::Delete, "delete"),
        _ => return Err(Refusal::MethodNotAllowed),
    };
    if resource.verbs.contains(&needed) { Ok(operation) } else { Err(Refusal::MethodNotAllowed) }
}

fn subresource(verb: Verb, resource: &Resource, name: &str) -> Result<Operation, Refusal> {
    let sub = resource.find_subresource(name).ok_or(Refusal::UnknownResource)?;
    let (operation, needed) = match (name, verb) {
        ("status", Verb::Get) => (Operation::Get(Sub::Status), "get"),
        ("status", Verb::Put) => (Operation::Replace(Sub::Status), "update"),
        ("status", Verb::Patch) => (Operation::Patch(Sub::Status), "patch"),
        ("log", Verb::Get) => (Operation::Log, "get"),
        ("eviction", Verb::Post) => (Operation::Evict, "create"),
        ("finalize", Verb::Put) => (Operation::Finalize, "update"),
        ("status" | "log" | "eviction" | "finalize", _) => return Err(Refusal::MethodNotAllowed),
        _ => return Err(Refusal::UnknownResource),
    };
    if sub.verbs.contains(&needed) { Ok(operation) } else { Err(Refusal::MethodNotAllowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, want: &str) {
        let got = match resolve(method, path) {
            Ok(Target::Resource(target)) => format!("{target:?}"),
            Ok(Target::Review(review)) => format!("Review {}", review.0.kind),
            Ok(other) => format!("{other:?}"),
            Err(refusal) => format!("{refusal:?}"),
        };
        assert_eq!(got, want, "{method} {path}");
    }

    #[test]
    fn finds_server_wide_paths_with_and_without_a_trailing_slash_w6() {
        check("GET", "/", "Root");
        check("GET", "/version", "Version");
        check("GET", "/version/", "Version");
        check("GET", "/api", "CoreVersions");
        check("GET", "/api/", "CoreVersions");
        check("GET", "/apis/", "Groups");
        check("HEAD", "/readyz", "Health(None)");
        check("GET", "/livez/ping", "Health(Some(\"ping\"))");
        check("GET", "/apis/batch/", "Group(\"batch\")");
        check("GET", "/apis/batch/v1/", "GroupVersion { group: \"batch\", version: \"v1\" }");
        check("GET", "/api/v1", "GroupVersion { group: \"\", version: \"v1\" }");
        check("GET", "/openapi/v2", "OpenApiV2");
        check("GET", "/openapi/v3", "OpenApiIndex");
        check("GET", "/openapi/v3/apis/batch/v1", "OpenApiDocument(\"apis/batch/v1\")");
    }

    #[test]
    fn finds_collections_objects_and_subresources() {
        check("GET", "/apis/batch/v1/jobs", "List jobs.batch /");
        check("GET", "/apis/batch/v1/namespaces/a/jobs/", "List jobs.batch a/");
        check("POST", "/apis/batch/v1/namespaces/a/jobs", "Create jobs.batch a/");
        check("DELETE", "/apis/batch/v1/namespaces/a/jobs", "DeleteCollection jobs.batch a/");
        check("GET", "/apis/batch/v1/namespaces/a/jobs/x", "Get(Main) jobs.batch a/x");
        check("PUT", "/apis/batch/v1/namespaces/a/jobs/x/status", "Replace(Status) jobs.batch a/x");
        check("PATCH", "/apis/batch/v1/namespaces/a/jobs/x/status", "Patch(Status) jobs.batch a/x");
        check("DELETE", "/api/v1/namespaces/a/pods/p.q", "Delete pods a/p.q");
        check("GET", "/api/v1/namespaces/a/pods/p/log", "Log pods a/p");
        check("POST", "/api/v1/namespaces/a/pods/p/eviction", "Evict pods a/p");
        check("GET", "/api/v1/namespaces", "List namespaces /");
        check("GET", "/api/v1/namespaces/a", "Get(Main) namespaces /a");
        check("PUT", "/api/v1/namespaces/a/finalize", "Finalize namespaces /a");
        check("GET", "/api/v1/namespaces/a/status", "Get(Status) namespaces /a");
        check("GET", "/api/v1/nodes/n", "Get(Main) nodes /n");
        check("GET", "/api/v1/namespaces/a/pods/p%2Dq", "Get(Main) pods a/p-q");
        check("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "Review SelfSubjectAccessReview");
        check("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "MethodNotAllowed");
        check("GET", "/apis/events.k8s.io/v1/events", "List events.events.k8s.io /");
    }

    #[test]
    fn refuses_unknown_paths_groups_versions_and_resources_w140() {
        check("GET", "/nope", "UnknownPath");
        check("GET", "/apis/nope.io", "UnknownPath");
        check("GET", "/apis/apps/v1/deployments", "UnknownPath");
        check("GET", "/apis/batch/v2", "UnknownResource");
        check("GET", "/apis/batch/v1/foos", "UnknownResource");
        check("GET", "/apis/batch/v1/namespaces/a", "UnknownResource");
        check("GET", "/apis/batch/v1/jobs/x", "UnknownResource");
        check("GET", "/apis/batch/v1/namespaces/a/jobs/x/scale", "UnknownResource");
        check("GET", "/api/v1/namespaces/a/nodes", "UnknownResource");
        check("GET", "/api/v1/namespaces/a/deployments/kubernetes", "UnknownResource");
        check("DELETE", "/api/v1/namespaces/default/deployments/kubernetes", "UnknownResource");
        check("GET", "/api/v1/namespaces/default/deployments", "UnknownResource");
        check("GET", "/api/v1/namespaces/a//pods", "UnknownPath");
        check("GET", "/api/v1/namespaces/%ff/pods", "UnknownPath");
    }

    #[test]
    fn refuses_methods_that_a_path_does_not_have_w65() {
        check("POST", "/apis/batch/v1/namespaces/a/jobs/x", "MethodNotAllowed");
        check("POST", "/apis/batch/v1/jobs", "MethodNotAllowed");
        check("DELETE", "/apis/batch/v1/jobs", "MethodNotAllowed");
        check("DELETE", "/api/v1/namespaces", "MethodNotAllowed");
        check("PUT", "/apis/batch/v1/namespaces/a/jobs", "MethodNotAllowed");
        check("POST", "/version", "MethodNotAllowed");
        check("DELETE", "/api/v1/namespaces/a/pods/p/log", "MethodNotAllowed");
        check("OPTIONS", "/api/v1/namespaces/a/pods", "MethodNotAllowed");
    }
}
