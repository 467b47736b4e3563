//! `spec` and `environment`: a pod's container as the engine is asked for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{facts, pod};
use crate::{
    engine::{ContainerSpec, Image, Network},
    node::{
        cgroup::PodLimits,
        environment::{self, Environment, Sources},
        spec::{Parts, build, hostname, pod_limits},
    },
};

fn sources() -> Sources {
    let map = json!({"metadata": {"name": "cm"}, "data": {"a": "1", "b.c": "2"}});
    let secret = json!({"metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}});
    Sources {
        config_maps: BTreeMap::from([("cm".to_owned(), serde_json::from_value(map).unwrap())]),
        secrets: BTreeMap::from([("s".to_owned(), serde_json::from_value(secret).unwrap())]),
        files: BTreeMap::from([
            (("v".to_owned(), "a.env".to_owned()), Ok(Some("A='from a file'".to_owned()))),
            (("v".to_owned(), "none.env".to_owned()), Ok(None)),
        ]),
    }
}

fn resolve(container: Value) -> Result<Environment, String> {
    let pod = pod(json!({"spec": {"containers": container}}));
    environment::resolve(&pod, &pod.spec.as_ref().unwrap().containers[0], &sources(), &facts())
}

#[track_caller]
fn check_env(container: Value, want: &[&str]) {
    assert_eq!(resolve(container).unwrap().lines(), want);
}

#[track_caller]
fn check_env_refused(container: Value, want: &str) {
    assert_eq!(resolve(container).unwrap_err(), want);
}

fn built(changes: Value) -> Result<ContainerSpec, String> {
    built_with(changes, Image::default())
}

fn built_with(changes: Value, image: Image) -> Result<ContainerSpec, String> {
    let pod = pod(changes);
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let environment = environment::resolve(&pod, container, &sources(), &facts()).unwrap();
    build(Parts {
        pod: &pod,
        container,
        attempt: 2,
        environment: &environment,
        image: &image,
        mounts: Vec::new(),
        tmpfs: BTreeMap::new(),
        node: &facts(),
        sandbox: None,
    })
}

fn of(container: Value) -> ContainerSpec {
    built(json!({"spec": {"containers": container}})).unwrap()
}

#[test]
fn variables_come_from_files_of_the_pod() {
    let file = |path: &str, key: &str, optional: bool| {
        let reference = json!({"volumeName": "v", "path": path, "key": key, "optional": optional});
        json!({"env": [{"name": "X", "valueFrom": {"fileKeyRef": reference}}]})
    };
    check_env(file("a.env", "A", false), &["X=from a file"]);
    check_env(file("a.env", "B", true), &[]);
    check_env(file("none.env", "A", true), &[]);
    check_env_refused(file("a.env", "B", false), "environment variable key \"B\" not found in file \"a.env\"");
    check_env_refused(file("none.env", "A", false), "environment variable key \"A\" not found in file \"none.env\"");
    check_env_refused(file("x.env", "A", false), "cannot find the volume \"v\" referenced by FileKeyRef");
}

/// The kernel's name, and the domain beside it (J-711).
#[test]
fn host_names_with_and_without_their_domain() {
    let names = |spec: Value| {
        let created = built(json!({"spec": spec})).unwrap();
        (created.hostname.unwrap_or_default(), created.domainname.unwrap_or_default())
    };
    let pair = |host: &str, domain: &str| (host.to_owned(), domain.to_owned());
    assert_eq!(names(json!({"hostname": "h"})), pair("h", ""));
    assert_eq!(names(json!({"hostname": "h", "subdomain": "s"})), pair("h", "s.default.svc.cluster.local"));
    assert_eq!(
        names(json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true})),
        pair("h.s.default.svc.cluster.local", "")
    );
    assert_eq!(names(json!({"hostname": "h", "setHostnameAsFQDN": true})), pair("h", ""));
    assert_eq!(names(json!({"hostname": "h", "subdomain": "s", "hostnameOverride": "o"})), pair("o", ""));
    let long = json!({"hostname": "h".repeat(40), "subdomain": "s", "setHostnameAsFQDN": true});
    let error = built(json!({"spec": long})).unwrap_err();
    assert!(error.ends_with("is too long (64 characters is the max, 68 characters requested)"), "{error}");
}

/// One container alone gets what the pod has as a whole; of several each has the pod's limits where it has none.
#[test]
fn resources_of_the_pod_as_a_whole_d1101() {
    let whole = json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}});
    let created = built(json!({"spec": {"resources": whole}})).unwrap();
    assert_eq!((created.nano_cpus, created.memory, created.cpu_shares), (Some(500_000_000), Some(64 << 20), Some(256)));
    let own = json!({"resources": {"limits": {"memory": "32Mi"}}});
    let created = built(json!({"spec": {"resources": whole, "containers": own}})).unwrap();
    assert_eq!((created.nano_cpus, created.memory), (Some(500_000_000), Some(32 << 20)));
    assert_eq!(pod_limits(&pod(json!({"spec": {"resources": whole}}))), PodLimits::default());
    let two = pod(json!({"spec": {"resources": whole, "shareProcessNamespace": true}}));
    let want = PodLimits { memory: Some(64 << 20), nano_cpus: Some(500_000_000), cpu_shares: Some(256) };
    assert_eq!(pod_limits(&two), want);
}

#[test]
fn variables_refer_to_earlier_ones() {
    check_env(
        json!({"env": [
            {"name": "A", "value": "x"}, {"name": "B", "value": "$(A)-$(NOPE)-$$(A)-$"}, {"name": "E"},
        ]}),
        &["A=x", "B=x-$(NOPE)-$(A)-$", "E="],
    );
}

