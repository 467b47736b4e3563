//! Volumes, and where containers mount them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, SecurityContext, Volume, VolumeMount,
    VolumeProjection,
};

use super::{env, invalid_all, list, text};
use crate::{
    field::{FieldErrors, Path},
    name,
    quantity::Quantity,
};

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The JSON names of the sources that a volume has; one is right. Taken apart in full, so that a new source must be thought about.
pub(super) fn sources(volume: &Volume) -> Vec<&'static str> {
    let Volume {
        name: _,
        aws_elastic_block_store,
        azure_disk,
        azure_file,
        cephfs,
        cinder,
        config_map,
        csi,
        downward_api,
        empty_dir,
        ephemeral,
        fc,
        flex_volume,
        flocker,
        gce_persistent_disk,
        git_repo,
        glusterfs,
        host_path,
        image,
        iscsi,
        nfs,
        persistent_volume_claim,
        photon_persistent_disk,
        portworx_volume,
        projected,
        quobyte,
        rbd,
        scale_io,
        secret,
        storageos,
        vsphere_volume,
    } = volume;
    [
        ("emptyDir", empty_dir.is_some()),
        ("hostPath", host_path.is_some()),
        ("gitRepo", git_repo.is_some()),
        ("gcePersistentDisk", gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", aws_elastic_block_store.is_some()),
        ("secret", secret.is_some()),
        ("nfs", nfs.is_some()),
        ("iscsi", iscsi.is_some()),
        ("glusterfs", glusterfs.is_some()),
        ("flocker", flocker.is_some()),
        ("persistentVolumeClaim", persistent_volume_claim.is_some()),
        ("rbd", rbd.is_some()),
        ("cinder", cinder.is_some()),
        ("cephfs", cephfs.is_some()),
        ("quobyte", quobyte.is_some()),
        ("downwardAPI", downward_api.is_some()),
        ("fc", fc.is_some()),
        ("flexVolume", flex_volume.is_some()),
        ("configMap", config_map.is_some()),
        ("azureFile", azure_file.is_some()),
        ("vsphereVolume", vsphere_volume.is_some()),
        ("photonPersistentDisk", photon_persistent_disk.is_some()),
        ("portworxVolume", portworx_volume.is_some()),
        ("azureDisk", azure_disk.is_some()),
        ("storageos", storageos.is_some()),
        ("scaleIO", scale_io.is_some()),
        ("projected", projected.is_some()),
        ("csi", csi.is_some()),
        ("ephemeral", ephemeral.is_some()),
        ("image", image.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

/// The sources of one part of a projected volume.
pub(super) fn projections(projection: &VolumeProjection) -> Vec<&'static str> {
    let VolumeProjection {
        cluster_trust_bundle,
        config_map,
        downward_api,
        pod_certificate,
        secret,
        service_account_token,
    } = projection;
    [
        ("secret", secret.is_some()),
        ("configMap", config_map.is_some()),
        ("downwardAPI", downward_api.is_some()),
        ("serviceAccountToken", service_account_token.is_some()),
        ("clusterTrustBundle", cluster_trust_bundle.is_some()),
        ("podCertificate", pod_certificate.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

/// Checks all volumes; answers the names of those that are right, which are the ones that containers may mount.
pub(super) fn validate_volumes<'a>(errors: &mut FieldErrors, volumes: &'a [Volume], path: &Path) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let volume_path = path.index(index);
        let name_path = volume_path.child("name");
        let mut found = FieldErrors::default();
        validate_source(&mut found, volume, &volume_path);
        if volume.name.is_empty() {
            found.required(&name_path, "");
        } else {
            invalid_all(&mut found, &name_path, &volume.name, name::validate_label(&volume.name));
        }
        if names.contains(volume.name.as_str()) {
            found.duplicate(&name_path, volume.name.as_str());
        }
        if found.is_empty() {
            names.insert(volume.name.as_str());
        }
        errors.extend(found);
    }
    names
}

fn validate_source(errors: &mut FieldErrors, volume: &Volume, path: &Path) {
    let sources = sources(volume);
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for extra in sources.iter().skip(1) {
        errors.forbidden(&path.child(extra), "may not specify more than 1 volume type");
    }
    match sources.first().copied() {
        Some("emptyDir") => {
            let limit = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref());
            if limit.is_some_and(|limit| Quantity::parse(&limit.0).map_or(true, |limit| limit.milli() < 0)) {
                let limit_path = path.child("emptyDir").child("sizeLimit");
                errors.forbidden(&limit_path, "SizeLimit field must be a valid resource quantity");
            }
        }
        Some("hostPath") => {
            let source = volume.host_path.clone().unwrap_or_default();
            let path = path.child("hostPath");
            if source.path.is_empty() {
                errors.required(&path.child("path"), "");
            } else {
                validate_no_backsteps(errors, &source.path, &path.child("path"));
            }
            let type_ = text(&source.type_);
            if !HOST_PATH_TYPES.contains(&type_) {
                errors.not_supported(&path.child("type"), type_, &HOST_PATH_TYPES);
            }
        }
        Some("secret") => {
            let source = volume.secret.clone().unwrap_or_default();
            let path = path.child("secret");
            if text(&source.secret_name).is_empty() {
                errors.required(&path.child("secretName"), "");
            }
            validate_mode(errors, source.default_mode, &path.child("defaultMode"));
            validate_items(errors, list(&source.items), &path.child("items"));
        }
        Some("configMap") => {
            let source = volume.config_map.clone().unwrap_or_default();
            let path = path.child("configMap");
            if source.name.is_empty() {
                errors.required(&path.child("name"), "");
            }
            validate_mode(errors, source.default_mode, &path.child("defaultMode"));
            validate_items(errors, list(&source.items), &path.child("items"));
        }
        Some("downwardAPI") => {
            let source = volume.downward_api.clone().unwrap_or_default();
            let path = path.child("downwardAPI");
            validate_mode(errors, source.default_mode, &path.child("defaultMode"));
            for file in list(&source.items) {
                // The list's path, without the item's place: so the API answers.
                validate_file(errors, file, &path);
            }
        }
        Some("projected") => {
            if let Some(source) = &volume.projected {
                validate_projected(errors, source, &path.child("projected"));
            }
        }
        // The others are not run ([`super::unsupported`]), so their insides do not matter.
        Some(_) | None => {}
    }
}

fn validate_projected(errors: &mut FieldErrors, source: &ProjectedVolumeSource, path: &Path) {
    validate_mode(errors, source.default_mode, &path.child("defaultMode"));
    let mut paths = BTreeSet::new();
    for (index, projection) in list(&source.sources).iter().enumerate() {
        let path = path.child("sources").index(index);
        for extra in projections(projection).iter().skip(1) {
            errors.forbidden(&path.child(extra), "may not specify more than 1 volume type per source");
        }
        let mut check_path = |errors: &mut FieldErrors, path: &Path, target: &str| {
            if !target.is_empty() && !paths.insert(target.to_owned()) {
                errors.invalid(path, target, "conflicting duplicate paths");
            }
        };
        if let Some(secret) = &projection.secret {
            let path = path.child("secret");
            if secret.name.is_empty() {
                errors.required(&path.child("name"), "");
            }
            validate_items(errors, list(&secret.items), &path.child("items"));
            list(&secret.items).iter().for_each(|item| check_path(errors, &path, &item.path));
        }
        if let Some(config_map) = &projection.config_map {
            let path = path.child("configMap");
            if config_map.name.is_empty() {
                errors.required(&path.child("name"), "");
            }
            validate_items(errors, list(&config_map.items), &path.child("items"));
            list(&config_map.items).iter().for_each(|item| check_path(errors, &path, &item.path));
        }
        if let Some(downward) = &projection.downward_api {
            let path = path.child("downwardAPI");
            for file in list(&downward.items) {
                validate_file(errors, file, &path);
                check_path(errors, &path, &file.path);
            }
        }
    }
}

fn validate_items(errors: &mut FieldErrors, items: &[KeyToPath], path: &Path) {
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        if item.key.is_empty() {
            errors.required(&path.child("key"), "");
        }
        if item.path.is_empty() {
            errors.required(&path.child("path"), "");
        }
        validate_file_path(errors, &item.path, &path.child("path"));
        validate_mode(errors, item.mode, &path.child("mode"));
    }
}

