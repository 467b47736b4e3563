//! What Kubernetes refuses in a pod spec, and what this version does not run: tables of a change and its answer.

use serde_json::{Value, json};

use crate::kind::written::{create, created, merge};

/// A pod that is legal, with `spec` merged in.
fn pod(spec: Value) -> Value {
    let base = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    });
    merge(base, &json!({"spec": spec}))
}

/// The same with the container changed.
fn container(change: Value) -> Value {
    pod(json!({"containers": [merge(json!({"name": "main", "image": "busybox"}), &change)]}))
}

/// Causes are `spec` + each of `want`; `want` ending in `…` compares only the beginning.
#[track_caller]
fn check_at(at: &str, body: &Value, want: &[&str]) {
    let got = create(body).err().unwrap_or_default();
    let fits = got.len() == want.len()
        && got.iter().zip(want).all(|(got, want)| {
            let want = format!("{at}{want}");
            want.strip_suffix('…').map_or_else(|| *got == want, |want| got.starts_with(want))
        });
    assert!(fits, "{body}: {got:#?}");
}

#[track_caller]
fn check(spec: Value, want: &[&str]) {
    check_at("spec", &pod(spec), want);
}

#[track_caller]
fn check_container(change: Value, want: &[&str]) {
    check_at("spec.containers[0]", &container(change), want);
}

