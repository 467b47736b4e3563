//! The Pod cases of Kubernetes' own end-to-end suite ([sig-node] Pods, Pods Extended, Container Runtime, Kubelet, Variable
//! Expansion, Downward API, ConfigMap, Secrets, Security Context; [sig-storage] volumes): pods of one container.

use jobd_tests::{
    Suite,
    client::has_condition,
    upstream::{self, BUSYBOX},
};
use serde_json::{Value, json};

/// A pod of the suite: one container that runs a shell script, once.
fn pod(name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"name": "foo", "time": name}},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script]}],
        },
    })
}

fn sleeper(name: &str) -> Value {
    pod(name, "trap 'exit 0' TERM; sleep 1000000 & wait")
}

fn container(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

/// Runs a pod to its end and returns it with its log.
async fn run(suite: &Suite, pod: &Value) -> (Value, String) {
    let made = suite.create("pods", pod).await.expect(201);
    let name = made["metadata"]["name"].as_str().unwrap();
    let ended = suite
        .wait(&format!("pods/{name}"), "ended", |pod| {
            ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase)
        })
        .await;
    let log = suite.get(&format!("pods/{name}/log?container=main")).await;
    (ended, log.text())
}

/// Runs a pod that must succeed, and checks what it printed.
async fn check_output(suite: &Suite, pod: &Value, lines: &[&str]) {
    let (ended, log) = run(suite, pod).await;
    assert_eq!(ended["status"]["phase"], "Succeeded", "{log}{ended}");
    for line in lines {
        assert!(log.lines().any(|other| other == *line), "{line:?} is missing in {log:?}");
    }
    let path = format!("pods/{}", ended["metadata"]["name"].as_str().unwrap());
    suite.delete(&path, &json!({})).await.expect(200);
    suite.wait_gone(&path).await;
}

/// Pods should get a host IP; Pod Generation starts at 1 whatever the client says; QoS class (J-2414, W-49).
#[tokio::test]
async fn addresses_generation_and_quality() {
    let suite = Suite::start("pods").await;
    let mut asked = sleeper("pod-hostip");
    asked["metadata"]["generation"] = json!(100);
    let limits = json!({"cpu": "100m", "memory": "100Mi"});
    container(&mut asked)["resources"] = json!({"limits": limits, "requests": limits});
    let made = suite.create("pods", &asked).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1, "{made}");
    assert_eq!((&made["status"]["qosClass"], &made["status"]["phase"]), (&json!("Guaranteed"), &json!("Pending")));
    let running = suite.wait_phase("pod-hostip", "Running").await;
    let status = &running["status"];
    assert!(status["hostIP"].is_string() && status["hostIPs"][0]["ip"] == status["hostIP"], "{running}");
    assert!(status["podIP"].is_string() && status["podIPs"][0]["ip"] == status["podIP"], "{running}");
    assert!(status["startTime"].is_string() && has_condition(&running, "Ready"), "{running}");
    assert_eq!(status["observedGeneration"], 1, "{running}");
    let changed = suite.merge("pods/pod-hostip", &json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    assert_eq!(changed["metadata"]["generation"], 1, "labels are not the spec");
    let changed = suite.merge("pods/pod-hostip", &json!({"spec": {"activeDeadlineSeconds": 5000}})).await.expect(200);
    assert_eq!(changed["metadata"]["generation"], 2);
    suite.wait("pods/pod-hostip", "observed", |pod| pod["status"]["observedGeneration"] == 2).await;
    let deleted = suite.delete("pods/pod-hostip", &json!({})).await.expect(200);
    assert_eq!(deleted["metadata"]["generation"], 3, "{deleted}");
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 1);
    suite.wait_gone("pods/pod-hostip").await;
}

