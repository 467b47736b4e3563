//! Label selectors (query strings and typed `LabelSelector`s) and field selectors (W-135 to W-137).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{object::Object, registry::Resource, status::Status};

/// A parsed label selector. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and its value is one of these.
    In(Vec<String>),
    /// The label is absent, or its value is none of these.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

impl Labels {
    /// Parses a `labelSelector` parameter.
    ///
    /// # Errors
    /// 400 `unable to parse requirement: …`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let _ = text;
        todo!()
    }

    /// From a typed selector: `None` selects nothing, an empty one everything.
    #[must_use]
    pub fn from_typed(selector: &LabelSelector) -> Self {
        let _ = selector;
        todo!()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels match; `get` answers a label's value.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let _ = get;
        todo!()
    }
}

/// A parsed field selector: all of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    /// `!=`
    pub negated: bool,
}

impl Fields {
    /// Parses a `fieldSelector` parameter for a resource.
    ///
    /// # Errors
    /// 400 for bad syntax and for fields that the kind does not support (W-136, W-137).
    pub fn parse(resource: &Resource, text: &str) -> Result<Self, Status> {
        let _ = (resource, text);
        todo!()
    }

    /// The value that `field` must equal, if the selector demands one (`metadata.name=x`).
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| !term.negated && term.field == field).map(|term| term.value.as_str())
    }

    #[must_use]
    pub fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.terms
            .iter()
            .all(|term| (resource.rules.field(object, &term.field).unwrap_or_default() == term.value) != term.negated)
    }
}