#[test]
fn fills_what_is_absent_j_2401_to_j_2413() {
    let stored = created(&pod(json!({"restartPolicy": null})))["spec"].clone();
    for (field, want) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
        ("tolerations", Value::Null),
    ] {
        assert_eq!(stored[field], want, "{field}");
    }
    assert_eq!(
        stored["containers"],
        json!([{
            "name": "main", "image": "busybox", "imagePullPolicy": "Always", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }])
    );
    let full = created(&merge(
        container(json!({
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        })),
        &json!({"spec": {
            "serviceAccount": "robot", "hostNetwork": true, "priorityClassName": "system-node-critical",
            "volumes": [
                {"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "m"}},
                {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "e", "projected": {"sources": []}}, {"name": "f", "hostPath": {"path": "/x"}},
            ],
        }}),
    ))["spec"]
        .clone();
    let main = &full["containers"][0];
    assert_eq!(main["ports"], json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]), "J-2408");
    assert_eq!(main["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}), "J-2414");
    assert_eq!(main["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1", "J-2411");
    assert_eq!(full["serviceAccountName"], "robot", "J-2412");
    assert_eq!(full["priority"], 2_000_001_000);
    assert_eq!(
        full["volumes"],
        json!([
            {"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
            {"name": "c", "configMap": {"name": "m", "defaultMode": 420}},
            {"name": "d", "downwardAPI": {"defaultMode": 420, "items": [
                {"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}},
            ]}},
            {"name": "e", "projected": {"defaultMode": 420, "sources": []}}, {"name": "f", "hostPath": {"path": "/x", "type": ""}},
        ]),
        "J-2410"
    );
}

#[test]
fn containers_j_450_j_454() {
    check(json!({"containers": []}), &[".containers: Required value"]);
    check_container(json!({"name": "", "image": ""}), &[".name: Required value", ".image: Required value"]);
    check_container(json!({"name": "A_b"}), &[".name: Invalid value: \"A_b\": a lowercase RFC 1123 label…"]);
    check_container(json!({"name": "a.b"}), &[".name: Invalid value: \"a.b\": must not contain dots"]);
    check_container(
        json!({"image": " a"}),
        &[".image: Invalid value: \" a\": must not have leading or trailing whitespace"],
    );
    check(
        json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
        &[".containers[1].name: Duplicate value: \"a\""],
    );
    check_container(
        json!({"imagePullPolicy": "Often", "terminationMessagePolicy": "Log"}),
        &[
            ".terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"FallbackToLogsOnError\", \"File\"",
            ".imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    );
    // J-452
    let probe = json!({"exec": {"command": ["true"]}});
    let init = json!({"initContainers": [
        {"name": "main", "image": "i", "livenessProbe": probe, "readinessProbe": probe, "startupProbe": probe, "lifecycle": {}},
    ]});
    let got = create(&pod(init)).unwrap_err();
    const DETAIL: &str = "Forbidden: may not be set for init containers without restartPolicy=Always";
    let want = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
    assert_eq!(got[0], "spec.initContainers[0].name: Duplicate value: \"main\"");
    for (got, field) in got[1..5].iter().zip(want) {
        assert_eq!(*got, format!("spec.initContainers[0].{field}: {DETAIL}"));
    }
}

#[test]
fn ports() {
    let ports =
        |ports: Value, want: &[&str]| check_at("spec.containers[0].ports", &container(json!({"ports": ports})), want);
    ports(json!([{"containerPort": 0}]), &["[0].containerPort: Required value"]);
    ports(
        json!([{"containerPort": 65536}]),
        &["[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
    );
    ports(
        json!([{"containerPort": 1, "protocol": "ICMP"}]),
        &["[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
    );
    ports(
        json!([{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
        &["[1].name: Duplicate value: \"a\""],
    );
    ports(
        json!([{"containerPort": 1, "name": "1--"}]),
        &[
            "[0].name: Invalid value: \"1--\": must contain at least one letter (a-z)",
            "[0].name: Invalid value: \"1--\": must not contain consecutive hyphens",
            "[0].name: Invalid value: \"1--\": must not begin or end with a hyphen",
        ],
    );
    ports(
        json!([{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]),
        &["[1].hostPort: Duplicate value: \"TCP//80\""],
    );
    let host = merge(
        container(json!({"ports": [{"containerPort": 1, "hostPort": 2}]})),
        &json!({"spec": {"hostNetwork": true}}),
    );
    check_at(
        "spec.containers[0].ports[0]",
        &host,
        &[".hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true"],
    );
}

#[test]
fn environment() {
    let env = |variable: Value, want: &[&str]| {
        check_at("spec.containers[0].env[0]", &container(json!({"env": [variable]})), want)
    };
    env(json!({"name": ""}), &[".name: Required value"]);
    env(json!({"name": "a.b-c d"}), &[]);
    env(
        json!({"name": "a=b"}),
        &[
            ".name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ],
    );
    let from = |source: Value, want: &[&str]| {
        check_at(
            "spec.containers[0].env[0].valueFrom",
            &container(json!({"env": [{"name": "A", "valueFrom": source}]})),
            want,
        );
    };
    from(
        json!({}),
        &[
            ": Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ],
    );
    from(
        json!({"secretKeyRef": {"name": "a", "key": "b"}, "fieldRef": {"fieldPath": "metadata.uid"}}),
        &[": Invalid value: \"\": may not have more than one field specified at a time"],
    );
    env(
        json!({"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        &[".valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
    );
    from(
        json!({"configMapKeyRef": {"name": "", "key": ""}}),
        &[".configMapKeyRef.name: Required value", ".configMapKeyRef.key: Required value"],
    );
    from(
        json!({"secretKeyRef": {"name": "a", "key": "a/b"}}),
        &[".secretKeyRef.key: Invalid value: \"a/b\": a valid config key…"],
    );
    let field = |path: &str, want: &[&str]| from(json!({"fieldRef": {"fieldPath": path}}), want);
    field("metadata.labels['batch.kubernetes.io/job-completion-index']", &[]);
    field("spec.host", &[]);
    field("", &[".fieldRef.fieldPath: Required value"]);
    field(
        "spec.foo",
        &[
            ".fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: field label not supported: spec.foo",
        ],
    );
    field(
        "status.phase",
        &[".fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", …"],
    );
    field("metadata.labels", &[".fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: …"]);
    field(
        "metadata.name['a']",
        &[
            ".fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error converting fieldPath: field label does not support subscript: metadata.name['a']",
        ],
    );
    from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}), &[]);
    from(
        json!({"resourceFieldRef": {"resource": "limits.gpu"}}),
        &[
            ".resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
        ],
    );
    from(
        json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}),
        &[
            ".resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
        ],
    );
    let env_from = |source: Value, want: &[&str]| {
        check_at("spec.containers[0].envFrom", &container(json!({"envFrom": [source]})), want)
    };
    env_from(json!({"configMapRef": {"name": "a"}, "prefix": "X_"}), &[]);
    env_from(json!({"secretRef": {}}), &["[0].secretRef.name: Required value"]);
    env_from(json!({}), &[": Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"]);
}

#[test]
fn volumes_and_mounts() {
    let volumes = |volumes: Value, want: &[&str]| check(json!({"volumes": volumes}), want);
    volumes(json!([{"name": ""}]), &[".volumes[0].name: Required value"]);
    volumes(json!([{"name": "a"}, {"name": "a"}]), &[".volumes[1].name: Duplicate value: \"a\""]);
    volumes(
        json!([{"name": "a", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        &[".volumes[0].secret: Forbidden: may not specify more than 1 volume type"],
    );
    volumes(json!([{"name": "a", "hostPath": {"path": ""}}]), &[".volumes[0].hostPath.path: Required value"]);
    volumes(
        json!([{"name": "a", "hostPath": {"path": "/a/../b", "type": "Disk"}}]),
        &[
            ".volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            ".volumes[0].hostPath.type: Unsupported value: \"Disk\": supported values: \"\", \"BlockDevice\"…",
        ],
    );
    volumes(json!([{"name": "a", "secret": {}}]), &[".volumes[0].secret.secretName: Required value"]);
    volumes(
        json!([{"name": "a", "configMap": {"name": "", "defaultMode": 512, "items": [{"key": "", "path": ""}, {"key": "k", "path": "/a"}, {"key": "k", "path": "..a"}]}}]),
        &[
            ".volumes[0].configMap.name: Required value",
            ".volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            ".volumes[0].configMap.items[0].key: Required value",
            ".volumes[0].configMap.items[0].path: Required value",
            ".volumes[0].configMap.items[1].path: Invalid value: \"/a\": must be a relative path",
            ".volumes[0].configMap.items[2].path: Invalid value: \"..a\": must not start with '..'",
        ],
    );
    volumes(
        json!([{"name": "a", "downwardAPI": {"items": [{"path": "p"}]}}]),
        &[".volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
    );
    volumes(
        json!([{"name": "a", "emptyDir": {"sizeLimit": "-1"}}]),
        &[".volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
    );
    let mounts = |mounts: Value, want: &[&str]| {
        let body = merge(container(json!({"volumeMounts": mounts})), &json!({"spec": {"volumes": [{"name": "a"}]}}));
        check_at("spec.containers[0].volumeMounts", &body, want);
    };
    mounts(json!([{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/b", "subPath": "x"}]), &[]);
    mounts(json!([{"name": "b", "mountPath": "/a"}]), &["[0].name: Not found: \"b\""]);
    mounts(json!([{"name": "a", "mountPath": ""}]), &["[0].mountPath: Required value"]);
    mounts(
        json!([{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/a"}]),
        &["[1].mountPath: Invalid value: \"/a\": must be unique"],
    );
    mounts(
        json!([{"name": "a", "mountPath": "/a", "subPath": "/x", "subPathExpr": "../y"}]),
        &[
            "[0].subPath: Invalid value: \"/x\": must be a relative path",
            "[0].subPathExpr: Invalid value: \"../y\": subPathExpr and subPath are mutually exclusive",
            "[0].subPathExpr: Invalid value: \"../y\": must not contain '..'",
        ],
    );
}

#[test]
fn resources() {
    let resources = |value: Value, want: &[&str]| {
        check_at("spec.containers[0].resources", &container(json!({"resources": value})), want)
    };
    resources(json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "500m"}}), &[]);
    resources(
        json!({"limits": {"memory": "100Mi"}, "requests": {"memory": "200Mi"}}),
        &[".requests: Invalid value: \"200Mi\": must be less than or equal to memory limit of 100Mi"],
    );
    resources(
        json!({"requests": {"cpu": "-1"}}),
        &[".requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    resources(
        json!({"requests": {"gpu": "1"}}),
        &[
            ".requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            ".requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
        ],
    );
}

#[test]
fn security_contexts() {
    check(
        json!({"securityContext": {"runAsUser": -1, "supplementalGroups": [1, -2], "seccompProfile": {"type": "Localhost"}}}),
        &[
            ".securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ".securityContext.supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, inclusive",
            ".securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ],
    );
    check(
        json!({"hostNetwork": true, "securityContext": {"sysctls": [
            {"name": "net.core.somaxconn", "value": "1"}, {"name": "a b", "value": "1"}, {"name": "", "value": ""},
        ]}}),
        &[
            ".securityContext.sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not be specified when 'hostNetwork' is true",
            ".securityContext.sysctls[1].name: Invalid value: \"a b\": must have at most 253 characters and match regex…",
            ".securityContext.sysctls[2].name: Required value",
        ],
    );
    check_container(
        json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
        &[".securityContext: Invalid value: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"],
    );
}

#[test]
fn where_and_when_pods_run() {
    check(
        json!({"tolerations": [
            {"operator": "Exists"}, {"key": "a", "operator": "Is"}, {"operator": "Equal"}, {"key": "a", "tolerationSeconds": 1},
            {"key": "a", "operator": "Exists", "value": "b"},
        ]}),
        &[
            ".tolerations[1].operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\"",
            ".tolerations[2].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ".tolerations[3].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
            ".tolerations[4].operator: Invalid value: value must be empty when `operator` is 'Exists'",
        ],
    );
    check(
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}),
        &[
            ".affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ],
    );
    check(
        json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 0, "podAffinityTerm": {"topologyKey": ""}},
        ]}}}),
        &[
            ".affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            ".affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty",
        ],
    );
    check(
        json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "No"}]}),
        &[
            ".topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0",
            ".topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            ".topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"No\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
        ],
    );
    check(
        json!({"nodeSelector": {"a": "b c"}, "schedulingGates": [{"name": "g"}, {"name": "g"}]}),
        &[".nodeSelector: Invalid value: \"b c\": a valid label…", ".schedulingGates[1]: Duplicate value: \"g\""],
    );
    check(
        json!({"nodeName": "n", "schedulingGates": [{"name": "g"}]}),
        &[".nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    );
}

#[test]
fn the_rest_of_the_spec_j_451_j_453_j_454() {
    check(
        json!({"activeDeadlineSeconds": 0}),
        &[".activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
    check(
        json!({"dnsPolicy": "Mine"}),
        &[
            ".dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirst\", \"ClusterFirstWithHostNet\", \"Default\", \"None\"",
        ],
    );
    check(
        json!({"dnsPolicy": "None"}),
        &[".dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    check(
        json!({"dnsConfig": {"nameservers": ["x"], "searches": ["a_b.c."], "options": [{}]}}),
        &[
            ".dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ".dnsConfig.options[0]: Required value: must not be empty",
        ],
    );
    check(
        json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}], "hostname": "a.b", "serviceAccountName": "A"}),
        &[
            ".serviceAccountName: Invalid value: \"A\": a lowercase RFC 1123 subdomain…",
            ".hostname: Invalid value: \"a.b\": must not contain dots",
            ".hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address…",
        ],
    );
    check(
        json!({"ephemeralContainers": [{"name": "e", "image": "i"}]}),
        &[".ephemeralContainers: Forbidden: cannot be set on create"],
    );
}

/// J-2409, J-2550
#[test]
fn hooks_that_sleep_end_within_the_grace_period() {
    let sleeps = |seconds: i64| {
        let hook = json!({"sleep": {"seconds": seconds}});
        merge(
            container(json!({"lifecycle": {"preStop": hook}})),
            &json!({"spec": {"terminationGracePeriodSeconds": 5}}),
        )
    };
    let detail = "must be non-negative and less than terminationGracePeriodSeconds (5)";
    for (seconds, refused) in [(-1, true), (0, false), (5, false), (6, true)] {
        let want = format!("spec.containers[0].lifecycle.preStop.sleep: Invalid value: {seconds}: {detail}");
        let want = if refused { vec![want] } else { Vec::new() };
        assert_eq!(create(&sleeps(seconds)).err().unwrap_or_default(), want, "{seconds}");
    }
}

/// Everything that the node does not run is refused by its path, in pods and in templates; what it runs is not.
#[test]
fn refuses_what_is_not_run_i_8() {
    let in_container =
        |change: Value| merge(container(change), &json!({"spec": {"volumes": [{"name": "v"}]}}))["spec"].clone();
    let mount = |change: Value| {
        in_container(
            json!({"volumeMounts": [merge(json!({"name": "v", "mountPath": "/v"}), &change)], "securityContext": {"privileged": true}}),
        )
    };
    let volume = |source: Value| json!({"volumes": [merge(json!({"name": "v"}), &source)]});
    for (spec, path) in [
        (json!({"runtimeClassName": "gvisor"}), "runtimeClassName"),
        (json!({"overhead": {"cpu": "1"}}), "overhead"),
        (json!({"resourceClaims": [{"name": "a", "resourceClaimName": "b"}]}), "resourceClaims"),
        (json!({"hostUsers": false}), "hostUsers"),
        (json!({"securityContext": {"seLinuxOptions": {"level": "s0"}}}), "securityContext.seLinuxOptions"),
        (json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}), "securityContext.appArmorProfile"),
        (
            json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}),
            "securityContext.supplementalGroupsPolicy",
        ),
        (json!({"securityContext": {"windowsOptions": {}}}), "securityContext.windowsOptions"),
        (in_container(json!({"volumeDevices": [{"name": "v", "devicePath": "/d"}]})), "containers[0].volumeDevices"),
        (in_container(json!({"resources": {"claims": [{"name": "a"}]}})), "containers[0].resources.claims"),
        (
            in_container(json!({"securityContext": {"procMount": "Unmasked"}})),
            "containers[0].securityContext.procMount",
        ),
        (
            mount(json!({"readOnly": true, "recursiveReadOnly": "Enabled"})),
            "containers[0].volumeMounts[0].recursiveReadOnly",
        ),
        (volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), "volumes[0].persistentVolumeClaim"),
        (volume(json!({"nfs": {"server": "s", "path": "/"}})), "volumes[0].nfs"),
        (volume(json!({"csi": {"driver": "d"}})), "volumes[0].csi"),
        (volume(json!({"ephemeral": {}})), "volumes[0].ephemeral"),
        (volume(json!({"image": {"reference": "r"}})), "volumes[0].image"),
        (volume(json!({"emptyDir": {"medium": "HugePages"}})), "volumes[0].emptyDir.medium"),
        (
            volume(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})),
            "volumes[0].projected.sources[0].serviceAccountToken",
        ),
    ] {
        let want = format!("{path}: Forbidden: not run by this version of jobd");
        check_at("spec.", &pod(spec.clone()), &[&want]);
        let template = merge(json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}), &spec);
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": template}},
        });
        check_at("spec.template.spec.", &job, &[&want]);
    }
    let gpu = container(json!({"resources": {"limits": {"nvidia.com/gpu": "1"}}}));
    const GPU: &str = "[nvidia.com/gpu]: Forbidden: not run by this version of jobd";
    check_at("spec.containers[0].resources.", &gpu, &[&format!("limits{GPU}"), &format!("requests{GPU}")]);
}

/// A container's own restart policy, and rules by exit codes (J-2501).
#[test]
fn restart_rules_j_2501() {
    let rules = |policy: Value, rules: Value, want: &[&str]| {
        check_at(
            "spec.containers[0].restartPolicy",
            &container(json!({"restartPolicy": policy, "restartPolicyRules": rules})),
            want,
        );
    };
    let rule = |action: &str, operator: &str, values: Value| json!([{"action": action, "exitCodes": {"operator": operator, "values": values}}]);
    rules(json!("Always"), json!([]), &[]);
    rules(json!("Never"), rule("Restart", "In", json!([3])), &[]);
    rules(json!("Never"), rule("RestartAllContainers", "NotIn", json!([])), &[]);
    rules(
        json!("Sometimes"),
        json!([]),
        &[": Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""],
    );
    rules(
        Value::Null,
        rule("Restart", "In", json!([3])),
        &[": Required value: must specify restartPolicy when restart rules are used"],
    );
    rules(
        json!("Never"),
        rule("Stop", "Equals", json!([3])),
        &[
            "Rules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
            "Rules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
        ],
    );
    rules(json!("Never"), json!([{"action": "Restart"}]), &["Rules[0].exitCodes: Required value: must be specified"]);
    rules(
        json!("Never"),
        Value::Array(vec![rule("Restart", "In", json!([3]))[0].clone(); 21]),
        &["Rules: Too many: 21: must have at most 20 items"],
    );
}

#[test]
fn resources_of_the_pod_as_a_whole() {
    let resources = |containers: Value, resources: Value, want: &[&str]| {
        let body = pod(
            json!({"containers": [{"name": "main", "image": "i", "resources": containers}], "resources": resources}),
        );
        check_at("spec.resources", &body, want);
    };
    resources(json!({}), json!({"limits": {"cpu": "1", "memory": "64Mi"}}), &[]);
    resources(
        json!({"requests": {"cpu": "1500m"}}),
        json!({"requests": {"cpu": "1"}}),
        &[
            ".requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1500m",
        ],
    );
    resources(
        json!({"limits": {"memory": "2Gi"}, "requests": {"memory": "1Mi"}}),
        json!({"limits": {"memory": "1Gi"}}),
        &[".containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi"],
    );
    resources(
        json!({}),
        json!({"requests": {"ephemeral-storage": "1Gi"}}),
        &[
            ".requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
        ],
    );
    let created = |spec: Value| created(&pod(spec))["spec"]["resources"].clone();
    // What the containers ask for, and where they ask for nothing, all that there is.
    let main = json!({"name": "main", "image": "i", "resources": {"requests": {"cpu": "250m"}}});
    let init = json!({"name": "init", "image": "i", "resources": {"requests": {"cpu": "500m"}}});
    assert_eq!(
        created(json!({
            "containers": [main, {"name": "b", "image": "i"}], "initContainers": [init],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        })),
        json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}})
    );
    assert_eq!(created(json!({"resources": {"requests": {"cpu": "1"}}})), json!({"requests": {"cpu": "1"}}));
}

