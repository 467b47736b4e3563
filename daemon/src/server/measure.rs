//! What of a request is counted for `/metrics`: the labels of upstream's series, and how long it took.

use axum::{body::Body, response::Response};
use http_body_util::BodyExt as _;

use super::{
    path::{Operation, ResourceTarget, Sub, Target},
    query::Query,
};
use crate::{
    metrics::{
        During,
        requests::{self, Labels},
    },
    sys::Stopwatch,
};

/// One request about objects, from when its path was understood.
pub(crate) struct Measured {
    labels: Labels,
    stopwatch: Stopwatch,
    _working: During,
}

/// Requests for documents are not counted, as upstream.
pub(crate) fn begin(target: &Target, query: &str) -> Option<Measured> {
    let labels = labels(target, query)?;
    let is_mutating = !matches!(labels.verb, "GET" | "LIST" | "WATCH");
    Some(Measured { labels, stopwatch: Stopwatch::start(), _working: requests::began(is_mutating) })
}

impl Measured {
    /// A watch or a followed log.
    pub(crate) fn is_stream(&self) -> bool {
        self.labels.is_long
    }

    /// The answer has begun. A stream counts as open until its client has read or left it.
    pub(crate) fn end(self, response: Response) -> Response {
        let Self { labels, stopwatch, _working } = self;
        requests::answered(&labels, response.status().as_str(), stopwatch.elapsed());
        if !labels.is_long || !response.status().is_success() {
            return response;
        }
        let open = requests::streams(&labels);
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &open;
                frame
            }))
        })
    }
}

fn labels(target: &Target, query: &str) -> Option<Labels> {
    match target {
        Target::Resource(target) => Some(of_resource(target, query)),
        Target::Review(review) => Some(Labels {
            verb: "POST",
            dry_run: false,
            group: review.0.group,
            version: review.0.version,
            resource: review.0.plural,
            subresource: "",
            scope: "resource",
            is_long: false,
        }),
        Target::Root
        | Target::Version
        | Target::Metrics
        | Target::Health(_)
        | Target::CoreVersions
        | Target::Groups
        | Target::Group(_)
        | Target::GroupVersion { .. }
        | Target::OpenApiV2
        | Target::OpenApiIndex
        | Target::OpenApiDocument(_) => None,
    }
}

fn of_resource(target: &ResourceTarget, query: &str) -> Labels {
    let ResourceTarget { resource, namespace, name, operation } = target;
    let query = Query::parse(query);
    let sub = |sub| match sub {
        Sub::Main => "",
        Sub::Status => "status",
    };
    let (verb, subresource) = match *operation {
        Operation::List if query.flag("watch") => ("WATCH", ""),
        Operation::List => ("LIST", ""),
        Operation::Create => ("POST", ""),
        Operation::DeleteCollection => ("DELETECOLLECTION", ""),
        Operation::Get(of) => ("GET", sub(of)),
        Operation::Replace(of) => ("PUT", sub(of)),
        Operation::Patch(of) => ("PATCH", sub(of)),
        Operation::Delete => ("DELETE", ""),
        Operation::Log => ("GET", "log"),
        Operation::Evict => ("POST", "eviction"),
        Operation::Finalize => ("PUT", "finalize"),
    };
    let scope = match (name.is_empty() && verb != "POST", namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    };
    Labels {
        verb,
        dry_run: query.filled("dryRun").is_some(),
        group: resource.group,
        version: resource.version,
        resource: resource.plural,
        subresource,
        scope,
        is_long: verb == "WATCH" || (subresource == "log" && query.flag("follow")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::path::resolve;

    #[track_caller]
    fn check(method: &str, path: &str, query: &str, want: &str) {
        let got = labels(&resolve(method, path).unwrap(), query).map(|labels| {
            let Labels { verb, dry_run, group, version, resource, subresource, scope, is_long } = labels;
            format!("{verb} {group}/{version} {resource}/{subresource} {scope} dry={dry_run} long={is_long}")
        });
        assert_eq!(got.as_deref().unwrap_or("none"), want, "{method} {path}?{query}");
    }

    #[test]
    fn requests_are_named_as_upstream_names_them() {
        let jobs = "/apis/batch/v1/namespaces/a/jobs";
        check("GET", jobs, "", "LIST batch/v1 jobs/ namespace dry=false long=false");
        check("GET", "/apis/batch/v1/jobs", "", "LIST batch/v1 jobs/ cluster dry=false long=false");
        check("GET", jobs, "watch=1", "WATCH batch/v1 jobs/ namespace dry=false long=true");
        check("POST", jobs, "dryRun=All", "POST batch/v1 jobs/ resource dry=true long=false");
        check("DELETE", jobs, "", "DELETECOLLECTION batch/v1 jobs/ namespace dry=false long=false");
        check("PATCH", &format!("{jobs}/j/status"), "", "PATCH batch/v1 jobs/status resource dry=false long=false");
        check("GET", "/api/v1/namespaces/a/pods/p/log", "follow=true", "GET /v1 pods/log resource dry=false long=true");
        check("GET", "/version", "", "none");
    }
}
