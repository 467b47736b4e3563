//! Service accounts: names that pods run under. They hold nothing here but references.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::FieldErrors,
    kind::{Rules, age, drop_empty, metadata_field},
    object::Object,
    status::Status,
    write::{Context, Part},
};

/// The rules of this kind.
pub struct ServiceAccountRules;

impl Rules for ServiceAccountRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        // Of a secret only the name is kept; the rest could point into other namespaces.
        if let Some(Value::Array(secrets)) = new.0.get_mut("secrets") {
            for secret in secrets {
                *secret = secret.get("name").map_or_else(|| json!({}), |name| json!({"name": name}));
            }
        }
        drop_empty(new, &["secrets", "imagePullSecrets"]);
        Ok(())
    }

    fn validate(&self, _new: &Object, _old: Option<(&Object, Part)>) -> FieldErrors {
        FieldErrors::default()
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        metadata_field(object, label)
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![object.name().into(), age(object, now).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "serviceaccounts", group: "" };

    #[test]
    fn secrets_keep_only_their_names() {
        let object = KIND.creates(json!({
            "metadata": {"name": "a"}, "secrets": [{"name": "s", "namespace": "other"}], "imagePullSecrets": [],
        }));
        assert_eq!(object.get(&["secrets"]), Some(&json!([{"name": "s"}])));
        assert_eq!(object.get(&["imagePullSecrets"]), None);
        check_cells(&ServiceAccountRules, &object, json!(["a", "5m"]));
    }
}
