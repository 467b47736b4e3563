//! The pods that a job creates (section 7).
#![deny(clippy::disallowed_methods)]

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    plan::NewPod,
    snapshot::{COMPLETION_INDEX, FAILURE_COUNT, IGNORED_FAILURE_COUNT, TRACKING_FINALIZER},
};

/// What the variable of a completion index is called in containers (J-708).
const COMPLETION_INDEX_ENV: &str = "JOB_COMPLETION_INDEX";
/// How much of a generateName base is kept (J-306).
const BASE_MAX: usize = 58;
/// The longest pod name (J-704).
const NAME_MAX: usize = 253;

/// A pod from the job's template, not yet defaulted and without a name (J-701 to J-709).
#[must_use]
pub fn build(job: &Job, new: &NewPod) -> Pod {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let template_metadata = template.metadata.unwrap_or_default();
    let mut metadata = ObjectMeta {
        generate_name: Some(generate_name(name, new.index)),
        namespace: job.metadata.namespace.clone(),
        labels: template_metadata.labels,
        annotations: template_metadata.annotations,
        finalizers: template_metadata.finalizers,
        owner_references: Some(vec![owner_reference(job)]),
        ..ObjectMeta::default()
    };
    let finalizers = metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.to_owned()); // J-703
    }
    let mut spec = template.spec.unwrap_or_default();
    if let Some(index) = new.index {
        let text = index.to_string();
        metadata.annotations.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), text.clone());
        metadata.labels.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), text); // J-706
        spec.hostname = Some(format!("{name}-{index}")); // J-707
        add_index_variable(&mut spec);
    }
    if let Some(failures) = new.failures {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(FAILURE_COUNT.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(IGNORED_FAILURE_COUNT.to_owned(), failures.ignored.to_string()); // J-709
        }
    }
    Pod { metadata, spec: Some(spec), status: None }
}

/// The reference by which a job controls a pod (J-702).
#[must_use]
pub fn owner_reference(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// J-704, J-705. The job's part of an Indexed pod's name is cut, so that the index is always whole.
fn generate_name(job: &str, index: Option<i32>) -> String {
    match index {
        None if job.len() < NAME_MAX => format!("{job}-"),
        None => job.to_owned(),
        Some(index) => {
            let suffix = format!("-{index}-");
            let room = BASE_MAX.saturating_sub(suffix.len());
            let kept: String = job.chars().take(room).collect();
            kept + &suffix
        }
    }
}

/// J-708: in every container that doesn't define the variable itself.
fn add_index_variable(spec: &mut PodSpec) {
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    for Container { env, .. } in containers {
        let env = env.get_or_insert_default();
        if env.iter().any(|variable| variable.name == COMPLETION_INDEX_ENV) {
            continue;
        }
        env.push(EnvVar {
            name: COMPLETION_INDEX_ENV.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: format!("metadata.labels['{COMPLETION_INDEX}']"),
                }),
                ..EnvVarSource::default()
            }),
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{batch::v1::JobSpec, core::v1::PodTemplateSpec};

    use super::*;
    use crate::controllers::job::snapshot::Failures;

    fn job(name: &str) -> Job {
        let container = |name: &str| Container { name: name.to_owned(), ..Container::default() };
        let own = EnvVar { name: COMPLETION_INDEX_ENV.to_owned(), value: Some("mine".to_owned()), value_from: None };
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                name: Some("ignored".to_owned()),
                generate_name: Some("ignored-".to_owned()),
                labels: Some([("a".to_owned(), "b".to_owned())].into()),
                finalizers: Some(vec!["example.com/mine".to_owned()]),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                containers: vec![container("main"), Container { env: Some(vec![own]), ..container("own") }],
                init_containers: Some(vec![container("setup")]),
                hostname: Some("template".to_owned()),
                ..PodSpec::default()
            }),
        };
        Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("ns".to_owned()),
                uid: Some("u-1".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec { template, ..JobSpec::default() }),
            status: None,
        }
    }

    /// J-704, J-705.
    #[test]
    fn name_bases_follow_t15() {
        let a = |count: usize| "a".repeat(count);
        assert_eq!(generate_name("pi", None), "pi-");
        assert_eq!(generate_name(&a(57), None), a(57) + "-");
        assert_eq!(generate_name(&a(58), None), a(58) + "-");
        assert_eq!(generate_name(&a(253), None), a(253));
        assert_eq!(generate_name("pi", Some(0)), "pi-0-");
        assert_eq!(generate_name(&a(56), Some(1)), a(55) + "-1-");
        assert_eq!(generate_name(&a(60), Some(7)), a(55) + "-7-");
    }

    /// J-706, J-707, J-708, J-709.
    #[test]
    fn an_indexed_pod_knows_its_index_in_every_way() {
        let failures = Failures { counted: 2, ignored: 0 };
        let pod = build(&job("pi"), &NewPod { index: Some(3), failures: Some(failures) });
        let annotations = pod.metadata.annotations.unwrap();
        assert_eq!(annotations[COMPLETION_INDEX], "3");
        assert_eq!(annotations[FAILURE_COUNT], "2");
        assert!(!annotations.contains_key(IGNORED_FAILURE_COUNT));
        assert_eq!(pod.metadata.labels.unwrap()[COMPLETION_INDEX], "3");
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("pi-3"));
        let env = |container: &Container| container.env.clone().unwrap();
        let added = &env(&spec.containers[0])[0];
        let field = added.value_from.as_ref().unwrap().field_ref.as_ref().unwrap();
        assert_eq!((added.name.as_str(), field.api_version.as_deref()), (COMPLETION_INDEX_ENV, Some("v1")));
        assert_eq!(field.field_path, "metadata.labels['batch.kubernetes.io/job-completion-index']");
        assert_eq!(env(&spec.init_containers.unwrap()[0]).len(), 1);
        assert_eq!(env(&spec.containers[1])[0].value.as_deref(), Some("mine"));
        assert_eq!(env(&spec.containers[1]).len(), 1);
        let annotations = |failures| {
            let pod = build(&job("pi"), &NewPod { index: Some(0), failures });
            let annotations = pod.metadata.annotations.unwrap();
            [FAILURE_COUNT, IGNORED_FAILURE_COUNT].map(|key| annotations.get(key).cloned().unwrap_or_default())
        };
        assert_eq!(annotations(Some(Failures { counted: 0, ignored: 3 })), ["0", "3"]);
        assert_eq!(annotations(None), ["", ""]);
    }

    /// J-701, J-702, J-703.
    #[test]
    fn a_plain_pod_is_the_template_owned_and_tracked() {
        let pod = build(&job("pi"), &NewPod { index: None, failures: None });
        assert_eq!(pod.metadata.name, None);
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("pi-"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("ns"));
        assert_eq!(pod.metadata.finalizers.unwrap(), ["example.com/mine", TRACKING_FINALIZER]);
        assert_eq!(pod.metadata.labels.unwrap()["a"], "b");
        let reference = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: "pi".to_owned(),
            uid: "u-1".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        assert_eq!(pod.metadata.owner_references.unwrap(), [reference]);
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("template"));
        assert_eq!(spec.containers[0].env, None);
    }
}
