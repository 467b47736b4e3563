//! Environment variables and the references from which variables and volume files take their values.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector, Volume,
};

use super::{invalid_all, list, text, volume::validate_descending};
use crate::{
    field::{FieldErrors, Path},
    name,
    quantity::Quantity,
};

/// What a reference feeds. Volumes know more fields, and must say whose resources they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Variable,
    Volume,
}

const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that the API knows but offers to neither, or to the other only.
const KNOWN_FIELDS: [&str; 3] = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn validate_env(errors: &mut FieldErrors, variables: &[EnvVar], path: &Path) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            validate_name(errors, &variable.name, &path.child("name"));
        }
        if let Some(source) = &variable.value_from {
            validate_source(errors, source, text(&variable.value), &path.child("valueFrom"));
        }
    }
}

pub(super) fn validate_env_from(errors: &mut FieldErrors, sources: &[EnvFromSource], path: &Path) {
    for (index, source) in sources.iter().enumerate() {
        let source_path = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            validate_name(errors, prefix, &source_path.child("prefix"));
        }
        let references = [
            ("configMapRef", source.config_map_ref.as_ref().map(|reference| &reference.name)),
            ("secretRef", source.secret_ref.as_ref().map(|reference| &reference.name)),
        ];
        for (field, name) in references {
            if name.is_some_and(String::is_empty) {
                errors.required(&source_path.child(field).child("name"), "");
            }
        }
        // The list's path: so the API answers.
        match references.iter().filter(|(_, name)| name.is_some()).count() {
            0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
        }
    }
}

fn validate_name(errors: &mut FieldErrors, name: &str, path: &Path) {
    if name.bytes().any(|byte| byte == b'=' || !(b' '..=b'~').contains(&byte)) {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.invalid(path, name, detail);
    }
}

fn validate_source(errors: &mut FieldErrors, source: &EnvVarSource, value: &str, path: &Path) {
    let EnvVarSource { config_map_key_ref, field_ref, file_key_ref, resource_field_ref, secret_key_ref } = source;
    if let Some(field) = field_ref {
        validate_field_ref(errors, field, Target::Variable, &path.child("fieldRef"));
    }
    if let Some(resource) = resource_field_ref {
        validate_resource_ref(errors, resource, Target::Variable, &path.child("resourceFieldRef"));
    }
    if let Some(key) = config_map_key_ref {
        validate_key_ref(errors, &key.name, &key.key, &path.child("configMapKeyRef"));
    }
    if let Some(key) = secret_key_ref {
        validate_key_ref(errors, &key.name, &key.key, &path.child("secretKeyRef"));
    }
    if let Some(file) = file_key_ref {
        validate_file_ref(errors, file, &path.child("fileKeyRef"));
    }
    let given = [
        field_ref.is_some(),
        resource_field_ref.is_some(),
        config_map_key_ref.is_some(),
        secret_key_ref.is_some(),
        file_key_ref.is_some(),
    ];
    let given = given.into_iter().filter(|given| *given).count();
    if given == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path, "", detail);
    } else if !value.is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if given > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

/// Keys of environment files are shorter than other names.
const FILE_KEY_MAX: usize = 128;

fn validate_file_ref(errors: &mut FieldErrors, file: &FileKeySelector, path: &Path) {
    let FileKeySelector { key, optional: _, path: file_path, volume_name } = file;
    let key_path = path.child("key");
    if key.is_empty() {
        errors.required(&key_path, "");
    } else {
        validate_name(errors, key, &key_path);
        if key.len() > FILE_KEY_MAX {
            errors.too_long(&key_path, FILE_KEY_MAX);
        }
    }
    if volume_name.is_empty() {
        errors.required(&path.child("volumeName"), "");
    } else {
        invalid_all(errors, &path.child("volumeName"), volume_name, name::validate_label(volume_name));
    }
    if file_path.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        validate_descending(errors, file_path, &path.child("path"));
    }
}

