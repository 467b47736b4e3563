//! Security contexts of pods and containers, and the namespaces that a pod shares with its host.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};

use super::{list, text, validate_choice, volume};
use crate::field::{FieldErrors, Path};

const ID: &str = "must be between 0 and 2147483647, inclusive";
const SECCOMP_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// The pod's own context, which is also what `shareProcessNamespace` and the host's namespaces are checked with.
pub(super) fn validate_pod(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    let Some(context) = &spec.security_context else { return };
    let path = path.child("securityContext");
    validate_id(errors, context.fs_group, &path.child("fsGroup"));
    validate_id(errors, context.run_as_user, &path.child("runAsUser"));
    validate_id(errors, context.run_as_group, &path.child("runAsGroup"));
    for (index, group) in list(&context.supplemental_groups).iter().enumerate() {
        validate_id(errors, Some(*group), &path.child("supplementalGroups").index(index));
    }
    if let Some(policy) = &context.supplemental_groups_policy {
        validate_choice(errors, &path.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    validate_sysctls(errors, spec, &path.child("sysctls"));
    if let Some(policy) = &context.fs_group_change_policy {
        let path = path.child("fsGroupChangePolicy");
        validate_choice(errors, &path, policy, &["Always", "OnRootMismatch"]);
    }
    if let Some(profile) = &context.seccomp_profile {
        validate_seccomp(errors, profile, &path.child("seccompProfile"));
    }
}

pub(super) fn validate_container(errors: &mut FieldErrors, context: &SecurityContext, path: &Path) {
    validate_id(errors, context.run_as_user, &path.child("runAsUser"));
    validate_id(errors, context.run_as_group, &path.child("runAsGroup"));
    if let Some(mount) = &context.proc_mount {
        validate_choice(errors, &path.child("procMount"), mount, &["Default", "Unmasked"]);
    }
    if let Some(profile) = &context.seccomp_profile {
        validate_seccomp(errors, profile, &path.child("seccompProfile"));
    }
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid_object(path, detail);
        }
        let added = context.capabilities.as_ref().map(|capabilities| list(&capabilities.add)).unwrap_or_default();
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid_object(path, detail);
        }
    }
}

fn validate_id(errors: &mut FieldErrors, id: Option<i64>, path: &Path) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, id, ID);
    }
}

fn validate_seccomp(errors: &mut FieldErrors, profile: &SeccompProfile, path: &Path) {
    if profile.type_.is_empty() {
        errors.required(&path.child("type"), "type is required when seccompProfile is set");
    } else if !SECCOMP_TYPES.contains(&profile.type_.as_str()) {
        errors.not_supported(&path.child("type"), profile.type_.as_str(), &SECCOMP_TYPES);
    }
    let local_path = path.child("localhostProfile");
    match (&profile.localhost_profile, profile.type_ == "Localhost") {
        (None, true) => errors.required(&local_path, "must be set when seccomp type is Localhost"),
        (Some(local), true) => volume::validate_descending(errors, local, &local_path),
        (Some(_), false) => errors.invalid_object(&local_path, "can only be set when seccomp type is Localhost"),
        (None, false) => {}
    }
}

fn validate_sysctls(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    const NAME_MAX: usize = 253;
    /// What each part of a name looks like, for the answer.
    const FORMAT: &str = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let sysctls = spec.security_context.as_ref().map(|context| list(&context.sysctls)).unwrap_or_default();
    let mut names = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index).child("name");
        let name = sysctl.name.replace('/', ".");
        if name.is_empty() {
            errors.required(&path, "");
        } else if name.len() > NAME_MAX || !name.split('.').all(is_sysctl_part) {
            let detail = format!("must have at most {NAME_MAX} characters and match regex ^{FORMAT}$");
            errors.invalid(&path, sysctl.name.as_str(), &detail);
        } else if !names.insert(name.clone()) {
            errors.duplicate(&path, sysctl.name.as_str());
        }
        // What the host shares is not the pod's to set.
        let net = name.starts_with("net.");
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|start| name.starts_with(start));
        if net && spec.host_network == Some(true) {
            let detail = "may not be specified when 'hostNetwork' is true";
            errors.invalid(&path, sysctl.name.as_str(), detail);
        }
        if ipc && spec.host_ipc == Some(true) {
            errors.invalid(&path, sysctl.name.as_str(), "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl_part(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-' || *byte == b'_')
        && bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
}

/// Whether a profile is set and is not the one that the engine applies by itself.
pub(super) fn is_other_app_armor(profile: &Option<k8s_openapi::api::core::v1::AppArmorProfile>) -> bool {
    profile
        .as_ref()
        .is_some_and(|profile| profile.type_ != "RuntimeDefault" || !text(&profile.localhost_profile).is_empty())
}