fn validate_file(errors: &mut FieldErrors, file: &DownwardAPIVolumeFile, path: &Path) {
    if file.path.is_empty() {
        errors.required(&path.child("path"), "");
    }
    validate_file_path(errors, &file.path, &path.child("path"));
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            env::validate_field_ref(errors, field, env::Target::Volume, &path.child("fieldRef"));
            if resource.is_some() {
                errors.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        }
        (None, Some(resource)) => {
            env::validate_resource_ref(errors, resource, env::Target::Volume, &path.child("resourceFieldRef"));
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    validate_mode(errors, file.mode, &path.child("mode"));
}

fn validate_mode(errors: &mut FieldErrors, mode: Option<i32>, path: &Path) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, MODE);
    }
}

/// A file inside a volume: below it, and not one of the names that the volume keeps for itself.
fn validate_file_path(errors: &mut FieldErrors, target: &str, path: &Path) {
    validate_descending(errors, target, path);
    if target.starts_with("..") && !target.starts_with("../") && target != ".." {
        errors.invalid(path, target, "must not start with '..'");
    }
}

pub(super) fn validate_descending(errors: &mut FieldErrors, target: &str, path: &Path) {
    if target.starts_with('/') {
        errors.invalid(path, target, "must be a relative path");
    }
    validate_no_backsteps(errors, target, path);
}

