//! What this version cannot run. It is refused at creation with the field's path, never accepted and ignored (I-8).
//!
//! One list per level: pod, container, volume. What only decides where a pod runs on a cluster of many nodes (affinity, tolerations,
//! spread, priority, service account) means nothing on one node and is kept. A line goes when the node learns the feature.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements, Volume, VolumeMount};

use super::{list, security, text, volume};
use crate::field::{FieldErrors, Path};

const NOT_RUN: &str = "not run by this version of jobd";

/// A field, and whether an object uses it.
type Feature<T> = (&'static str, fn(&T) -> bool);

/// Fields of the pod.
const POD: &[Feature<PodSpec>] = &[
    ("runtimeClassName", |spec| !text(&spec.runtime_class_name).is_empty()),
    ("overhead", |spec| spec.overhead.as_ref().is_some_and(|overhead| !overhead.is_empty())),
    ("resourceClaims", |spec| !list(&spec.resource_claims).is_empty()),
    ("hostUsers", |spec| spec.host_users == Some(false)),
    ("securityContext.windowsOptions", |spec| {
        spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some())
    }),
    ("securityContext.seLinuxOptions", |spec| {
        spec.security_context.as_ref().is_some_and(|context| context.se_linux_options.is_some())
    }),
    ("securityContext.appArmorProfile", |spec| {
        spec.security_context.as_ref().is_some_and(|context| security::is_other_app_armor(&context.app_armor_profile))
    }),
    ("securityContext.supplementalGroupsPolicy", |spec| {
        spec.security_context.as_ref().is_some_and(|context| text(&context.supplemental_groups_policy) == "Strict")
    }),
];

/// Fields of each container and init container.
const CONTAINER: &[Feature<Container>] = &[
    ("volumeDevices", |container| !list(&container.volume_devices).is_empty()),
    ("resources.claims", |container| {
        container.resources.as_ref().is_some_and(|resources| !list(&resources.claims).is_empty())
    }),
    ("securityContext.procMount", |container| {
        container.security_context.as_ref().is_some_and(|context| text(&context.proc_mount) == "Unmasked")
    }),
    ("securityContext.windowsOptions", |container| {
        container.security_context.as_ref().is_some_and(|context| context.windows_options.is_some())
    }),
    ("securityContext.seLinuxOptions", |container| {
        container.security_context.as_ref().is_some_and(|context| context.se_linux_options.is_some())
    }),
    ("securityContext.appArmorProfile", |container| {
        container
            .security_context
            .as_ref()
            .is_some_and(|context| security::is_other_app_armor(&context.app_armor_profile))
    }),
];

/// Fields of each mount.
const MOUNT: &[Feature<VolumeMount>] = &[("recursiveReadOnly", |mount| text(&mount.recursive_read_only) == "Enabled")];

/// The volumes that are run; every other source is refused by its name.
const VOLUMES: &[&str] = &["hostPath", "emptyDir", "configMap", "secret", "downwardAPI", "projected"];

/// The parts of projected volumes that are run.
const PROJECTIONS: &[&str] = &["configMap", "secret", "downwardAPI"];

/// Media of `emptyDir` that are run: the disk and memory.
const MEDIA: &[&str] = &["", "Memory"];

/// Resources that are given to containers; extended ones (`nvidia.com/gpu`) and huge pages are not.
const RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Refuses every feature that is not run.
pub(super) fn refuse(spec: &PodSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::default();
    refuse_used(&mut errors, POD, spec, path);
    let containers = [("initContainers", list(&spec.init_containers)), ("containers", &spec.containers)];
    for (field, containers) in containers {
        for (index, container) in containers.iter().enumerate() {
            let path = path.child(field).index(index);
            refuse_container(&mut errors, container, &path);
        }
    }
    if let Some(resources) = &spec.resources {
        refuse_resources(&mut errors, resources, &path.child("resources"));
    }
    for (index, volume) in list(&spec.volumes).iter().enumerate() {
        refuse_volume(&mut errors, volume, &path.child("volumes").index(index));
    }
    errors
}

fn refuse_used<T>(errors: &mut FieldErrors, features: &[Feature<T>], object: &T, path: &Path) {
    for (field, is_used) in features {
        if is_used(object) {
            errors.forbidden(&path.child(field), NOT_RUN);
        }
    }
}

fn refuse_container(errors: &mut FieldErrors, container: &Container, path: &Path) {
    refuse_used(errors, CONTAINER, container, path);
    for (index, mount) in list(&container.volume_mounts).iter().enumerate() {
        refuse_used(errors, MOUNT, mount, &path.child("volumeMounts").index(index));
    }
    if let Some(resources) = &container.resources {
        refuse_resources(errors, resources, &path.child("resources"));
    }
}

fn refuse_resources(errors: &mut FieldErrors, resources: &ResourceRequirements, path: &Path) {
    for (field, quantities) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for resource in quantities.iter().flat_map(|quantities| quantities.keys()) {
            // Names without a domain that are no resources at all have been refused as such.
            let exists = resource.contains('/') || resource.starts_with("hugepages-");
            if exists && !RESOURCES.contains(&resource.as_str()) {
                errors.forbidden(&path.child(field).key(resource), NOT_RUN);
            }
        }
    }
}

fn refuse_volume(errors: &mut FieldErrors, volume: &Volume, path: &Path) {
    for source in volume::sources(volume) {
        if !VOLUMES.contains(&source) {
            errors.forbidden(&path.child(source), NOT_RUN);
        }
    }
    if volume.empty_dir.as_ref().is_some_and(|source| !MEDIA.contains(&text(&source.medium))) {
        errors.forbidden(&path.child("emptyDir").child("medium"), NOT_RUN);
    }
    let projected = volume.projected.as_ref().map(|source| list(&source.sources)).unwrap_or_default();
    for (index, projection) in projected.iter().enumerate() {
        for source in volume::projections(projection) {
            if !PROJECTIONS.contains(&source) {
                errors.forbidden(&path.child("projected").child("sources").index(index).child(source), NOT_RUN);
            }
        }
    }
}
