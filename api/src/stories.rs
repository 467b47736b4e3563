//! Tests of objects on their way through the public interface: a body is decoded, created, written again, shown and deleted, as the
//! server and the controllers do it.

use crate::{
    decode::{self, FieldValidation, Format},
    kind::testing::{Seeded, noon},
    lifecycle::{self, Deletion},
    object::Object,
    registry::{self, Resource, resources},
    write::{self, Context, Part, Updated},
};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::{ConfigMap, Namespace, Node, Pod, PodTemplate, Secret, Service, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde::{Serialize, de::DeserializeOwned};

fn find(group: &str, plural: &str) -> &'static Resource {
    registry::find(group, "v1", plural).unwrap()
}

#[track_caller]
fn create(resource: &Resource, body: &str) -> Object {
    let decoded = decode::object(resource, Format::Json, body.as_bytes(), FieldValidation::Strict).unwrap();
    let namespace = if resource.namespaced { "default" } else { "" };
    let mut context = Context { now: noon(), random: &mut Seeded(3) };
    write::create(resource, namespace, decoded.object, &mut context).unwrap().object
}

#[track_caller]
fn put(resource: &Resource, part: Part, old: &Object, body: &str) -> Updated {
    let decoded = decode::object(resource, Format::Json, body.as_bytes(), FieldValidation::Strict).unwrap();
    write::preconditions(resource, old, 7, &decoded.object).unwrap();
    write::update(resource, part, old, decoded.object, &mut Context { now: noon(), random: &mut Seeded(4) }).unwrap()
}

/// One small body per resource.
fn body(resource: &Resource) -> &'static str {
    match (resource.group, resource.plural) {
        ("", "configmaps") => r#"{"metadata":{"name":"a"},"data":{"k":"v"},"binaryData":{}}"#,
        ("", "events") => {
            r#"{"metadata":{"name":"a"},"involvedObject":{"kind":"Pod","namespace":"default"},"count":1}"#
        }
        ("", "namespaces" | "nodes" | "serviceaccounts") => r#"{"metadata":{"name":"a","labels":{}}}"#,
        ("", "pods") => {
            r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i","command":[],"resources":{"requests":{"cpu":0.5}}}]}}"#
        }
        ("", "podtemplates") => {
            r#"{"metadata":{"name":"a"},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}"#
        }
        ("", "services") => {
            r#"{"metadata":{"name":"a"},"spec":{"clusterIP":"None","selector":{"app":"x"},"ports":[{"port":80,"targetPort":"http"}]}}"#
        }
        ("", "secrets") => r#"{"metadata":{"name":"a"},"stringData":{"k":"v"}}"#,
        ("batch", "jobs") => {
            r#"{"metadata":{"name":"a"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#
        }
        ("batch", "cronjobs") => {
            r#"{"metadata":{"name":"a"},"spec":{"schedule":"0 * * * *","jobTemplate":{"spec":{"template":{"spec":{
                "restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}"#
        }
        ("events.k8s.io", "events") => {
            r#"{"metadata":{"name":"a"},"regarding":{"kind":"Pod","namespace":"default"},"type":"Normal","reason":"R","action":"A",
                "eventTime":"2026-11-20T21:00:00.000000Z","reportingController":"c","reportingInstance":"i"}"#
        }
        (group, plural) => panic!("a body for {plural}.{group}"),
    }
}

#[test]
fn w51_writing_back_what_was_read_changes_nothing() {
    for resource in resources() {
        let stored = create(resource, body(resource));
        let served = resource.rules.from_stored(stored.clone().with_revision(7));
        let text = serde_json::Value::Object(served.0).to_string();
        for part in [Part::Main, Part::Status] {
            let updated = put(resource, part, &stored, &text);
            assert!(
                matches!(updated, Updated::Unchanged { .. }),
                "{} {part:?}: {updated:?}",
                resource.qualified_plural()
            );
        }
    }
}

/// Controllers read typed objects and write them back.
#[track_caller]
fn survives_its_type<T: DeserializeOwned + Serialize>(group: &str, plural: &str) {
    let resource = find(group, plural);
    let stored = create(resource, body(resource));
    let typed = stored.clone().with_revision(7).to_typed::<T>().unwrap();
    let updated = write::update_own(resource, &stored, Object::from_typed(&typed).unwrap());
    assert!(matches!(updated, Updated::Unchanged { .. }), "{plural}: {updated:?}");
}

#[test]
fn w51_typed_objects_are_written_as_they_were() {
    survives_its_type::<ConfigMap>("", "configmaps");
    survives_its_type::<Namespace>("", "namespaces");
    survives_its_type::<Node>("", "nodes");
    survives_its_type::<Pod>("", "pods");
    survives_its_type::<PodTemplate>("", "podtemplates");
    survives_its_type::<Secret>("", "secrets");
    survives_its_type::<Service>("", "services");
    survives_its_type::<ServiceAccount>("", "serviceaccounts");
    survives_its_type::<CronJob>("batch", "cronjobs");
    survives_its_type::<Job>("batch", "jobs");
}

#[test]
fn a_job_from_manifest_to_deletion() {
    let jobs = find("batch", "jobs");
    let job = create(jobs, body(jobs));
    assert_eq!(job.text(&["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"]), Some(job.uid()));

    let mut suspended = job.clone();
    suspended.0["spec"]["suspend"] = true.into();
    let text = serde_json::Value::Object(suspended.0).to_string();
    let Updated::Changed(prepared) = put(jobs, Part::Main, &job, &text) else { panic!("not changed") };
    assert_eq!(prepared.object.get(&["metadata", "generation"]), Some(&2.into()));

    let foreground = DeleteOptions { propagation_policy: Some("Foreground".to_owned()), ..DeleteOptions::default() };
    let decided = lifecycle::delete(jobs, &prepared.object, 8, &foreground, noon()).unwrap();
    let Deletion::Mark(marked) = decided.deletion else { panic!("not marked") };
    assert_eq!(marked.object.get(&["metadata", "generation"]), Some(&3.into()));
    assert!(marked.index.deleting);

    // The collector takes the finalizer off when no dependent is left.
    let mut free = marked.object.clone();
    free.metadata_mut().remove("finalizers");
    assert!(matches!(write::update_own(jobs, &marked.object, free), Updated::Gone(_)));
}

#[test]
fn j2550_a_pod_stays_until_its_node_confirms() {
    let pods = find("", "pods");
    let mut pod = create(pods, body(pods));
    let delete = |pod: &Object, grace: Option<i64>| {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        lifecycle::delete(pods, pod, 7, &options, noon()).unwrap().deletion
    };
    // Without a node nobody has to confirm anything.
    assert!(matches!(delete(&pod, None), Deletion::Remove(_)));
    pod.0["spec"]["nodeName"] = "box".into();
    let Deletion::Mark(marked) = delete(&pod, None) else { panic!("not marked") };
    assert_eq!(marked.object.text(&["metadata", "deletionTimestamp"]), Some("2026-11-20T21:00:30Z"));
    assert!(matches!(write::update_own(pods, &pod, marked.object.clone()), Updated::Changed(_)));
    assert!(matches!(delete(&marked.object, None), Deletion::Unchanged));
    let Deletion::Remove(gone) = delete(&marked.object, Some(0)) else { panic!("not removed") };
    assert_eq!(gone.object.get(&["metadata", "deletionGracePeriodSeconds"]), Some(&0.into()));
}
