//! Field paths and the list of what is wrong with an object.

use serde_json::Value;

/// The path of a field, such as `spec.template.spec.containers[0].image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path of one or more segments, written with dots.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The field `name` of this object.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Item `index` of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Path {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// What kind of rule was broken; decides `causes[].reason` and the words before the detail (J-402).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    TooLong,
    TooMany,
    Forbidden,
    NotFound,
}

impl Rule {
    /// `causes[].reason`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Rule::Required => "FieldValueRequired",
            Rule::Invalid => "FieldValueInvalid",
            Rule::NotSupported => "FieldValueNotSupported",
            Rule::Duplicate => "FieldValueDuplicate",
            Rule::TooLong => "FieldValueTooLong",
            Rule::TooMany => "FieldValueTooMany",
            Rule::Forbidden => "FieldValueForbidden",
            Rule::NotFound => "FieldValueNotFound",
        }
    }
}

/// One broken rule: where, and the whole text after the path (`Invalid value: -1: must be …`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub rule: Rule,
    pub field: String,
    pub body: String,
}

/// Everything that is wrong with an object, in the order of the rules (J-403).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, other: FieldErrors) {
        self.0.extend(other.0);
    }

    fn push(&mut self, rule: Rule, path: &Path, body: String) {
        self.0.push(FieldError { rule, field: path.as_str().to_owned(), body });
    }

    /// `Required value`, or `Required value: <detail>`.
    pub fn required(&mut self, path: &Path, detail: &str) {
        let body = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        self.push(Rule::Required, path, body);
    }

    /// `Invalid value: <value as JSON>: <detail>`.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.push(Rule::Invalid, path, format!("Invalid value: {}: {detail}", value.into()));
    }

    /// `Invalid value: <detail>`, for rules about a whole object.
    pub fn invalid_object(&mut self, path: &Path, detail: &str) {
        self.push(Rule::Invalid, path, format!("Invalid value: {detail}"));
    }

    /// `Unsupported value: <value>: supported values: "A", "B"`.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let supported = supported.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
        self.push(
            Rule::NotSupported,
            path,
            format!("Unsupported value: {}: supported values: {supported}", value.into()),
        );
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Rule::Duplicate, path, format!("Duplicate value: {}", value.into()));
    }

    /// `Too long: may not be more than <max> bytes`.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(Rule::TooLong, path, format!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: <actual>: must have at most <max> items`.
    pub fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        self.push(Rule::TooMany, path, format!("Too many: {actual}: must have at most {max} items"));
    }

    /// `Forbidden: <detail>`.
    pub fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push(Rule::Forbidden, path, format!("Forbidden: {detail}"));
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Rule::NotFound, path, format!("Not found: {}", value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// J-402, J-405.
    #[test]
    fn each_kind_of_error_has_its_reason_and_its_form() {
        let mut errors = FieldErrors::default();
        let path = Path::new("spec");
        errors.required(&path, "");
        errors.required(&path, "why");
        errors.invalid(&path, -1, "must be greater than or equal to 0");
        errors.invalid(&path, "a\"b", "bad");
        errors.invalid_object(&path, "bad");
        errors.not_supported(&path, "v", &["A", "B"]);
        errors.duplicate(&path, "v");
        errors.too_long(&path, 63);
        errors.too_many(&path, 21, 20);
        errors.forbidden(&path, "no");
        let told: Vec<String> =
            errors.0.iter().map(|e| format!("{} {}: {}", e.rule.reason(), e.field, e.body)).collect();
        assert_eq!(
            told,
            [
                "FieldValueRequired spec: Required value",
                "FieldValueRequired spec: Required value: why",
                "FieldValueInvalid spec: Invalid value: -1: must be greater than or equal to 0",
                "FieldValueInvalid spec: Invalid value: \"a\\\"b\": bad",
                "FieldValueInvalid spec: Invalid value: bad",
                "FieldValueNotSupported spec: Unsupported value: \"v\": supported values: \"A\", \"B\"",
                "FieldValueDuplicate spec: Duplicate value: \"v\"",
                "FieldValueTooLong spec: Too long: may not be more than 63 bytes",
                "FieldValueTooMany spec: Too many: 21: must have at most 20 items",
                "FieldValueForbidden spec: Forbidden: no",
            ]
        );
    }
}