/// Pods should be submitted and removed (W-99, W-126).
#[tokio::test]
async fn submitted_and_removed() {
    let suite = Suite::start("pods").await;
    let selector = "labelSelector=time%3Dpod-submit-remove";
    let list = suite.get(&format!("pods?{selector}")).await.expect(200);
    assert_eq!(list["items"], json!([]));
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut watch =
        suite.watch("pods", &format!("{selector}&resourceVersion={version}&allowWatchBookmarks=true")).await;
    suite.create("pods", &sleeper("pod-submit-remove")).await.expect(201);
    let list = suite.get(&format!("pods?{selector}")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    suite.wait_phase("pod-submit-remove", "Running").await;
    suite.delete("pods/pod-submit-remove", &json!({"gracePeriodSeconds": 30})).await.expect(200);
    let (_, last) = watch.until("the deletion", |kind, _| kind == "DELETED").await;
    assert!(last["metadata"]["deletionTimestamp"].is_string(), "{last}");
    assert_eq!(last["spec"]["terminationGracePeriodSeconds"], 1);
    let list = suite.get(&format!("pods?{selector}")).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

/// Pods should be updated; what may not change is refused; should allow activeDeadlineSeconds to be updated (J-2560).
#[tokio::test]
async fn updated_and_ended_by_a_later_deadline() {
    let suite = Suite::start("pods").await;
    suite.create("pods", &sleeper("pod-update")).await.expect(201);
    suite.wait_phase("pod-update", "Running").await;
    suite.change("pods/pod-update", |pod| pod["metadata"]["labels"]["time"] = json!("updated")).await;
    let list = suite.get("pods?labelSelector=time%3Dupdated").await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let refused = suite.merge("pods/pod-update", &json!({"spec": {"restartPolicy": "Always"}})).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("pod updates may not change fields other than"), "{refused}");
    suite.change("pods/pod-update", |pod| pod["spec"]["activeDeadlineSeconds"] = json!(2)).await;
    let failed = suite.wait_phase("pod-update", "Failed").await;
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded", "{failed}");
}

/// Pods should support pod readiness gates (J-2540).
#[tokio::test]
async fn readiness_gates() {
    let suite = Suite::start("pods").await;
    let mut pod = sleeper("pod-ready");
    pod["spec"]["readinessGates"] =
        json!([{"conditionType": "k8s.io/test-condition1"}, {"conditionType": "k8s.io/test-condition2"}]);
    suite.create("pods", &pod).await.expect(201);
    let running = suite.wait_phase("pod-ready", "Running").await;
    assert!(!has_condition(&running, "Ready") && has_condition(&running, "ContainersReady"), "{running}");
    let set = async |gate: &str, status: &str| {
        let patch = json!({"status": {"conditions": [{"type": gate, "status": status}]}});
        suite.strategic("pods/pod-ready/status", &patch).await.expect(200);
    };
    set("k8s.io/test-condition1", "True").await;
    set("k8s.io/test-condition2", "True").await;
    suite.wait("pods/pod-ready", "ready", |pod| has_condition(pod, "Ready")).await;
    set("k8s.io/test-condition1", "False").await;
    suite.wait("pods/pod-ready", "not ready", |pod| !has_condition(pod, "Ready")).await;
}

/// Pods should delete a collection of pods (W-104).
#[tokio::test]
async fn a_collection_is_deleted() {
    let suite = Suite::start("pods").await;
    for number in 1..=3 {
        let mut pod = sleeper(&format!("test-pod-{number}"));
        pod["metadata"]["labels"] = json!({"type": "Testing"});
        suite.create("pods", &pod).await.expect(201);
    }
    let selector = "labelSelector=type%3DTesting";
    let list = suite.get(&format!("pods?{selector}")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3));
    suite.delete(&format!("pods?{selector}"), &json!({"gracePeriodSeconds": 1})).await.expect(200);
    for number in 1..=3 {
        suite.wait_gone(&format!("pods/test-pod-{number}")).await;
    }
}

/// Pods should run through the lifecycle of Pods and PodStatus; should patch a pod status (W-76…W-90).
#[tokio::test]
async fn lifecycle_of_a_pod_and_its_status() {
    let suite = Suite::start("pods").await;
    let selector = "labelSelector=test-pod-static%3Dtrue";
    let list = suite.get(&format!("pods?{selector}")).await.expect(200);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut pod = sleeper("pod-test");
    pod["metadata"]["labels"] = json!({"test-pod-static": "true"});
    suite.create("pods", &pod).await.expect(201);
    let mut watch = suite.watch("pods", &format!("{selector}&resourceVersion={version}")).await;
    watch.until("running", |_, pod| pod["status"]["phase"] == "Running" && has_condition(pod, "Ready")).await;
    let patch = json!({
        "metadata": {"labels": {"test-pod": "patched"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "busybox:1.36"}]},
    });
    suite.strategic("pods/pod-test", &patch).await.expect(200);
    watch
        .until("the patch", |kind, pod| {
            kind == "MODIFIED"
                && pod["metadata"]["labels"]["test-pod"] == "patched"
                && pod["spec"]["containers"][0]["image"] == "busybox:1.36"
        })
        .await;
    let replaced = jobd_tests::eventually("the status to be replaced", async || {
        let mut pod = suite.get("pods/pod-test/status").await.expect(200);
        for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
            if condition["type"] == "Ready" {
                condition["status"] = json!("False");
            }
        }
        let answer = suite.update("pods/pod-test/status", &pod).await;
        if answer.status == 409 { Err(answer.text()) } else { Ok(answer.expect(200)) }
    })
    .await;
    assert!(!has_condition(&replaced, "Ready"), "{replaced}");
    let patch =
        json!({"metadata": {"annotations": {"a": "b"}}, "status": {"message": "Patched by e2e test", "reason": "E2E"}});
    let patched = suite.strategic("pods/pod-test/status", &patch).await.expect(200);
    let status = &patched["status"];
    assert_eq!((&status["message"], &status["reason"]), (&json!("Patched by e2e test"), &json!("E2E")), "{patched}");
    suite.delete(&format!("pods?{selector}"), &json!({"gracePeriodSeconds": 1})).await.expect(200);
    watch.until("the deletion", |kind, _| kind == "DELETED").await;
}