fn validate_no_backsteps(errors: &mut FieldErrors, target: &str, path: &Path) {
    if target.split('/').any(|part| part == "..") {
        errors.invalid(path, target, "must not contain '..'");
    }
}

/// The mounts and block devices of one container. `volumes` are the legal volumes of the pod.
pub(super) fn validate_mounts(errors: &mut FieldErrors, container: &Container, volumes: &BTreeSet<&str>, path: &Path) {
    let devices = list(&container.volume_devices);
    let mut mounted = BTreeSet::new();
    for (index, mount) in list(&container.volume_mounts).iter().enumerate() {
        let path = path.child("volumeMounts").index(index);
        let name_path = path.child("name");
        let mount_path = path.child("mountPath");
        if mount.name.is_empty() {
            errors.required(&name_path, "");
        }
        if !volumes.contains(mount.name.as_str()) {
            errors.not_found(&name_path, mount.name.as_str());
        }
        if mount.mount_path.is_empty() {
            errors.required(&mount_path, "");
        }
        if !mounted.insert(mount.mount_path.as_str()) {
            errors.invalid(&mount_path, mount.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|device| device.name == mount.name) {
            errors.invalid(&name_path, mount.name.as_str(), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&mount_path, mount.mount_path.as_str(), detail);
        }
        validate_sub_path(errors, mount, &path);
        validate_propagation(errors, mount, container.security_context.as_ref(), &path);
    }
}

fn validate_sub_path(errors: &mut FieldErrors, mount: &VolumeMount, path: &Path) {
    let (sub_path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !sub_path.is_empty() {
        validate_descending(errors, sub_path, &path.child("subPath"));
    }
    if !expression.is_empty() {
        let path = path.child("subPathExpr");
        if !sub_path.is_empty() {
            errors.invalid(&path, expression, "subPathExpr and subPath are mutually exclusive");
        }
        validate_descending(errors, expression, &path);
    }
}

fn validate_propagation(
    errors: &mut FieldErrors,
    mount: &VolumeMount,
    security: Option<&SecurityContext>,
    path: &Path,
) {
    const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    const RECURSIVE: [&str; 3] = ["Disabled", "Enabled", "IfPossible"];
    if let Some(propagation) = &mount.mount_propagation {
        let path = path.child("mountPropagation");
        if !PROPAGATIONS.contains(&propagation.as_str()) {
            errors.not_supported(&path, propagation.as_str(), &PROPAGATIONS);
        }
        let privileged = security.is_some_and(|security| security.privileged == Some(true));
        if propagation == "Bidirectional" && !privileged {
            errors.forbidden(&path, "Bidirectional mount propagation is available only to privileged containers");
        }
    }
    if let Some(recursive) = &mount.recursive_read_only {
        let path = path.child("recursiveReadOnly");
        if !RECURSIVE.contains(&recursive.as_str()) {
            errors.not_supported(&path, recursive.as_str(), &RECURSIVE);
        } else if recursive != "Disabled" && mount.read_only != Some(true) {
            errors.forbidden(&path, "may only be specified when readOnly is true");
        }
    }
}
