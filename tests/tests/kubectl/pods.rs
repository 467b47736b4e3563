//! Bare pods, logs in every form, and the three kinds of waiting.

use jobd_tests::eventually;

use crate::{each, words};

/// Two containers that say who they are and then wait.
const TWO: &str = "
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - {name: a, image: \"busybox:1.36\", command: [sh, -c, \"echo from a; sleep 300\"]}
    - {name: b, image: \"busybox:1.36\", command: [sh, -c, \"echo from b; sleep 300\"]}
";

/// Fails once, then waits.
const AGAIN: &str = "
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 1
  volumes: [{name: v, emptyDir: {}}]
  containers:
    - name: main
      image: busybox:1.36
      command: [sh, -c, \"if test -e /v/x; then echo second; sleep 300; else touch /v/x; echo first; exit 3; fi\"]
      volumeMounts: [{name: v, mountPath: /v}]
";

#[tokio::test]
async fn logs_are_read_as_they_are_asked_for() {
    each(async |shell| {
        shell.apply(TWO).await;
        shell.apply(AGAIN).await;
        shell
            .run("create job lines --image=busybox:1.36 -- sh -c echo${IFS}1;sleep${IFS}2;echo${IFS}2;echo${IFS}3")
            .await;
        // It follows from the first line to the end, and ends by itself.
        let followed = eventually("the container to be there", async || {
            let output = shell.raw(&["logs", "-f", "job/lines"], "").await;
            if output.code == 0 { Ok(output.stdout) } else { Err(output.stderr) }
        })
        .await;
        assert_eq!(followed, "1\n2\n3\n", "{}", shell.name);
        shell.run("wait --for=condition=complete job/lines --timeout=60s").await;
        shell.run("wait --for=condition=Ready pod/two --timeout=60s").await;
        shell.run("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 pod/again --timeout=60s").await;
        shell
            .check(&[
                ("logs job/lines --tail=2", "2\n3\n"),
                ("logs job/lines --tail=0", ""),
                ("logs job/lines --since=1h", "1\n2\n3\n"),
                ("logs job/lines --since-time=2099-01-01T00:00:00Z", ""),
                ("logs job/lines --limit-bytes=3", "1\n2"),
                ("logs two -c b", "from b\n"),
                ("logs -l app=two -c a", "from a\n"),
                ("logs again --previous", "first\n"),
            ])
            .await;
        // In any order: kubectl asks for them side by side.
        for (command, wanted) in [
            ("logs two --all-containers", ["from a", "from b"]),
            ("logs two --all-containers --prefix", ["[pod/two/a] from a", "[pod/two/b] from b"]),
        ] {
            let printed = shell.run(command).await;
            let mut lines: Vec<_> = printed.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, wanted, "{} {command}", shell.name);
        }
        let stamped = shell.run("logs job/lines --timestamps --tail=1").await;
        assert!(stamped.starts_with("20") && stamped.ends_with("Z 3\n"), "{stamped}");
        let mut following = shell.follow("logs -f two -c a");
        following.until(|line| line == "from a").await;
        let default = shell.raw(&["logs", "two"], "").await;
        assert_eq!(default.stdout, "from a\n");
        assert!(default.stderr.starts_with("Defaulted container \"a\" out of: a, b"), "{}", default.stderr);
        for (command, complaint) in [
            ("logs two -c none", "container none is not valid for pod two"),
            ("logs two -c a --previous", "previous terminated container \"a\" in pod \"two\" not found"),
            ("logs none", "pods \"none\" not found"),
        ] {
            let printed = shell.refused(command).await;
            assert!(printed.contains(complaint), "{} {command}: {printed}", shell.name);
        }
    })
    .await;
}

#[tokio::test]
async fn bare_pods_run_are_waited_for_and_go() {
    each(async |shell| {
        shell
            .check(&[
                ("run idle --image=busybox:1.36 --restart=Never --labels=kind=idle -- sleep 300", "pod/idle created\n"),
                ("run dry --image=busybox:1.36 --dry-run=server -o name", "pod/dry\n"),
                ("wait --for=condition=Ready pod/idle --timeout=60s", "pod/idle condition met\n"),
                ("wait --for=jsonpath={.status.phase}=Running pod/idle --timeout=60s", "pod/idle condition met\n"),
                ("wait --for=condition=Ready pods -l kind=idle --timeout=60s", "pod/idle condition met\n"),
            ])
            .await;
        let table = shell.run("get pods --no-headers").await;
        assert_eq!(words(&table)[..4], ["idle", "1/1", "Running", "0"], "{}: {table}", shell.name);
        // What it prints is kubectl's to find: without `attach` it reads the log once, which may be before the program has said anything.
        let once = shell.run("run once --image=busybox:1.36 --restart=Never --rm -i -- echo hi").await;
        assert!(once.contains("pod \"once\" deleted"), "{}: {once}", shell.name);
        let complaint = shell.refused("wait --for=condition=Ready=False pod/idle --timeout=1s").await;
        assert!(complaint.contains("timed out waiting for the condition on pods/idle"), "{complaint}");
        let mut gone = shell.follow("wait --for=delete pod/idle --timeout=60s");
        let deleted = shell.run("delete pod idle --grace-period=1").await;
        assert!(deleted.starts_with("pod \"idle\" deleted"), "{deleted}");
        gone.until(|line| line == "pod/idle condition met").await;
        let missing = shell.raw(&["wait", "--for=condition=Ready", "pod/idle", "--timeout=1s"], "").await;
        assert!(missing.stderr.contains("pods \"idle\" not found"), "{}", missing.stderr);
    })
    .await;
}
