//! `describe` of every kind: it reads several resources at once and prints nearly every field.

use crate::{HELLO, each, words};

#[tokio::test]
async fn every_kind_is_described() {
    each(async |shell| {
        for command in [
            "create configmap settings --from-literal=greeting=hello",
            "create secret generic password --from-literal=word=sesame",
            "create cronjob nightly --image=busybox:1.36 --schedule=@daily -- true",
            "create serviceaccount robot",
        ] {
            shell.run(command).await;
        }
        let mounts = "          env:
            - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {memory: 32Mi}}
          volumeMounts: [{name: settings, mountPath: /settings}]
      volumes: [{name: settings, configMap: {name: settings}}]
";
        shell.apply(&format!("{HELLO}{mounts}")).await;
        shell.run("wait --for=condition=complete job/hello --timeout=60s").await;
        for (command, texts) in [
            (
                "describe job hello",
                &[
                    "Pods Statuses: 0 Active (0 Ready) / 1 Succeeded / 0 Failed",
                    "Completion Mode: NonIndexed",
                    "WORD:",
                    "SuccessfulCreate",
                    "Completed",
                    "job-controller",
                ][..],
            ),
            (
                "describe pods -l job-name=hello",
                &[
                    "Controlled By:",
                    "Job/hello",
                    "Status: Succeeded",
                    "Exit Code: 0",
                    "memory: 32Mi",
                    "<set to the key 'word' in secret 'password'>",
                    "(v1:metadata.name)",
                    "/settings from settings (rw)",
                    "Type: ConfigMap (a volume populated by a ConfigMap)",
                    "QoS Class:",
                    "Burstable",
                    "Scheduled",
                    "Started",
                ][..],
            ),
            ("describe cronjob nightly", &["Schedule: @daily", "Concurrency Policy: Allow"][..]),
            ("describe configmap settings", &["greeting: ---- hello"][..]),
            ("describe secret password", &["Type: Opaque", "word: 6 bytes"][..]),
            ("describe serviceaccount robot", &["Name: robot"][..]),
            ("describe namespace default", &["kubernetes.io/metadata.name=default", "Status: Active"][..]),
            (
                "describe node",
                &[
                    "Unschedulable: false",
                    "KubeletReady",
                    "kubernetes.io/os=linux",
                    "Capacity:",
                    "docker://",
                    "pods: 110",
                ][..],
            ),
            ("describe jobs,cronjobs", &["nightly", "hello"][..]),
        ] {
            // Versions align their columns differently.
            let printed = words(&shell.run(command).await).join(" ");
            for text in texts {
                assert!(printed.contains(text), "{} {command}: {text:?} is missing in\n{printed}", shell.name);
            }
            assert!(!printed.contains("sesame"), "{} {command} shows a secret", shell.name);
        }
        shell.check_has("events --for job/hello", &["SuccessfulCreate", "Completed"]).await;
        let complaint = shell.refused("describe job none").await;
        assert_eq!(complaint, "Error from server (NotFound): jobs.batch \"none\" not found\n");
    })
    .await;
}