#[test]
fn files_of_variables_lie_in_the_pods_scratch_space() {
    let file = |reference: Value, want: &[&str]| {
        let body = pod(json!({
            "volumes": [{"name": "v"}, {"name": "h", "hostPath": {"path": "/h"}}],
            "containers": [{"name": "main", "image": "i", "env": [{"name": "A", "valueFrom": {"fileKeyRef": reference}}]}],
        }));
        check_at("spec.containers[0].env[0].valueFrom.fileKeyRef", &body, want);
    };
    file(json!({"volumeName": "v", "path": "a/b.env", "key": "K"}), &[]);
    file(json!({"volumeName": "x", "path": "a", "key": "K"}), &[".volumeName: Not found: \"x\""]);
    file(
        json!({"volumeName": "h", "path": "a", "key": "K"}),
        &[".volumeName: Invalid value: \"h\": referenced volume must be of type emptyDir"],
    );
    file(
        json!({"volumeName": "v", "path": "../a", "key": "A=B"}),
        &[
            ".key: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ".path: Invalid value: \"../a\": must not contain '..'",
        ],
    );
}

#[test]
fn the_host_name_as_the_pod_gives_it() {
    let names = |change: Value, want: &[&str]| check_at("spec.hostnameOverride", &pod(change), want);
    names(json!({"hostnameOverride": "a.b"}), &[]);
    names(
        json!({"hostnameOverride": "a", "setHostnameAsFQDN": true}),
        &[": Invalid value: \"a\": may not be specified when `setHostnameAsFQDN` is true"],
    );
    let long = "a".repeat(65);
    names(json!({"hostnameOverride": long}), &[": Too long: may not be more than 64 bytes"]);
}

