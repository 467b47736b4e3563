//! The everyday life of a job, as the README shows it, and what changes objects.

use crate::{HELLO, each, words};

#[tokio::test]
async fn apply_wait_get_describe_logs_and_delete_work_as_on_a_cluster() {
    each(async |shell| {
        assert_eq!(shell.apply(HELLO).await, "job.batch/hello created\n");
        assert_eq!(shell.apply(HELLO).await, "job.batch/hello unchanged\n");
        assert_eq!(
            shell.run("wait --for=condition=complete job/hello --timeout=60s").await,
            "job.batch/hello condition met\n"
        );
        let table = shell.run("get jobs").await;
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(words(lines[0]), ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]);
        assert_eq!(words(lines[1])[..3], ["hello", "Complete", "1/1"]);
        let wide = shell.run("get jobs -o wide").await;
        assert_eq!(words(wide.lines().next().unwrap())[5..], ["CONTAINERS", "IMAGES", "SELECTOR"]);
        let pods = shell.run("get pods -l job-name=hello").await;
        let lines: Vec<_> = pods.lines().collect();
        assert_eq!(words(lines[0]), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
        assert_eq!(words(lines[1])[1..4], ["0/1", "Completed", "0"]);
        assert_eq!(shell.run("logs job/hello").await, "hello\n");
        let described = shell.run("describe job hello").await;
        for text in [
            "Pods Statuses:    0 Active (0 Ready) / 1 Succeeded / 0 Failed",
            "SuccessfulCreate",
            "Completed",
            "job-controller",
        ] {
            assert!(described.contains(text), "{}: {text} is missing in\n{described}", shell.name);
        }
        let pod = words(lines[1])[0].to_owned();
        let described = shell.run(&format!("describe pod {pod}")).await;
        for text in ["Job/hello", "Exit Code:    0", "Scheduled", "Started"] {
            assert!(described.contains(text), "{}: {text} is missing in\n{described}", shell.name);
        }
        let yaml = shell.run("get job hello -o yaml").await;
        assert!(yaml.contains("kind: Job") && yaml.contains("type: Complete"), "{yaml}");
        assert_eq!(shell.run("get job hello -o jsonpath={.status.succeeded}").await, "1");
        assert_eq!(shell.run("delete job hello").await, "job.batch \"hello\" deleted\n");
        assert_eq!(
            shell.raw(&["get", "job", "hello"], "").await.stderr,
            "Error from server (NotFound): jobs.batch \"hello\" not found\n"
        );
    })
    .await;
}

#[tokio::test]
async fn changing_commands_change_and_say_what_kubectl_says() {
    each(async |shell| {
        let manifest = HELLO.replace("spec:\n  template", "spec:\n  suspend: true\n  template");
        shell.apply(&manifest).await;
        let changed = manifest.replace("suspend: true", "suspend: true\n  backoffLimit: 2");
        let diff = shell.raw(&["diff", "-f", "-"], &changed).await;
        assert_eq!(diff.code, 1, "diff finds a difference: {}{}", diff.stdout, diff.stderr);
        assert!(diff.stdout.contains("+  backoffLimit: 2"), "{}", diff.stdout);
        assert_eq!(shell.apply(&changed).await, "job.batch/hello configured\n");
        assert_eq!(shell.run("get job hello -o jsonpath={.spec.backoffLimit}").await, "2");
        assert_eq!(shell.run("label job hello team=blue").await, "job.batch/hello labeled\n");
        // kubectl 1.27 says `annotate`.
        assert!(shell.run("annotate job hello note=x").await.starts_with("job.batch/hello annotate"));
        assert_eq!(shell.run("get jobs -l team=blue -o name").await, "job.batch/hello\n");
        let patch = r#"patch job hello -p {"spec":{"parallelism":3}}"#;
        assert_eq!(shell.run(patch).await, "job.batch/hello patched\n");
        assert_eq!(shell.run(patch).await, "job.batch/hello patched (no change)\n");
        let merge = r#"patch job hello --type=merge -p {"metadata":{"labels":{"team":null}}}"#;
        shell.run(merge).await;
        assert_eq!(shell.run("get job hello -o jsonpath={.metadata.labels.team}").await, "");
        let json = r#"patch job hello --type=json -p [{"op":"replace","path":"/spec/backoffLimit","value":7}]"#;
        shell.run(json).await;
        assert_eq!(shell.run("get job hello -o jsonpath={.spec.backoffLimit}/{.spec.parallelism}").await, "7/3");
        let immutable = changed.replace("echo hello", "echo other");
        let refused = shell.raw(&["apply", "-f", "-"], &immutable.replace("name: main", "name: other")).await;
        assert!(refused.stderr.contains("field is immutable"), "{}", refused.stderr);
        let dry =
            shell.raw(&["apply", "--dry-run=server", "-f", "-"], &HELLO.replace("name: hello", "name: dry")).await;
        assert_eq!(dry.stdout, "job.batch/dry created (server dry run)\n", "{}", dry.stderr);
        assert_eq!(shell.raw(&["get", "job", "dry"], "").await.code, 1);
        let typo = shell.raw(&["apply", "-f", "-"], &HELLO.replace("template:", "bogus: 1\n  template:")).await;
        assert!(typo.stderr.contains("unknown field \"spec.bogus\""), "{}", typo.stderr);
        let explained = shell.run("explain job.spec.parallelism").await;
        assert!(explained.contains("parallelism"), "{explained}");
        shell.run("delete jobs --all --cascade=foreground").await;
        assert_eq!(shell.raw(&["get", "jobs"], "").await.stderr, "No resources found in default namespace.\n");
    })
    .await;
}

/// W-22: newer kubectl sends protobuf for these.
#[tokio::test]
async fn generators_create_every_kind() {
    each(async |shell| {
        for (command, answer) in [
            ("create namespace team", "namespace/team created\n"),
            ("create configmap settings --from-literal=a=b -n team", "configmap/settings created\n"),
            ("create secret generic password --from-literal=word=sesame -n team", "secret/password created\n"),
            ("create serviceaccount robot -n team", "serviceaccount/robot created\n"),
            ("create job once --image=busybox:1.36 -n team -- echo once", "job.batch/once created\n"),
        ] {
            assert_eq!(shell.run(command).await, answer, "{}", shell.name);
        }
        assert_eq!(shell.run("get configmap settings -n team -o jsonpath={.data.a}").await, "b");
        assert_eq!(shell.run("get secret password -n team -o jsonpath={.data.word}").await, "c2VzYW1l");
        shell.run("wait --for=condition=complete job/once -n team --timeout=60s").await;
        assert_eq!(shell.run("logs job/once -n team").await, "once\n");
        let namespaces = shell.run("get namespaces").await;
        assert!(namespaces.lines().any(|line| words(line)[..2] == ["team", "Active"]), "{namespaces}");
        let nodes = shell.run("get nodes").await;
        assert_eq!(words(nodes.lines().nth(1).unwrap())[1], "Ready", "{nodes}");
        shell.run("delete namespace team").await;
        assert_eq!(shell.raw(&["get", "namespace", "team"], "").await.code, 1);
        assert_eq!(shell.run("get jobs -A -o name").await, "");
    })
    .await;
}
