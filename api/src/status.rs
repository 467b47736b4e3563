//! The Status object: how Kubernetes says that a request failed (section 2.17 of the wire rules).

use serde_json::{Value, json};

use crate::{field::FieldErrors, registry::Resource};

/// A failure as a client sees it. HTTP status and body follow from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub code: u16,
    /// Empty for the few answers that have none.
    pub reason: &'static str,
    pub message: String,
    /// `details`, when known.
    pub details: Option<Value>,
    /// Seconds of the `Retry-After` header, when the client should come back.
    pub retry_after: Option<u32>,
    /// `metadata.continue` of an expired list.
    pub continue_token: Option<String>,
}

impl std::error::Error for Status {}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None, continue_token: None }
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    #[must_use]
    pub fn internal(text: impl std::fmt::Display) -> Self {
        let text = text.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {text}"))
            .with_details(json!({"causes": [{"message": text}]}))
    }

    /// `details` that name an object by plural resource.
    fn object_details(resource: &Resource, name: &str) -> Value {
        if resource.group.is_empty() {
            json!({"name": name, "kind": resource.plural})
        } else {
            json!({"name": name, "group": resource.group, "kind": resource.plural})
        }
    }

    /// W-140.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified_plural()))
            .with_details(Self::object_details(resource, name))
    }

    /// W-60.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource.qualified_plural()))
            .with_details(Self::object_details(resource, name))
    }

    /// W-68, with the usual text.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str) -> Self {
        Self::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    #[must_use]
    pub fn conflict_because(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified_plural()),
        )
        .with_details(Self::object_details(resource, name))
    }

    /// W-144 and W-62: `jobs.batch "n" is forbidden: <why>`.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} \"{name}\" is forbidden: {why}", resource.qualified_plural()))
            .with_details(Self::object_details(resource, name))
    }

    /// J-401, W-64.
    #[must_use]
    pub fn invalid(resource: &Resource, name: &str, errors: &FieldErrors) -> Self {
        Self::invalid_kind(resource.group, resource.kind, name, errors)
    }

    /// The same for kinds that are no resources, such as `ListOptions` of `meta.k8s.io` (S-13).
    #[must_use]
    pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut causes = Vec::new();
        for error in &errors.0 {
            let text = format!("{}: {}", error.field, error.body);
            if !texts.contains(&text) {
                texts.push(text);
            }
            causes.push(json!({"reason": error.rule.reason(), "message": error.body, "field": error.field}));
        }
        let list = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut details = json!({"kind": kind, "causes": causes});
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {list}")).with_details(details)
    }

    /// W-140: a resource or version that is not served inside a served group.
    #[must_use]
    pub fn unknown_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    /// W-65.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(json!({}))
    }

    /// The JSON body.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = json!(token);
        }
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body
    }
}