#[test]
fn env_overrides_env_from_and_prefixes_are_put_before() {
    check_env(
        json!({"envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "P_"}], "env": [{"name": "P_a", "value": "over"}]}),
        &["P_a=over", "P_b.c=2"],
    );
}

#[test]
fn variables_come_from_fields_resources_and_keys() {
    check_env(
        json!({
            "resources": {"limits": {"cpu": "1500m"}},
            "env": [
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y", "optional": true}}},
            ],
        }),
        &["POD=p", "HOST=10.0.0.1", "CPU=2", "MEMORY=8", "PASSWORD=hunter2"],
    );
}

#[test]
fn missing_sources_are_named_j2580() {
    check_env_refused(json!({"envFrom": [{"secretRef": {"name": "x"}}]}), "secret \"x\" not found");
    check_env_refused(
        json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k"}}}]}),
        "configmap \"x\" not found",
    );
    check_env_refused(
        json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}),
        "couldn't find key k in ConfigMap default/cm",
    );
}

#[test]
fn command_and_args_map_to_entrypoint_and_cmd_d301() {
    assert_eq!((of(json!({})).entrypoint, of(json!({})).cmd), (None, None));
    let args = of(json!({"args": ["$(A)"], "env": [{"name": "A", "value": "x"}]}));
    assert_eq!((args.entrypoint, args.cmd), (None, Some(vec!["x".to_owned()])));
    assert_eq!(of(json!({"command": [], "args": []})).entrypoint, None);
}

#[test]
fn name_and_labels_tell_whose_it_is_d401_d402() {
    let spec = of(json!({}));
    assert_eq!(spec.name, "jobd-u-main-2");
    assert_eq!(spec.labels["jobd.instance"], "i");
    assert_eq!(spec.labels["jobd.pod.uid"], "u");
    assert_eq!(spec.labels["jobd.container.attempt"], "2");
    assert_eq!(of(json!({})), of(json!({})));
}

#[test]
fn limits_lie_within_what_the_engine_takes_d305() {
    let of = |limits: Value, requests: Value| of(json!({"resources": {"limits": limits, "requests": requests}}));
    assert_eq!(of(json!({"cpu": "1m"}), json!({})).nano_cpus, Some(10_000_000));
    assert_eq!(of(json!({"cpu": "500m"}), json!({})).nano_cpus, Some(500_000_000));
    assert_eq!(of(json!({"cpu": "100"}), json!({})).nano_cpus, Some(4_000_000_000));
    assert_eq!(of(json!({}), json!({"cpu": "1m"})).cpu_shares, Some(2));
    assert_eq!(of(json!({}), json!({"cpu": "2"})).cpu_shares, Some(2048));
    assert_eq!(of(json!({"memory": "1Mi"}), json!({})).memory, Some(6 << 20));
    let both = of(json!({"memory": "64Mi"}), json!({"memory": "128Mi"}));
    assert_eq!((both.memory, both.memory_reservation), (Some(64 << 20), Some(64 << 20)));
    assert_eq!(of(json!({}), json!({})).memory, None);
}

#[test]
fn the_host_name_is_short_j711() {
    let long = "a".repeat(62) + "-b";
    assert_eq!(hostname(&pod(json!({"metadata": {"name": long}}))), "a".repeat(62));
    assert_eq!(hostname(&pod(json!({"spec": {"hostname": "h"}}))), "h");
}

#[test]
fn users_and_groups() {
    let of = |pod: Value, container: Value, user: &str| {
        let image = Image { user: user.to_owned(), ..Image::default() };
        let changes = json!({"spec": {"securityContext": pod, "containers": {"securityContext": container}}});
        built_with(changes, image).unwrap()
    };
    assert_eq!(of(json!({}), json!({}), "x").user, None);
    assert_eq!(of(json!({"runAsUser": 1}), json!({"runAsUser": 0}), "").user.as_deref(), Some("0"));
    assert_eq!(of(json!({"runAsGroup": 5}), json!({}), "app:x").user.as_deref(), Some("app:5"));
    let groups = of(json!({"supplementalGroups": [7], "fsGroup": 9}), json!({}), "").supplementary_groups;
    assert_eq!(groups, [7, 9]);
}

#[test]
fn run_as_non_root_is_checked_j2511() {
    let of = |container: Value, user: &str| {
        let image = Image { user: user.to_owned(), ..Image::default() };
        built_with(json!({"spec": {"containers": {"securityContext": container}}}), image).map(|_| ())
    };
    let place = "(pod: \"p_default(u)\", container: main)";
    assert_eq!(
        of(json!({"runAsNonRoot": true}), ""),
        Err(format!("container has runAsNonRoot and image will run as root {place}"))
    );
    assert_eq!(
        of(json!({"runAsNonRoot": true, "runAsUser": 0}), "1"),
        Err(format!("container's runAsUser breaks non-root policy {place}"))
    );
    assert!(of(json!({"runAsNonRoot": true}), "app").unwrap_err().contains("non-numeric user (app)"));
    assert_eq!(of(json!({"runAsNonRoot": true}), "1000:1000"), Ok(()));
    assert_eq!(of(json!({"runAsNonRoot": true, "runAsUser": 5}), ""), Ok(()));
}

#[test]
fn networks_d212() {
    let of = |changes: Value| built(changes).unwrap();
    assert_eq!(of(json!({})).network, Network::Bridge);
    let host = of(json!({"spec": {"hostNetwork": true}}));
    assert_eq!((host.network, host.hostname), (Network::Host, None));
    let none = json!({"metadata": {"annotations": {"jobd/network": "none"}}});
    assert_eq!(of(none).network, Network::Disabled);
    let aliases = of(json!({"spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}));
    assert_eq!(aliases.extra_hosts, ["a:1.2.3.4", "b:1.2.3.4"]);
}
