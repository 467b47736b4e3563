//! Deletion in all its forms.

use jobd_tests::eventually;

use crate::{HELLO, Shell, each};

async fn job(shell: &Shell, name: &str, script: &str) {
    let manifest = HELLO.replace("name: hello", &format!("name: {name}\n  labels: {{team: {name}}}"));
    let patient =
        manifest.replace("restartPolicy: Never", "restartPolicy: Never\n      terminationGracePeriodSeconds: 1");
    shell.apply(&patient.replace("echo hello", script)).await;
    shell.run(&format!("wait --for=jsonpath={{.status.ready}}=1 job/{name} --timeout=60s")).await;
}

async fn pods_of(shell: &Shell, name: &str) -> String {
    shell.run(&format!("get pods -l job-name={name} -o name")).await
}

#[tokio::test]
async fn every_cascade_and_every_way_of_choosing_deletes() {
    each(async |shell| {
        for name in ["background", "foreground", "orphan", "labelled"] {
            job(shell, name, "sleep 300").await;
        }
        shell
            .check(&[
                ("delete job background", "job.batch \"background\" deleted\n"),
                ("delete job foreground --cascade=foreground", "job.batch \"foreground\" deleted\n"),
                ("delete job orphan --cascade=orphan", "job.batch \"orphan\" deleted\n"),
                ("delete jobs -l team=labelled --wait=false", "job.batch \"labelled\" deleted\n"),
                ("delete job none --ignore-not-found", ""),
            ])
            .await;
        assert_eq!(pods_of(shell, "foreground").await, "", "its pods went first");
        assert_eq!(pods_of(shell, "orphan").await.lines().count(), 1, "its pod stays");
        eventually("the others' pods to go", async || {
            let left = pods_of(shell, "background").await + &pods_of(shell, "labelled").await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        let forced = shell.raw(&["delete", "pod", "-l", "job-name=orphan", "--force", "--grace-period=0"], "").await;
        assert!(forced.stderr.starts_with("Warning: Immediate deletion does not wait"), "{}", forced.stderr);
        assert!(forced.stdout.ends_with("force deleted\n"), "{}", forced.stdout);
        let complaint = shell.refused("delete job none").await;
        assert_eq!(complaint, "Error from server (NotFound): jobs.batch \"none\" not found\n");
    })
    .await;
}

#[tokio::test]
async fn all_of_a_kind_and_a_whole_namespace_go() {
    each(async |shell| {
        shell.run("create namespace team").await;
        shell.run("create job once --image=busybox:1.36 -n team -- sleep 300").await;
        shell.run("run idle --image=busybox:1.36 -n team -- sleep 300").await;
        let deleted = shell.run("delete pods --all --now -n team").await;
        assert!(deleted.contains("pod \"idle\" deleted"), "{}: {deleted}", shell.name);
        let all = shell.run("delete jobs,cronjobs --all --cascade=foreground -n team").await;
        assert_eq!(all, "job.batch \"once\" deleted\n", "{}", shell.name);
        let manifest = HELLO.replace("name: hello", "name: hello\n  namespace: team");
        shell.apply(&manifest).await;
        let by_file = shell.raw(&["delete", "-f", "-"], &manifest).await;
        assert_eq!(by_file.stdout, "job.batch \"hello\" deleted\n", "{} {}", shell.name, by_file.stderr);
        shell.apply(&manifest).await;
        shell
            .check(&[("delete namespace team", "namespace \"team\" deleted\n"), ("get jobs,pods -A -o name", "")])
            .await;
        let kept = shell.refused("delete namespace default").await;
        assert!(kept.contains("this namespace may not be deleted"), "{kept}");
    })
    .await;
}