/// Files with variables lie in the pod's own scratch space.
pub(super) fn validate_files(errors: &mut FieldErrors, container: &Container, volumes: &[Volume], path: &Path) {
    for (index, variable) in list(&container.env).iter().enumerate() {
        let Some(file) = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref()) else { continue };
        let name = file.volume_name.as_str();
        let path = path.index(index).child("valueFrom").child("fileKeyRef").child("volumeName");
        match volumes.iter().find(|volume| volume.name == name) {
            Some(volume) if volume.empty_dir.is_some() => {}
            Some(_) => errors.invalid(&path, name, "referenced volume must be of type emptyDir"),
            None if name.is_empty() => {}
            None => errors.not_found(&path, name),
        }
    }
}

fn validate_key_ref(errors: &mut FieldErrors, name: &str, key: &str, path: &Path) {
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        invalid_all(errors, &path.child("key"), key, name::validate_config_key(key));
    }
}

pub(super) fn validate_field_ref(errors: &mut FieldErrors, field: &ObjectFieldSelector, target: Target, path: &Path) {
    let field_path = path.child("fieldPath");
    let version = text(&field.api_version);
    if version.is_empty() {
        errors.required(&path.child("apiVersion"), "");
        return;
    }
    let label = field.field_path.as_str();
    if label.is_empty() {
        errors.required(&field_path, "");
        return;
    }
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.invalid(&field_path, label, &detail);
        return;
    }
    if let Some((map, key)) = split_subscript(label) {
        match map {
            "metadata.annotations" => {
                invalid_all(errors, path, &key.to_lowercase(), name::validate_qualified_name(&key.to_lowercase()));
            }
            "metadata.labels" => invalid_all(errors, path, key, name::validate_qualified_name(key)),
            _ => {
                let detail = format!("error converting fieldPath: field label does not support subscript: {label}");
                errors.invalid(&field_path, label, &detail);
            }
        }
        return;
    }
    // The node's name was once called otherwise.
    let label = if label == "spec.host" { "spec.nodeName" } else { label };
    let supported: &[&str] = match target {
        Target::Variable => &VARIABLE_FIELDS,
        Target::Volume => &VOLUME_FIELDS,
    };
    if supported.contains(&label) {
        return;
    }
    if VARIABLE_FIELDS.contains(&label) || VOLUME_FIELDS.contains(&label) || KNOWN_FIELDS.contains(&label) {
        errors.not_supported(&field_path, label, supported);
    } else {
        let detail = format!("error converting fieldPath: field label not supported: {label}");
        errors.invalid(&field_path, label, &detail);
    }
}

/// `metadata.labels['x']` into the map and its key.
fn split_subscript(label: &str) -> Option<(&str, &str)> {
    let (map, key) = label.strip_suffix("']")?.split_once("['")?;
    (!map.is_empty()).then_some((map, key))
}

pub(super) fn validate_resource_ref(
    errors: &mut FieldErrors,
    resource: &ResourceFieldSelector,
    target: Target,
    path: &Path,
) {
    let name = resource.resource.as_str();
    if target == Target::Volume && text(&resource.container_name).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if name.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&name) {
        errors.not_supported(&path.child("resource"), name, &RESOURCES);
    }
    let Some(divisor) = &resource.divisor else { return };
    let legal = Quantity::parse(&divisor.0).is_ok_and(|divisor| {
        let canonical = divisor.canonical();
        let cpu = name.ends_with(".cpu");
        canonical == "0" || if cpu { ["1", "1m"].contains(&canonical) } else { BYTE_DIVISORS.contains(&canonical) }
    });
    if !legal {
        let detail = match name {
            "limits.cpu" | "requests.cpu" => {
                "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
            }
            "limits.memory" | "requests.memory" => {
                format!("only divisor's values {} are supported with the memory resource", BYTE_DIVISORS.join(", "))
            }
            "limits.ephemeral-storage" | "requests.ephemeral-storage" => format!(
                "only divisor's values {} are supported with the local ephemeral storage resource",
                BYTE_DIVISORS.join(", ")
            ),
            // The resource itself is wrong and was reported.
            _ => return,
        };
        errors.invalid(&path.child("divisor"), name, &detail);
    }
}