/// Container Runtime: the expected status when a container exits, for each restart policy (J-2501, J-2516).
#[tokio::test]
async fn expected_status_for_each_restart_policy() {
    let suite = Suite::start("container-runtime").await;
    let shared = suite.daemon.data_dir().with_file_name("restart-count");
    for (name, policy, succeed_at, phase, restarts, ready) in [
        ("terminate-cmd-rpa", "Always", 1, "Running", 1, true),
        ("terminate-cmd-rpof", "OnFailure", 2, "Succeeded", 1, false),
        ("terminate-cmd-rpn", "Never", 9, "Failed", 0, false),
    ] {
        // Counts its runs on a host directory; the run that is meant to end well sleeps first if the pod never ends.
        let script = format!(
            "f=/restart-count/{name}; echo -n x >> $f; n=$(wc -c < $f); \
             [ {policy} = Always ] && [ $n -ge 2 ] && {{ trap 'exit 0' TERM; sleep 600 & wait; }}; \
             [ $n -ge {succeed_at} ] && exit 0; exit 1"
        );
        let mut pod = pod(name, &script);
        pod["spec"]["restartPolicy"] = json!(policy);
        pod["spec"]["volumes"] =
            json!([{"name": "restart-count", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}}]);
        container(&mut pod)["volumeMounts"] = json!([{"name": "restart-count", "mountPath": "/restart-count"}]);
        suite.create("pods", &pod).await.expect(201);
        let pod = suite
            .wait(&format!("pods/{name}"), phase, |pod| {
                pod["status"]["phase"] == phase && pod["status"]["containerStatuses"][0]["restartCount"] == restarts
            })
            .await;
        let status = &pod["status"]["containerStatuses"][0];
        if ready {
            suite.wait(&format!("pods/{name}"), "ready", |pod| has_condition(pod, "Ready")).await;
        } else {
            assert_eq!(status["ready"], false, "{pod}");
            assert!(status["state"]["terminated"].is_object(), "{pod}");
        }
    }
}

/// Container Runtime: termination messages from the file, from another path as another user, from the log on error (J-2515).
#[tokio::test]
async fn termination_messages() {
    let suite = Suite::start("container-runtime").await;
    for (name, script, settings, phase, message) in [
        ("default", "echo -n DONE > /dev/termination-log", json!({}), "Succeeded", "DONE"),
        (
            "path",
            "echo -n DONE > /dev/termination-custom-log",
            json!({"terminationMessagePath": "/dev/termination-custom-log", "securityContext": {"runAsUser": 1000}}),
            "Succeeded",
            "DONE",
        ),
        (
            "fallback",
            "echo -n DONE; exit 1",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Failed",
            "DONE",
        ),
        (
            "file-first",
            "echo -n OK > /dev/termination-log; echo DONE; exit 0",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Succeeded",
            "OK",
        ),
        ("empty", "echo DONE", json!({"terminationMessagePolicy": "FallbackToLogsOnError"}), "Succeeded", ""),
    ] {
        let mut pod = pod(name, script);
        container(&mut pod).as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let (ended, log) = run(&suite, &pod).await;
        assert_eq!(ended["status"]["phase"], phase, "{name}: {log}{ended}");
        let terminated = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(terminated["message"].as_str().unwrap_or_default(), message, "{name}: {ended}");
    }
}

/// Kubelet: prints to logs; has a terminated reason; cannot write to a read-only root; knows host aliases (J-2512).
#[tokio::test]
async fn logs_reasons_and_the_root_filesystem() {
    let suite = Suite::start("kubelet-test").await;
    check_output(&suite, &pod("busybox-scheduling", "echo 'Hello World' ; sleep 1"), &["Hello World"]).await;
    let (ended, _) = run(&suite, &pod("bin-false", "/bin/false")).await;
    let terminated = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["reason"], &terminated["exitCode"]), (&json!("Error"), &json!(1)), "{ended}");
    let mut fixed = pod("busybox-readonly-fs", "echo test > /file && exit 1; echo refused");
    container(&mut fixed)["securityContext"] = json!({"readOnlyRootFilesystem": true});
    check_output(&suite, &fixed, &["refused"]).await;
    let mut aliases = pod("busybox-host-aliases", "grep foo /etc/hosts");
    aliases["spec"]["hostAliases"] = json!([{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]);
    let (ended, log) = run(&suite, &aliases).await;
    assert_eq!(log, "123.45.67.89\tfoo\tbar\n", "{ended}");
    // A container that always fails can be deleted.
    let mut failing = pod("always-fails", "/bin/false");
    failing["spec"]["restartPolicy"] = json!("Always");
    suite.create("pods", &failing).await.expect(201);
    suite.delete("pods/always-fails", &json!({})).await.expect(200);
    suite.wait_gone("pods/always-fails").await;
}

