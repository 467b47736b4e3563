//! Pod templates: kept for whoever makes pods of them. Nothing here does.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::Value;

use crate::{
    field::{FieldErrors, Path},
    kind::{
        Rules, metadata_field,
        pod_spec::{self, text},
        unreadable,
    },
    object::Object,
    status::Status,
    write::{Context, Part},
    zero,
};

/// The rules of this kind.
pub struct PodTemplateRules;

impl Rules for PodTemplateRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        let mut object: PodTemplate = new.to_typed().map_err(Status::internal)?;
        let template = object.template.get_or_insert_default();
        template.metadata.get_or_insert_default();
        pod_spec::default_template_spec(template.spec.get_or_insert_default());
        *new = Object::from_typed(&object).map_err(Status::internal)?;
        zero::omit(new);
        Ok(())
    }

    fn validate(&self, new: &Object, _old: Option<(&Object, Part)>) -> FieldErrors {
        match new.to_typed::<PodTemplate>() {
            Ok(object) => pod_spec::validate_template(&object.template.unwrap_or_default(), &Path::new("template")),
            Err(error) => unreadable(&error),
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        metadata_field(object, label)
    }

    fn cells(&self, object: &Object, _now: Timestamp) -> Vec<Value> {
        let template = object.to_typed::<PodTemplate>().ok().and_then(|object| object.template).unwrap_or_default();
        let containers = template.spec.map(|spec| spec.containers).unwrap_or_default();
        let names = containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(",");
        let images = containers.iter().map(|container| text(&container.image)).collect::<Vec<_>>().join(",");
        let labels = template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default();
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { "<none>".to_owned() } else { labels };
        vec![object.name().into(), names.into(), images.into(), labels.into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "podtemplates", group: "" };

    #[test]
    fn a_template_gets_its_defaults_and_is_judged_as_that_of_a_job() {
        let template = json!({
            "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}]},
        });
        let object = KIND.creates(json!({"metadata": {"name": "a"}, "template": template}));
        assert_eq!(object.text(&["template", "spec", "restartPolicy"]), Some("Always"));
        assert_eq!(object.get(&["metadata", "generation"]), Some(&json!(1)));
        check_cells(&PodTemplateRules, &object, json!(["a", "c", "busybox:1.36", "app=x"]));
        KIND.refuses(
            json!({"metadata": {"name": "a"}, "template": {"spec": {"containers": []}}}),
            &["template.spec.containers: Required value"],
        );
    }
}
