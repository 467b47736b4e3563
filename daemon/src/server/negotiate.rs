//! What the client wants to get back: `Accept` (W-12 to W-17) and pretty printing (W-10). Pure.

use jobd_api::status::Status;

/// What an answer is about; decides which shapes are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    One,
    List,
    Watch,
}

/// The shape of an answer about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// The objects themselves.
    Plain,
    /// `meta.k8s.io` Table of that version.
    Table(&'static str),
    /// PartialObjectMetadata, or its list, of that version.
    Metadata(&'static str),
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) shape: Shape,
    pub(crate) pretty: bool,
}

/// The form of `/api` and `/apis` (W-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscoveryForm {
    Unaggregated,
    /// `v2` or `v2beta1`.
    Aggregated(&'static str),
}

/// One item of an `Accept` header.
struct Item<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Item<'_> {
    fn is_json(&self) -> bool {
        // An item can be empty, and `application/*` counts although the reference refuses it (W-12).
        matches!(self.media_type, "" | "*/*" | "application/*" | "application/json")
    }

    fn is_yaml(&self) -> bool {
        self.media_type == "application/yaml"
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn is_pretty(&self) -> bool {
        self.parameter("pretty").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }
}

/// The items, best quality first; equal ones in their order.
fn items(accept: &str) -> Vec<Item<'_>> {
    let mut items = accept
        .split(',')
        .map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters = parts.filter_map(|part| part.split_once('=')).collect::<Vec<_>>();
            let parameters = parameters.into_iter().map(|(key, value)| (key.trim(), value.trim().trim_matches('"')));
            Item { media_type, parameters: parameters.collect() }
        })
        .map(|item| (item.parameter("q").and_then(|quality| quality.parse::<f32>().ok()).unwrap_or(1.0), item))
        .filter(|(quality, _)| *quality > 0.0)
        .collect::<Vec<_>>();
    items.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    items.into_iter().map(|(_, item)| item).collect()
}

/// The first item that can be met decides. An absent header is the same as an empty one.
pub(crate) fn objects(accept: &str, scope: Scope) -> Result<Answer, Status> {
    let found = items(accept).into_iter().find_map(|item| shape(&item, scope).map(|shape| (shape, item.is_pretty())));
    let (shape, pretty) = found.ok_or_else(|| not_acceptable(scope))?;
    Ok(Answer { shape, pretty })
}

/// Whether the first item that can be met at all wants YAML: then the JSON answer is written anew.
pub(crate) fn wants_yaml(accept: &str) -> bool {
    items(accept).iter().find(|item| item.is_json() || item.is_yaml()).is_some_and(Item::is_yaml)
}

/// For what is answered and not stored: there is no table of it and no metadata alone.
pub(crate) fn review(accept: &str) -> Result<(), Status> {
    let plain = items(accept).iter().any(|item| shape(item, Scope::One) == Some(Shape::Plain));
    if plain { Ok(()) } else { Err(not_acceptable(Scope::One)) }
}

/// The form of a discovery answer, by the same walk (W-33, W-34).
pub(crate) fn discovery(accept: &str) -> Result<DiscoveryForm, Status> {
    let found = items(accept).into_iter().filter(Item::is_json).find_map(|item| {
        match (item.parameter("as"), item.parameter("g"), item.parameter("v")) {
            (None, ..) => Some(DiscoveryForm::Unaggregated),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                Some(DiscoveryForm::Aggregated("v2"))
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                Some(DiscoveryForm::Aggregated("v2beta1"))
            }
            (Some(_), ..) => None,
        }
    });
    found.ok_or_else(|| not_acceptable(Scope::One))
}

fn shape(item: &Item<'_>, scope: Scope) -> Option<Shape> {
    if !item.is_json() && (!item.is_yaml() || scope == Scope::Watch) {
        return None;
    }
    let Some(wanted) = item.parameter("as") else { return Some(Shape::Plain) };
    let version = match item.parameter("v") {
        Some("v1") => "meta.k8s.io/v1",
        Some("v1beta1") => "meta.k8s.io/v1beta1",
        Some(_) | None => return None,
    };
    if item.parameter("g") != Some("meta.k8s.io") {
        return None;
    }
    match (wanted, scope) {
        ("Table", _) => Some(Shape::Table(version)),
        // Asking for the wrong one of the two is not acceptable (W-14).
        ("PartialObjectMetadata", Scope::One | Scope::Watch) | ("PartialObjectMetadataList", Scope::List) => {
            Some(Shape::Metadata(version))
        }
        _ => None,
    }
}

