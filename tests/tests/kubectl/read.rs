//! What only looks: tables, formats, selectors, watches, discovery, and what kubectl asks a cluster about itself.

use crate::{HELLO, each, words};

#[tokio::test]
async fn lists_come_in_every_form() {
    each(async |shell| {
        for name in ["b", "a"] {
            let labels = format!("name: {name}\n  labels: {{team: {name}}}");
            shell.apply(&HELLO.replace("name: hello", &labels).replacen("spec:", "spec:\n  suspend: true", 1)).await;
        }
        shell.apply(HELLO).await;
        shell.run("wait --for=condition=complete job/hello --timeout=60s").await;
        shell
            .check(&[
                ("get jobs -o name", "job.batch/a\njob.batch/b\njob.batch/hello\n"),
                ("get jobs -o name --chunk-size=1", "job.batch/a\njob.batch/b\njob.batch/hello\n"),
                ("get jobs -o name -l team=a", "job.batch/a\n"),
                ("get jobs -o name -l team!=a", "job.batch/b\njob.batch/hello\n"),
                ("get jobs -o name -l team", "job.batch/a\njob.batch/b\n"),
                ("get jobs -o name --field-selector=status.successful=1", "job.batch/hello\n"),
                ("get jobs -o name --field-selector=metadata.name!=a", "job.batch/b\njob.batch/hello\n"),
                ("get jobs -o jsonpath={.items[*].metadata.name}", "a b hello"),
                ("get jobs -o go-template={{.kind}}", "List"),
                ("get job a b -o jsonpath={.items[*].spec.suspend}", "true true"),
                ("get job hello --subresource=status -o jsonpath={.status.succeeded}", "1"),
                (
                    "get jobs -o custom-columns=N:.metadata.name,S:.status.succeeded --no-headers",
                    "a       <none>\nb       <none>\nhello   1\n",
                ),
            ])
            .await;
        let sorted = shell.run("get jobs --sort-by=.metadata.creationTimestamp --no-headers").await;
        assert_eq!(sorted.lines().count(), 3, "{sorted}");
        let labelled = shell.run("get jobs -L team --show-labels --no-headers").await;
        assert_eq!(words(labelled.lines().next().unwrap())[1..3], ["Suspended", "0/1"], "{labelled}");
        assert!(labelled.lines().next().unwrap().ends_with("team=a"), "{labelled}");
        for (command, columns) in [
            ("get jobs -o wide", "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR"),
            ("get pods -A -o wide", "NAMESPACE NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"),
            ("get events", "LAST SEEN TYPE REASON OBJECT MESSAGE"),
            (
                "get nodes -o wide",
                "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
            ),
            ("get namespaces", "NAME STATUS AGE"),
            ("get configmaps", "NAME DATA AGE"),
            ("get serviceaccounts", "NAME AGE"),
        ] {
            assert_eq!(shell.columns(command).await, columns, "{} {command}", shell.name);
        }
        shell.check_has("get all", &["pod/hello-", "job.batch/hello"]).await;
        shell.check_has("get job hello -o yaml", &["kind: Job", "type: Complete", "backoffLimit: 6"]).await;
        shell.check_has("get job hello -o json", &["\"kind\": \"Job\"", "\"succeeded\": 1"]).await;
        let pods = shell.run("get pods --field-selector=status.phase=Succeeded,spec.restartPolicy=Never -o name").await;
        assert_eq!(pods.lines().count(), 1, "{pods}");
        for (command, complaint) in [
            ("get job none", "Error from server (NotFound): jobs.batch \"none\" not found\n"),
            ("get jobs --field-selector=spec.foo=1", "field label \"spec.foo\" not supported for Job"),
            ("get jobs -l a==b==c", "found '==', expected"),
            ("get nonsense", "the server doesn't have a resource type \"nonsense\""),
        ] {
            let printed = shell.refused(command).await;
            assert!(printed.contains(complaint), "{} {command}: {printed}", shell.name);
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_shows_a_job_until_it_is_deleted() {
    each(async |shell| {
        let mut jobs = shell.follow("get jobs --watch");
        let mut named = shell.follow("get pods --watch-only -l job-name=hello -o name");
        let mut events = shell.follow("get jobs --watch --output-watch-events");
        shell.apply(HELLO).await;
        let lines = jobs.until(|line| words(line).get(1) == Some(&"Complete")).await;
        assert!(lines.iter().any(|line| words(line)[..2] == ["hello", "Running"]), "{}: {lines:?}", shell.name);
        named.until(|line| line.starts_with("pod/hello-")).await;
        shell.run("delete job hello").await;
        let lines = events.until(|line| words(line)[0] == "DELETED").await;
        let seen: Vec<_> = lines.iter().map(|line| words(line)[0]).collect();
        assert_eq!(seen[..2], ["EVENT", "ADDED"], "{}: {lines:?}", shell.name);
        assert!(seen.contains(&"MODIFIED"), "{}: {lines:?}", shell.name);
    })
    .await;
}

#[tokio::test]
async fn what_a_cluster_says_of_itself_is_said() {
    each(async |shell| {
        shell.check_has("version", &["v1.36.0+jobd."]).await;
        shell.check_has("api-versions", &["batch/v1\n", "v1\n", "events.k8s.io/v1\n"]).await;
        let resources = shell.run("api-resources --namespaced=true -o name").await;
        for resource in ["configmaps", "cronjobs.batch", "events", "jobs.batch", "pods", "secrets", "serviceaccounts"] {
            assert!(resources.lines().any(|line| line == resource), "{}: {resource} in\n{resources}", shell.name);
        }
        shell.check_has("api-resources", &["cj", "cm", "batch/v1"]).await;
        shell
            .check(&[
                ("auth can-i create jobs", "yes\n"),
                ("auth can-i delete pods -A", "yes\n"),
                ("config current-context", "jobd\n"),
                ("get --raw /livez", "ok"),
            ])
            .await;
        shell.check_has("auth can-i --list", &["*.*"]).await;
        shell.check_has("config view", &["server: https://127.0.0.1:", "token: REDACTED"]).await;
        shell.check_has("explain job", &["KIND:       Job", "VERSION:    v1", "spec\t<JobSpec>"]).await;
        shell.check_has("explain job.spec.parallelism", &["FIELD: parallelism <integer>"]).await;
        shell.check_has("explain pods --recursive", &["restartPolicy\t<string>"]).await;
        shell.check_has("explain cronjob.spec.schedule", &["FIELD: schedule <string>"]).await;
        let complaint = shell.refused("explain job.spec.nonsense").await;
        assert!(complaint.contains("field \"nonsense\" does not exist"), "{complaint}");
        let complaint = shell.refused("top pods").await;
        assert!(complaint.contains("Metrics API not available"), "{complaint}");
    })
    .await;
}
