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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{field::Path, registry};

    fn jobs() -> &'static Resource {
        registry::find("batch", "v1", "jobs").unwrap()
    }

    #[track_caller]
    fn check(status: &Status, want: &str) {
        assert_eq!(status.to_json(), serde_json::from_str::<Value>(want).unwrap());
    }

    #[test]
    fn s8_objects_that_exist_are_missing_or_have_changed() {
        check(
            &Status::already_exists(jobs(), "x1"),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"jobs.batch \"x1\" already exists","reason":"AlreadyExists","details":{"name":"x1","group":"batch","kind":"jobs"},"code":409}"#,
        );
        check(
            &Status::not_found(registry::find("", "v1", "pods").unwrap(), "p"),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"p\" not found","reason":"NotFound","details":{"name":"p","kind":"pods"},"code":404}"#,
        );
        check(
            &Status::conflict(jobs(), "u1"),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on jobs.batch \"u1\": the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","details":{"name":"u1","group":"batch","kind":"jobs"},"code":409}"#,
        );
    }

    #[test]
    fn s9_answers_about_no_object() {
        check(
            &Status::new(401, "Unauthorized", "Unauthorized"),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#,
        );
        check(
            &Status::unknown_resource(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#,
        );
        check(
            &Status::method_not_allowed(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server does not allow this method on the requested resource","reason":"MethodNotAllowed","details":{},"code":405}"#,
        );
    }

    #[test]
    fn s10_every_fault_is_a_cause() {
        let mut errors = FieldErrors::default();
        errors.required(&Path::new("spec.template.spec.containers"), "");
        errors.required(&Path::new("spec.template.spec.restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
        check(
            &Status::invalid(jobs(), "x11", &errors),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Job.batch \"x11\" is invalid: [spec.template.spec.containers: Required value, spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"]","reason":"Invalid","details":{"name":"x11","group":"batch","kind":"Job","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.template.spec.containers"},{"reason":"FieldValueRequired","message":"Required value: valid values: \"OnFailure\", \"Never\"","field":"spec.template.spec.restartPolicy"}]},"code":422}"#,
        );
    }

    #[test]
    fn j401_a_repeated_fault_is_said_once_and_caused_twice() {
        let mut errors = FieldErrors::default();
        errors.forbidden(&Path::new("spec"), "no");
        errors.forbidden(&Path::new("spec"), "no");
        let status = Status::invalid(jobs(), "a", &errors);
        assert_eq!(status.message, "Job.batch \"a\" is invalid: spec: Forbidden: no");
        assert_eq!(status.details.unwrap()["causes"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn s12_an_expired_list_offers_a_new_token() {
        let mut status = Status::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result.",
        );
        status.continue_token = Some("NEWTOKEN".to_owned());
        check(
            &status,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{"continue":"NEWTOKEN"},"status":"Failure","message":"The provided continue parameter is too old to display a consistent list result.","reason":"Expired","code":410}"#,
        );
    }

    #[test]
    fn s13_faulty_options_name_their_kind() {
        let mut errors = FieldErrors::default();
        errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        check(
            &Status::invalid_kind("meta.k8s.io", "ListOptions", "", &errors),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list","reason":"Invalid","details":{"group":"meta.k8s.io","kind":"ListOptions","causes":[{"reason":"FieldValueForbidden","message":"Forbidden: sendInitialEvents is forbidden for list","field":"sendInitialEvents"}]},"code":422}"#,
        );
    }
}