/// Variable Expansion and Downward API.
#[tokio::test]
async fn variables_and_fields() {
    let suite = Suite::start("var-expansion").await;
    let mut expands = pod("var-expansion", "env");
    container(&mut expands)["env"] = json!([
        {"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"},
        {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"},
    ]);
    check_output(&suite, &expands, &["FOO=foo-value", "FOOBAR=foo-value;;bar-value"]).await;
    let mut command = pod("var-command", "");
    container(&mut command)["command"] = json!(["sh", "-c", "TEST_VAR=wrong echo \"$(TEST_VAR)\""]);
    container(&mut command)["env"] = json!([{"name": "TEST_VAR", "value": "test-value"}]);
    check_output(&suite, &command, &["test-value"]).await;
    let mut arguments = pod("var-args", "");
    container(&mut arguments)["command"] = json!(["sh", "-c"]);
    container(&mut arguments)["args"] = json!(["TEST_VAR=wrong echo \"$(TEST_VAR)\""]);
    container(&mut arguments)["env"] = json!([{"name": "TEST_VAR", "value": "test-value"}]);
    check_output(&suite, &arguments, &["test-value"]).await;

    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let resource =
        |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let mut downward = pod("downward-api", "env; echo HOST_IP_SET=${HOST_IP:+yes} UID_SET=${POD_UID:+yes}");
    container(&mut downward)["resources"] =
        json!({"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}});
    container(&mut downward)["env"] = json!([
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("HOST_IP", "status.hostIP"),
        field("POD_UID", "metadata.uid"),
        field("LABEL", "metadata.labels['name']"),
        resource("CPU_LIMIT", "limits.cpu"),
        resource("MEMORY_LIMIT", "limits.memory"),
        resource("CPU_REQUEST", "requests.cpu"),
        resource("MEMORY_REQUEST", "requests.memory"),
    ]);
    let namespace = format!("POD_NAMESPACE={}", suite.namespace);
    let lines = [
        "POD_NAME=downward-api",
        namespace.as_str(),
        "LABEL=foo",
        "CPU_LIMIT=2",
        "MEMORY_LIMIT=67108864",
        "CPU_REQUEST=1",
        "MEMORY_REQUEST=33554432",
        "HOST_IP_SET=yes UID_SET=yes",
    ];
    check_output(&suite, &downward, &lines).await;
}

/// ConfigMap and Secret volumes with mappings, modes, optional keys and binary data; as variables.
#[tokio::test]
async fn config_maps_and_secrets() {
    let suite = Suite::start("configmap").await;
    let map = json!({"metadata": {"name": "test-volume"}, "data": {"data-1": "value-1", "data-2": "value-2"},
        "binaryData": {"dump.bin": "3q2+7w=="}});
    suite.create("configmaps", &map).await.expect(201);
    let secret = json!({"metadata": {"name": "test-secret"}, "data": {"data-1": "dmFsdWUtMQo="}, "type": "Opaque"});
    suite.create("secrets", &secret).await.expect(201);
    let script = "cat /etc/map/data-1; echo; cat /etc/mapped/path/to/data-2; echo; stat -L -c %a /etc/mapped/path/to/data-2; \
        od -An -tx1 /etc/map/dump.bin | tr -d ' '; cat /etc/secret/data-1; stat -L -c %a /etc/secret/data-1; \
        ls /etc/none | wc -l; echo $FROM $PREFIX_1 $SECRET";
    let mut pod = pod("pod-configmaps", script);
    pod["spec"]["volumes"] = json!([
        {"name": "map", "configMap": {"name": "test-volume"}},
        {"name": "mapped", "configMap": {"name": "test-volume", "items": [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]}},
        {"name": "secret", "secret": {"secretName": "test-secret", "defaultMode": 0o440}},
        {"name": "none", "configMap": {"name": "not-there", "optional": true}},
    ]);
    container(&mut pod)["volumeMounts"] = json!([
        {"name": "map", "mountPath": "/etc/map", "readOnly": true}, {"name": "mapped", "mountPath": "/etc/mapped"},
        {"name": "secret", "mountPath": "/etc/secret"}, {"name": "none", "mountPath": "/etc/none"},
    ]);
    container(&mut pod)["env"] = json!([
        {"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "test-volume", "key": "data-1"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "test-secret", "key": "data-1"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "test-secret", "key": "no", "optional": true}}},
    ]);
    container(&mut pod)["envFrom"] = json!([{"prefix": "p-", "configMapRef": {"name": "test-volume"}}]);
    let lines = ["value-1", "value-2", "400", "deadbeef", "440", "0", "value-1 value-1"];
    check_output(&suite, &pod, &lines).await;
}

/// Updates should be reflected in volume: config maps, optional secrets that come and go, labels (J-2410).
#[tokio::test]
async fn mounted_files_follow_their_objects() {
    let suite = Suite::start("configmap").await;
    let map = |value: &str| json!({"metadata": {"name": "upd"}, "data": {"data-1": value}});
    suite.create("configmaps", &map("value-1")).await.expect(201);
    let script = "while :; do cat /etc/map/data-1 /etc/secret/s /etc/pod/labels 2>/dev/null; echo; sleep 0.2; done";
    let mut pod = pod("pod-updates", script);
    pod["spec"]["volumes"] = json!([
        {"name": "map", "configMap": {"name": "upd"}},
        {"name": "secret", "secret": {"secretName": "later", "optional": true}},
        {"name": "pod", "projected": {"sources": [
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}},
    ]);
    container(&mut pod)["volumeMounts"] = json!([
        {"name": "map", "mountPath": "/etc/map"}, {"name": "secret", "mountPath": "/etc/secret"},
        {"name": "pod", "mountPath": "/etc/pod"},
    ]);
    pod["metadata"]["labels"] = json!({"key": "one"});
    suite.create("pods", &pod).await.expect(201);
    suite.wait_phase("pod-updates", "Running").await;
    let shows = async |line: &str| {
        jobd_tests::eventually(line, async || {
            let log = suite.get("pods/pod-updates/log?tailLines=1").await.text();
            if log.trim_end() == line { Ok(()) } else { Err(log) }
        })
        .await;
    };
    shows("value-1key=\"one\"").await;
    suite.update("configmaps/upd", &map("value-2")).await.expect(200);
    shows("value-2key=\"one\"").await;
    let secret = json!({"metadata": {"name": "later"}, "data": {"s": "Kw=="}, "type": "Opaque"});
    suite.create("secrets", &secret).await.expect(201);
    shows("value-2+key=\"one\"").await;
    suite.merge("pods/pod-updates", &json!({"metadata": {"labels": {"key": "two"}}})).await.expect(200);
    shows("value-2+key=\"two\"").await;
    suite.delete("secrets/later", &json!({})).await.expect(200);
    shows("value-2key=\"two\"").await;
}

/// Downward API should provide the pod's IP as a variable; the hosts file is a kubelet's; two containers share memory (D-202, D-1004).
#[tokio::test]
async fn an_address_is_known_before_the_start() {
    let suite = Suite::start("downward-api").await;
    let script = "hostname -i; echo POD_IP=$POD_IP; head -1 /etc/hosts; grep -w $POD_IP /etc/hosts";
    let mut pod = pod("pod-address", script);
    container(&mut pod)["env"] = json!([{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]);
    let (ended, log) = run(&suite, &pod).await;
    let address = ended["status"]["podIP"].as_str().unwrap();
    let line = format!("{address}\tpod-address");
    for line in [&format!("POD_IP={address}"), "# Kubernetes-managed hosts file.", &line] {
        assert!(log.lines().any(|other| other == line), "{line:?} is missing in {log:?}");
    }
    let mut shared = sleeper("pod-shared-memory");
    shared["spec"]["volumes"] = json!([{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
    let mounts = json!([{"name": "m", "mountPath": "/m"}]);
    let one = |name: &str, script: &str| json!({"name": name, "image": BUSYBOX, "command": ["sh", "-c", script], "volumeMounts": mounts});
    let reader = "until test -e /m/f; do sleep 0.1; done; cat /m/f";
    shared["spec"]["containers"] = json!([one("main", reader), one("other", "echo shared > /m/f")]);
    check_output(&suite, &shared, &["shared"]).await;
}

/// EmptyDir, HostPath and Security Context: sizes, modes, users, privileges (D-701…).
#[tokio::test]
async fn volumes_and_security_contexts() {
    let suite = Suite::start("security-context").await;
    let mut empty = pod(
        "pod-emptydir",
        "stat -c %a /v /m; grep ' /m ' /proc/mounts | cut -d' ' -f3; echo hi > /m/f && cat /m/f; id -u; id -g",
    );
    empty["spec"]["securityContext"] = json!({"runAsUser": 1001, "runAsGroup": 2002, "fsGroup": 123});
    empty["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]);
    container(&mut empty)["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}, {"name": "m", "mountPath": "/m"}]);
    check_output(&suite, &empty, &["tmpfs", "hi", "1001", "2002"]).await;
    let mut drops = pod("no-new-privileges", "grep NoNewPrivs /proc/self/status | tr -d '\\t '");
    container(&mut drops)["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "runAsUser": 1000, "capabilities": {"drop": ["ALL"]}});
    check_output(&suite, &drops, &["NoNewPrivs:1"]).await;
    for (name, privileged, lines) in [("privileged-false", false, ["refused"]), ("privileged-true", true, ["mounted"])]
    {
        if privileged && !upstream::privileges() {
            continue;
        }
        let mut pod = pod(name, "mkdir /tmp/m; mount -t tmpfs none /tmp/m 2>/dev/null && echo mounted || echo refused");
        container(&mut pod)["securityContext"] = json!({"privileged": privileged});
        check_output(&suite, &pod, &lines).await;
    }
    // runAsNonRoot with a root image never starts and says why.
    let mut root = pod("implicit-root-uid", "true");
    container(&mut root)["securityContext"] = json!({"runAsNonRoot": true});
    suite.create("pods", &root).await.expect(201);
    suite
        .wait("pods/implicit-root-uid", "refused", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        })
        .await;
    suite.delete("pods/implicit-root-uid", &json!({"gracePeriodSeconds": 0})).await.expect(200);
}

/// Pods bound by the client: `spec.nodeName`; and pods that no node wants (J-2570, J-2571).
#[tokio::test]
async fn bound_by_the_client_or_by_nobody() {
    let suite = Suite::start("sched-pred").await;
    let node = suite.ready_node().await;
    let mut bound = pod("bound", "true");
    bound["spec"]["nodeName"] = json!(node);
    suite.create("pods", &bound).await.expect(201);
    suite.wait_phase("bound", "Succeeded").await;
    let mut nowhere = pod("restricted-pod", "true");
    nowhere["spec"]["nodeSelector"] = json!({"label": "nonempty"});
    suite.create("pods", &nowhere).await.expect(201);
    suite
        .wait("pods/restricted-pod", "unschedulable", |pod| {
            pod["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|one| {
                    one["type"] == "PodScheduled" && one["status"] == "False" && one["reason"] == "Unschedulable"
                })
            })
        })
        .await;
    // Labelling the node lets it in.
    suite
        .client
        .merge(&format!("/api/v1/nodes/{node}"), &json!({"metadata": {"labels": {"label": "nonempty"}}}))
        .await
        .expect(200);
    suite.wait_phase("restricted-pod", "Succeeded").await;
    // A taint keeps pods away that do not tolerate it.
    let taint = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    suite.client.merge(&format!("/api/v1/nodes/{node}"), &taint).await.expect(200);
    suite.create("pods", &pod("kept-away", "true")).await.expect(201);
    let mut tolerant = pod("tolerant", "true");
    tolerant["spec"]["tolerations"] = json!([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]);
    suite.create("pods", &tolerant).await.expect(201);
    suite.wait_phase("tolerant", "Succeeded").await;
    let kept = suite.get("pods/kept-away").await.expect(200);
    assert_eq!(kept["status"]["phase"], "Pending", "{kept}");
    suite.client.merge(&format!("/api/v1/nodes/{node}"), &json!({"spec": {"taints": null}})).await.expect(200);
    suite.wait_phase("kept-away", "Succeeded").await;
}

/// Pods should support retrieving logs: tail, limit, since, timestamps, and a container that is not there (W-150…W-157).
#[tokio::test]
async fn logs_in_all_ways() {
    let suite = Suite::start("pods").await;
    run(&suite, &pod("logs", "for i in 1 2 3; do echo line $i; done")).await;
    for (query, want) in [
        ("tailLines=1", "line 3\n"),
        ("limitBytes=6", "line 1"),
        ("tailLines=0", ""),
        ("sinceSeconds=600", "line 1\nline 2\nline 3\n"),
        ("container=main&follow=true", "line 1\nline 2\nline 3\n"),
    ] {
        let log = suite.get(&format!("pods/logs/log?{query}")).await;
        assert_eq!((log.status, log.text().as_str()), (200, want), "{query}");
    }
    let stamped = suite.get("pods/logs/log?timestamps=true&tailLines=1").await.text();
    let (at, line) = stamped.split_once(' ').unwrap();
    assert!(at.parse::<jiff::Timestamp>().is_ok() && line == "line 3\n", "{stamped}");
    suite.get("pods/logs/log?container=other").await.expect(400);
    suite.get("pods/not-there/log").await.expect(404);
}

/// PodOSRejection, Sysctls, Pods Extended: what cannot run on the node is not admitted, and says why.
#[tokio::test]
async fn what_cannot_run_here_is_rejected() {
    let suite = Suite::start("pod-os-rejection").await;
    let mut asked = sleeper("wrong-pod-os");
    asked["spec"]["os"] = json!({"name": "windows"});
    asked["spec"]["nodeName"] = json!(suite.ready_node().await);
    suite.create("pods", &asked).await.expect(201);
    let failed = suite.wait_phase("wrong-pod-os", "Failed").await;
    assert_eq!(failed["status"]["reason"], "PodOSNotSupported", "{failed}");
    suite.delete("pods/wrong-pod-os", &json!({})).await.expect(200);
    suite.wait_gone("pods/wrong-pod-os").await;
    // One that no node has room for, and one that would change the kernel for others.
    let mut large = sleeper("too-large");
    large["spec"]["nodeName"] = asked["spec"]["nodeName"].clone();
    container(&mut large)["resources"] = json!({"requests": {"cpu": "10000"}});
    suite.create("pods", &large).await.expect(201);
    let failed = suite.wait_phase("too-large", "Failed").await;
    assert_eq!((&failed["status"]["reason"], &failed["status"]["observedGeneration"]), (&json!("OutOfcpu"), &json!(1)));
    let mut unsafe_one = sleeper("sysctl");
    unsafe_one["spec"]["securityContext"] = json!({"sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]});
    suite.create("pods", &unsafe_one).await.expect(201);
    let failed = suite.wait_phase("sysctl", "Failed").await;
    assert_eq!(failed["status"]["reason"], "SysctlForbidden", "{failed}");
}

/// The names of a host: short, with its domain, as the pod gives it; and what is too long for a kernel.
#[tokio::test]
async fn host_names_of_all_kinds() {
    let suite = Suite::start("hostfqdn").await;
    let named = |name: &str, changes: Value| {
        let mut pod = pod(name, "echo \"$(hostname);$(hostname -f);\"");
        pod["spec"].as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        pod
    };
    check_output(&suite, &named("a", json!({})), &["a;a;"]).await;
    check_output(&suite, &named("b", json!({"setHostnameAsFQDN": true})), &["b;b;"]).await;
    let fqdn = |name: &str| format!("{name}.t.{}.svc.cluster.local", suite.namespace);
    check_output(&suite, &named("c", json!({"subdomain": "t"})), &[&format!("c;{};", fqdn("c"))]).await;
    let whole = named("d", json!({"subdomain": "t", "setHostnameAsFQDN": true}));
    check_output(&suite, &whole, &[&format!("{0};{0};", fqdn("d"))]).await;
    check_output(&suite, &named("e", json!({"hostnameOverride": "my-host"})), &["my-host;my-host;"]).await;
    let mine = named("f", json!({"hostnameOverride": "my-host", "subdomain": "t"}));
    check_output(&suite, &mine, &["my-host;my-host;"]).await;
    let both = named("g", json!({"hostnameOverride": "my-host", "setHostnameAsFQDN": true}));
    assert_eq!(suite.create("pods", &both).await.status, 422);
    let long = "h".repeat(60);
    let too_long = named(&long, json!({"subdomain": "t", "setHostnameAsFQDN": true}));
    suite.create("pods", &too_long).await.expect(201);
    let selector = format!("events?fieldSelector=involvedObject.name%3D{long}%2Creason%3DFailedCreatePodSandBox");
    let told = suite.wait(&selector, "told", |list| list["items"].as_array().is_some_and(|all| !all.is_empty())).await;
    let message = told["items"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("Failed to create pod sandbox: failed to construct FQDN"), "{message}");
    assert_eq!(suite.get(&format!("pods/{long}")).await.expect(200)["status"]["phase"], "Pending");
}

/// Variables that an init container leaves in a file, in its own words.
#[tokio::test]
async fn variables_from_a_file() {
    let suite = Suite::start("envfile").await;
    let mut asked = pod("env-file", "echo \"$A;$B;$C;\"");
    let file = |name: &str, key: &str, optional: bool| {
        let reference = json!({"volumeName": "config", "path": "a/b.env", "key": key, "optional": optional});
        json!({"name": name, "valueFrom": {"fileKeyRef": reference}})
    };
    asked["spec"]["volumes"] = json!([{"name": "config", "emptyDir": {}}]);
    let write = "mkdir /data/a; printf \"# mine\\nA='x y'\\nB='\\$A'\\n\" > /data/a/b.env";
    asked["spec"]["initContainers"] = json!([{
        "name": "write", "image": BUSYBOX, "command": ["sh", "-c", write],
        "volumeMounts": [{"name": "config", "mountPath": "/data"}],
    }]);
    container(&mut asked)["env"] = json!([file("A", "A", false), file("B", "B", false), file("C", "C", true)]);
    check_output(&suite, &asked, &["x y;$A;;"]).await;
    asked["metadata"]["name"] = json!("env-file-missing");
    container(&mut asked)["env"] = json!([file("C", "C", false)]);
    suite.create("pods", &asked).await.expect(201);
    let waiting = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let pod = suite
        .wait("pods/env-file-missing", "waiting", |pod| waiting(pod)["reason"] == "CreateContainerConfigError")
        .await;
    let message = "environment variable key \"C\" not found in file \"a/b.env\"";
    assert_eq!(waiting(&pod)["message"], message, "{pod}");
}

/// Pod Level Resources: quality and requests follow from the pod's own, and its containers are held to them together.
#[tokio::test]
async fn resources_of_the_pod_as_a_whole() {
    let suite = Suite::start("pod-level-resources").await;
    let whole = json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}});
    // Each of the two stays below the limit, both together do not.
    let fill = "head -c 48000000 /dev/zero | tail -c 48000000 | sleep 5";
    let mut asked = pod("two", &format!("{fill}; sleep 1"));
    asked["spec"]["resources"] = whole.clone();
    asked["spec"]["containers"].as_array_mut().unwrap().push(json!({
        "name": "other", "image": BUSYBOX, "command": ["sh", "-c", fill],
    }));
    let made = suite.create("pods", &asked).await.expect(201);
    assert_eq!((&made["status"]["qosClass"], &made["spec"]["resources"]), (&json!("Burstable"), &whole), "{made}");
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let ended = suite
        .wait("pods/two", "killed or refused", |pod| {
            pod["status"]["containerStatuses"].as_array().is_some_and(|all| {
                all.iter().any(|one| {
                    one["state"]["terminated"]["reason"] == "OOMKilled"
                        || one["state"]["waiting"]["reason"] == "CreateContainerConfigError"
                        || one["state"]["running"].is_object()
                })
            })
        })
        .await;
    let group = format!("/sys/fs/cgroup/memory/jobd/{}/{uid}.pod/memory.limit_in_bytes", suite.daemon.instance());
    if suite.daemon.log().contains("no cgroup tells") {
        assert!(ended.to_string().contains("limits of the pod as a whole"), "{ended}");
    } else if std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        assert_eq!(std::fs::read_to_string(group).unwrap().trim(), "67108864");
    }
    suite.delete("pods/two", &json!({"gracePeriodSeconds": 0})).await.expect(200);
    suite.wait_gone("pods/two").await;

    let mut alone = pod("alone", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max");
    alone["spec"]["resources"] = json!({"limits": {"memory": "64Mi"}});
    let (ended, log) = run(&suite, &alone).await;
    assert!(log.lines().any(|line| line == "67108864"), "{log}{ended}");
    assert_eq!(ended["spec"]["resources"]["requests"]["memory"], "64Mi");
}

/// Container Restart Rules: one container's own policy and rules in a pod that is never restarted; all of them anew (J-2501).
#[tokio::test]
async fn containers_restart_by_their_own_rules() {
    let suite = Suite::start("container-restarts").await;
    let rule = |action: &str| json!([{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]);
    let once = |then: &str| format!("if [ -e /data/ran ]; then {then}; fi; touch /data/ran; exit 42");
    let ruled = |name: &str, action: &str| {
        let mut pod = pod(name, &once("exit 0"));
        pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
        let main = container(&mut pod);
        main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        main["restartPolicy"] = json!("Never");
        main["restartPolicyRules"] = rule(action);
        pod
    };
    let (ended, _) = run(&suite, &ruled("one", "Restart")).await;
    let status = &ended["status"];
    assert_eq!((&status["phase"], &status["containerStatuses"][0]["restartCount"]), (&json!("Succeeded"), &json!(1)));
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 42);

    let mut all = ruled("all", "RestartAllContainers");
    let inits = "echo init >> /data/log";
    let mount = json!([{"name": "data", "mountPath": "/data"}]);
    all["spec"]["initContainers"] =
        json!([{"name": "init", "image": BUSYBOX, "command": ["sh", "-c", inits], "volumeMounts": mount}]);
    // The other one runs by then.
    let script = once("cat /data/log; exit 0").replace("exit 42", "sleep 3; exit 42");
    container(&mut all)["command"] = json!(["sh", "-c", script]);
    all["spec"]["containers"].as_array_mut().unwrap().push(json!({
        "name": "other", "image": BUSYBOX, "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 8 & wait"],
    }));
    let (ended, log) = run(&suite, &all).await;
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended}");
    assert_eq!(log, "init\ninit\n", "{ended}");
    for status in ended["status"]["containerStatuses"].as_array().unwrap() {
        assert_eq!(status["restartCount"], 1, "{status}");
        assert_eq!(status["lastState"]["terminated"]["reason"], "RestartingAllContainers", "{status}");
    }
}

/// Init containers of pods that are always restarted; of one that fails for ever nothing starts after it (J-2530, J-2531).
#[tokio::test]
async fn init_containers_in_a_restarted_pod() {
    let suite = Suite::start("init-container").await;
    let inits = |first: &str| {
        json!([
            {"name": "init1", "image": BUSYBOX, "command": [first]},
            {"name": "init2", "image": BUSYBOX, "command": ["/bin/true"]},
        ])
    };
    let mut well = sleeper("well");
    well["spec"]["restartPolicy"] = json!("Always");
    well["spec"]["initContainers"] = inits("/bin/true");
    suite.create("pods", &well).await.expect(201);
    let running = suite.wait_phase("well", "Running").await;
    assert!(has_condition(&running, "Initialized"), "{running}");
    for status in running["status"]["initContainerStatuses"].as_array().unwrap() {
        assert!(status["ready"] == true && status["state"]["terminated"]["exitCode"] == 0, "{status}");
    }
    let mut ill = sleeper("ill");
    ill["spec"]["restartPolicy"] = json!("Always");
    ill["spec"]["initContainers"] = inits("/bin/false");
    suite.create("pods", &ill).await.expect(201);
    let seen = suite
        .wait("pods/ill", "tried again", |pod| {
            pod["status"]["initContainerStatuses"][0]["restartCount"].as_i64().is_some_and(|count| count >= 2)
        })
        .await;
    let status = &seen["status"];
    assert_eq!(status["phase"], "Pending", "{seen}");
    assert!(status["initContainerStatuses"][1]["state"]["waiting"]["reason"] == "PodInitializing", "{seen}");
    assert!(status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing", "{seen}");
    let initialized = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Initialized").unwrap();
    assert_eq!(initialized["reason"], "ContainersNotInitialized");
    assert_eq!(initialized["message"], "containers with incomplete status: [init1 init2]");
}
