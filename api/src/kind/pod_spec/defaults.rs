//! What Kubernetes fills in where a pod spec is silent (J-2401 to J-2414).

use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, ObjectFieldSelector, PodSpec, Probe, ResourceFieldSelector, Volume,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{resources, text, volume};

/// `defaultMode` of volumes made of keys: 0644.
const DEFAULT_MODE: i32 = 0o644;

/// The defaults of templates and pods alike.
pub fn default_template_spec(spec: &mut PodSpec) {
    default_text(&mut spec.restart_policy, "Always"); // J-2401
    default_text(&mut spec.dns_policy, "ClusterFirst"); // J-2402
    spec.termination_grace_period_seconds.get_or_insert(30); // J-2403
    default_text(&mut spec.scheduler_name, "default-scheduler"); // J-2404
    spec.security_context.get_or_insert_default(); // J-2405
    // J-2412: the old name and the new one always say the same; the new one wins.
    if text(&spec.service_account_name).is_empty() {
        spec.service_account_name = spec.service_account.take().filter(|account| !account.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    // Fields of features that are off by default are dropped without a word (J-307).
    spec.scheduling_group = None;
    for container in containers_mut(spec) {
        drop_stop_signal(container);
        default_container(container);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        default_volume(volume);
    }
}

/// The defaults of pods, which know their whole spec: those of templates and J-2414.
pub fn default_pod_spec(spec: &mut PodSpec) {
    default_template_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    spec.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    spec.priority.get_or_insert(match text(&spec.priority_class_name) {
        // The two classes that every cluster has.
        "system-node-critical" => 2_000_001_000,
        "system-cluster-critical" => 2_000_000_000,
        _ => 0,
    });
    if text(&spec.service_account_name).is_empty() {
        spec.service_account_name = Some("default".to_owned());
        spec.service_account.clone_from(&spec.service_account_name);
    }
    let host_network = spec.host_network == Some(true);
    for container in containers_mut(spec) {
        if let Some(resources) = &mut container.resources
            && let Some(limits) = resources.limits.as_ref().filter(|limits| !limits.is_empty())
        {
            // Per resource: what is limited and not requested is requested in full.
            let requests = resources.requests.get_or_insert_default();
            for (resource, limit) in limits {
                requests.entry(resource.clone()).or_insert_with(|| limit.clone());
            }
        }
        if host_network {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or_default() == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
    resources::default_requests(spec);
}

/// Like other fields of features that are off by default; a lifecycle that says nothing else goes with it.
fn drop_stop_signal(container: &mut Container) {
    if let Some(lifecycle) = &mut container.lifecycle
        && lifecycle.stop_signal.take().is_some()
        && lifecycle.post_start.is_none()
        && lifecycle.pre_stop.is_none()
    {
        container.lifecycle = None;
    }
}

fn containers_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

fn default_container(container: &mut Container) {
    default_text(&mut container.termination_message_path, "/dev/termination-log"); // J-2406
    default_text(&mut container.termination_message_policy, "File");
    let policy = default_pull_policy(text(&container.image));
    default_text(&mut container.image_pull_policy, policy); // J-2407
    container.resources.get_or_insert_default(); // J-2413
    for port in container.ports.iter_mut().flatten() {
        default_text(&mut port.protocol, "TCP"); // J-2408
    }
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    for probe in probes.into_iter().flatten() {
        default_probe(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
        for http in handlers.into_iter().flatten().filter_map(|handler| handler.http_get.as_mut()) {
            default_text(&mut http.path, "/");
            default_text(&mut http.scheme, "HTTP");
        }
    }
    for source in container.env.iter_mut().flatten().filter_map(|variable| variable.value_from.as_mut()) {
        default_field_ref(source.field_ref.as_mut());
        default_resource_ref(source.resource_field_ref.as_mut());
        if let Some(file) = &mut source.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
}

/// J-2407: what has no fixed tag is asked for again at each start.
fn default_pull_policy(image: &str) -> &'static str {
    let (tagged, digest) = image.split_once('@').map_or((image, false), |(tagged, _)| (tagged, true));
    // A colon before the last slash belongs to the registry's port.
    let last = tagged.rsplit('/').next().unwrap_or_default();
    match last.split_once(':').map(|(_, tag)| tag) {
        Some("latest") => "Always",
        None if !digest => "Always",
        Some(_) | None => "IfNotPresent",
    }
}

/// J-2409
fn default_probe(probe: &mut Probe) {
    for (field, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or_default() == 0 {
            *field = Some(default);
        }
    }
    if let Some(http) = &mut probe.http_get {
        default_text(&mut http.path, "/");
        default_text(&mut http.scheme, "HTTP");
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

/// J-2410
fn default_volume(volume: &mut Volume) {
    if volume::sources(volume).is_empty() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    let mut files = Vec::new();
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        files.extend(source.items.iter_mut().flatten());
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        for projection in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut projection.service_account_token {
                token.expiration_seconds.get_or_insert(60 * 60);
            }
            files.extend(projection.downward_api.iter_mut().flat_map(|source| source.items.iter_mut().flatten()));
        }
    }
    for file in files {
        default_field_ref(file.field_ref.as_mut());
        default_resource_ref(file.resource_field_ref.as_mut());
    }
}

/// J-2411
fn default_field_ref(selector: Option<&mut ObjectFieldSelector>) {
    if let Some(selector) = selector {
        default_text(&mut selector.api_version, "v1");
    }
}

/// The API always shows a divisor, `0` when none was asked for.
fn default_resource_ref(selector: Option<&mut ResourceFieldSelector>) {
    if let Some(selector) = selector {
        selector.divisor.get_or_insert_with(|| Quantity("0".to_owned()));
    }
}

fn default_text(field: &mut Option<String>, default: &str) {
    if text(field).is_empty() {
        *field = Some(default.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_again_what_has_no_fixed_tag_j_2407() {
        for (image, want) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("registry:5000/team/busybox", "Always"),
            ("registry:5000/team/busybox:1.36", "IfNotPresent"),
            ("busybox:1.36", "IfNotPresent"),
            ("busybox@sha256:0123", "IfNotPresent"),
            ("busybox:latest@sha256:0123", "Always"),
        ] {
            assert_eq!(default_pull_policy(image), want, "{image}");
        }
    }
}