/// W-15.
fn not_acceptable(scope: Scope) -> Status {
    let accepted =
        if scope == Scope::Watch { "application/json;stream=watch" } else { "application/json, application/yaml" };
    Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"))
}

/// W-10: `pretty` in the query or the accepted item, or a human's program at the other end.
pub(crate) fn is_pretty(query: &super::query::Query, user_agent: &str, answer: Answer) -> bool {
    query.find_flag("pretty").unwrap_or_else(|| {
        answer.pretty || ["curl", "Wget", "Mozilla/5.0"].iter().any(|start| user_agent.starts_with(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, scope: Scope, want: &str) {
        let got = match objects(accept, scope) {
            Ok(Answer { shape, pretty }) => format!("{shape:?}{}", if pretty { " pretty" } else { "" }),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        assert_eq!(got, want, "{accept}");
    }

    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

    #[test]
    fn takes_the_first_item_that_can_be_met_w12_w13_w14() {
        check("", Scope::One, "Plain");
        check("application/yaml", Scope::List, "Plain");
        check("*/*", Scope::List, "Plain");
        check("application/*", Scope::List, "Plain");
        check("application/json, */*;q=0.8", Scope::List, "Plain");
        check("application/json;stream=watch", Scope::Watch, "Plain");
        check("application/vnd.kubernetes.protobuf,application/json", Scope::One, "Plain");
        check("application/vnd.kubernetes.protobuf, */*", Scope::One, "Plain");
        check("application/json;pretty=1", Scope::One, "Plain pretty");
        check(TABLE, Scope::List, "Table(\"meta.k8s.io/v1\")");
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
            Scope::One,
            "Table(\"meta.k8s.io/v1\")",
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Scope::Watch, "Table(\"meta.k8s.io/v1beta1\")");
        check(
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Scope::List,
            "Metadata(\"meta.k8s.io/v1\")",
        );
        check(
            "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadata",
            Scope::One,
            "Metadata(\"meta.k8s.io/v1\")",
        );
        check(
            "application/json;q=0.1,application/json;as=Table;v=v1;g=meta.k8s.io",
            Scope::List,
            "Table(\"meta.k8s.io/v1\")",
        );
    }

    #[test]
    fn yaml_is_for_who_wants_it_first_w12() {
        assert!(wants_yaml("application/yaml"));
        assert!(wants_yaml("application/vnd.kubernetes.protobuf, application/yaml, application/json;q=0.5"));
        assert!(!wants_yaml("application/json, application/yaml"));
        assert!(!wants_yaml(""));
    }

    #[test]
    fn a_review_has_no_table_w15() {
        for (accept, met) in [
            ("", true),
            ("application/vnd.kubernetes.protobuf, */*", true),
            (TABLE, true),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", false),
            ("text/html", false),
        ] {
            assert_eq!(review(accept).is_ok(), met, "{accept}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_meet_w15() {
        let refusal = "406 only the following media types are accepted: application/json, application/yaml";
        check("text/html", Scope::One, refusal);
        check("application/json;q=0", Scope::One, refusal);
        check("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Scope::List, refusal);
        check("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Scope::One, refusal);
        for accept in ["text/html", "application/yaml"] {
            check(
                accept,
                Scope::Watch,
                "406 only the following media types are accepted: application/json;stream=watch",
            );
        }
    }

    #[test]
    fn chooses_the_discovery_form_w34() {
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        let v2 = format!("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{v2beta1}");
        assert_eq!(discovery(&v2), Ok(DiscoveryForm::Aggregated("v2")));
        assert_eq!(discovery(v2beta1), Ok(DiscoveryForm::Aggregated("v2beta1")));
        assert_eq!(discovery("application/json"), Ok(DiscoveryForm::Unaggregated));
        assert_eq!(discovery("*/*"), Ok(DiscoveryForm::Unaggregated));
    }
}