/// The field of a feature that is off by default is dropped, not refused.
#[test]
fn a_stop_signal_is_dropped_j_307() {
    let lifecycle = |lifecycle: Value| {
        created(&container(json!({"lifecycle": lifecycle})))["spec"]["containers"][0]["lifecycle"].clone()
    };
    assert_eq!(lifecycle(json!({"stopSignal": "SIGINT"})), Value::Null);
    let hook = json!({"preStop": {"sleep": {"seconds": 1}}, "stopSignal": "SIGINT"});
    assert_eq!(lifecycle(hook), json!({"preStop": {"sleep": {"seconds": 1}}}));
}

#[test]
fn keeps_what_means_nothing_on_one_node() {
    check(
        json!({
            "schedulerName": "mine", "priorityClassName": "high", "automountServiceAccountToken": false, "hostUsers": true,
            "os": {"name": "linux"}, "setHostnameAsFQDN": false, "shareProcessNamespace": false, "enableServiceLinks": false,
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}], "imagePullSecrets": [{"name": "s"}],
            "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}, "fsGroup": 1, "fsGroupChangePolicy": "OnRootMismatch"},
            "volumes": [
                {"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"name": "b", "hostPath": {"path": "/b"}},
                {"name": "c", "projected": {"sources": [
                    {"secret": {"name": "s"}}, {"configMap": {"name": "m"}},
                    {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]}},
            ],
        }),
        &[],
    );
}
