//! Environment variables: literals with `$(VAR)`, fields, resources, config maps and secrets, as the kubelet resolves them.
#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};

use jobd_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret, Volume,
};

use super::{env_file, observed::NodeFacts};

/// The objects that a pod refers to, as far as they exist.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
    /// Files with variables, by volume and path; an error says why one cannot be read, none that it is not there.
    pub files: BTreeMap<(String, String), Result<Option<String>, String>>,
}

/// The names of all config maps and secrets that a pod refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

/// What a pod refers to: environment, volumes and pull secrets.
#[must_use]
pub fn references(pod: &Pod) -> References {
    let mut found = References::default();
    let Some(spec) = &pod.spec else { return found };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for from in container.env_from.iter().flatten() {
            found.config_maps.extend(from.config_map_ref.as_ref().map(|source| source.name.clone()));
            found.secrets.extend(from.secret_ref.as_ref().map(|source| source.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            found.config_maps.extend(source.config_map_key_ref.as_ref().map(|source| source.name.clone()));
            found.secrets.extend(source.secret_key_ref.as_ref().map(|source| source.name.clone()));
        }
    }
    for Volume { config_map, secret, projected, .. } in spec.volumes.iter().flatten() {
        found.config_maps.extend(config_map.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(secret.as_ref().and_then(|source| source.secret_name.clone()));
        for source in projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            found.config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
            found.secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    found.secrets.extend(spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.clone()));
    found
}

/// Variables in the order in which they were first defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let mut environment = Self::default();
        variables.into_iter().for_each(|(name, value)| environment.set(&name, value));
        environment
    }
}

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// `NAME=value`
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Replaces `$(NAME)`; `$$` is a dollar sign, and what is not defined stays as it is.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        self.expand_strict(text).0
    }

    /// The same, with the names that are not defined.
    #[must_use]
    pub fn expand_strict(&self, text: &str) -> (String, Vec<String>) {
        let (mut out, mut missing, mut rest) = (String::with_capacity(text.len()), Vec::new(), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => {
                        out.push_str(&format!("$({name})"));
                        missing.push(name.to_owned());
                    }
                }
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        (out, missing)
    }
}

/// All variables of a container.
///
/// # Errors
/// The text of the `CreateContainerConfigError` (J-2511, J-2580).
pub fn resolve(pod: &Pod, container: &Container, sources: &Sources, node: &NodeFacts) -> Result<Environment, String> {
    let mut environment = Environment::default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut add = |key: &str, value: String| {
            let name = format!("{prefix}{key}");
            if is_variable_name(&name) {
                environment.set(&name, value);
            }
        };
        if let Some(source) = &from.config_map_ref {
            match sources.config_maps.get(&source.name) {
                Some(map) => {
                    map.data.iter().flatten().for_each(|(key, value)| add(key, value.clone()));
                }
                None if source.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", source.name)),
            }
        }
        if let Some(source) = &from.secret_ref {
            match sources.secrets.get(&source.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        add(key, String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if source.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", source.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Some(environment.expand(value)),
            (_, Some(source)) => from_source(pod, container, source, sources, node, namespace)?,
            (_, None) => Some(String::new()),
        };
        if let Some(value) = value {
            environment.set(&variable.name, value);
        }
    }
    Ok(environment)
}

/// The name rule of 1.36: printable ASCII without `=`.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// None: an optional source that is not there.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    node: &NodeFacts,
    namespace: &str,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return self::field(pod, field, node).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return self::resource(pod, Some(container), resource, node).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let Some(map) = sources.config_maps.get(&key.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap \"{}\" not found", key.name)) };
        };
        return match map.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let Some(secret) = sources.secrets.get(&key.name) else {
            return if optional { Ok(None) } else { Err(format!("secret \"{}\" not found", key.name)) };
        };
        return match secret.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
        };
    }
    if let Some(file) = &source.file_key_ref {
        let read = sources.files.get(&(file.volume_name.clone(), file.path.clone()));
        let text = match read {
            Some(read) => read.clone()?,
            None => return Err(format!("cannot find the volume \"{}\" referenced by FileKeyRef", file.volume_name)),
        };
        return match env_file::find(text.as_deref().unwrap_or_default(), &file.key)? {
            Some(value) => Ok(Some(value)),
            None if file.optional == Some(true) => Ok(None),
            None => Err(format!("environment variable key \"{}\" not found in file \"{}\"", file.key, file.path)),
        };
    }
    Err("invalid valueFrom".to_owned())
}

/// The value of a downward API field.
///
/// # Errors
/// For a path that does not exist.
pub fn field(pod: &Pod, field: &ObjectFieldSelector, node: &NodeFacts) -> Result<String, String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let path = field.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let of = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(text(of.and_then(|of| of.get(key))));
    }
    Ok(match path {
        "metadata.name" => text(metadata.name.as_ref()),
        "metadata.namespace" => text(metadata.namespace.as_ref()),
        "metadata.uid" => text(metadata.uid.as_ref()),
        "metadata.labels" => render_map(metadata.labels.as_ref()),
        "metadata.annotations" => render_map(metadata.annotations.as_ref()),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.hostIP" | "status.hostIPs" => node.host_ip.clone(),
        "status.podIP" | "status.podIPs" => {
            if spec.and_then(|spec| spec.host_network) == Some(true) {
                node.host_ip.clone()
            } else {
                // Known only once the container runs: the engine gives it at start.
                text(status.and_then(|status| status.pod_ip.as_ref()))
            }
        }
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Lines `key="value"`, sorted, as files of the downward API hold them.
fn render_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// As Go quotes strings, for the characters that occur.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other if other.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef`: the container's own figure, or the node's where it has no limit.
///
/// # Errors
/// For a resource or a divisor that does not exist.
pub fn resource(
    pod: &Pod,
    container: Option<&Container>,
    field: &ResourceFieldSelector,
    node: &NodeFacts,
) -> Result<String, String> {
    let named = field.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => pod.spec.as_ref().and_then(|spec| {
            spec.init_containers.iter().flatten().chain(&spec.containers).find(|one| one.name == name)
        }),
        None => container,
    };
    let resources = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
    let resources = resources.resources.as_ref();
    let (kind, name) = field.resource.split_once('.').unwrap_or(("", &field.resource));
    let limit = || resources.and_then(|resources| resources.limits.as_ref()?.get(name));
    let quantity = match kind {
        "limits" => limit(),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()?.get(name)),
        _ => return Err(format!("unsupported container resource : {}", field.resource)),
    };
    let milli = match quantity {
        Some(quantity) => Quantity::parse(&quantity.0)?.milli(),
        None if kind == "requests" => 0,
        None => match name {
            "cpu" => i128::from(node.cpus) * 1000,
            "memory" => i128::from(node.memory_bytes) * 1000,
            _ => 0,
        },
    };
    let divisor = match &field.divisor {
        Some(divisor) => Quantity::parse(&divisor.0)?.milli(),
        None => 1000,
    };
    let divisor = if divisor <= 0 { 1000 } else { divisor };
    Ok((milli.div_euclid(divisor) + i128::from(milli.rem_euclid(divisor) != 0)).to_string())
}
