//! What changes objects that are there: edit, replace, labels, patches of every type, server-side apply; and what a cluster refuses.

use std::os::unix::fs::PermissionsExt as _;

use crate::{HELLO, Shell, each};

/// A suspended job.
fn waiting() -> String {
    HELLO.replacen("spec:", "spec:\n  suspend: true", 1)
}

/// `kubectl edit` with an editor that runs this sed script.
async fn edit(shell: &Shell, script: &str) -> jobd_tests::kubectl::Output {
    let editor = shell.daemon.data_dir().with_file_name("editor");
    std::fs::write(&editor, format!("#!/bin/sh\nexec sed -i '{script}' \"$1\"\n")).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    shell.kubectl.run(&["edit", "job", "hello"], "", &[("EDITOR", &editor.to_string_lossy())]).await
}

#[tokio::test]
async fn an_editor_changes_an_object_and_is_told_what_is_wrong() {
    each(async |shell| {
        shell.apply(&waiting()).await;
        let edited = edit(shell, "s/backoffLimit: 6/backoffLimit: 9/").await;
        assert_eq!((edited.code, edited.stdout.as_str()), (0, "job.batch/hello edited\n"), "{}", edited.stderr);
        let untouched = edit(shell, "s/nothing/nothing/").await;
        assert_eq!(untouched.stderr, "Edit cancelled, no changes made.\n", "{}", shell.name);
        let refused = edit(shell, "s/completions: 1/completions: 2/").await;
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains("jobs.batch \"hello\" is invalid"), "{}", refused.stderr);
        shell.check(&[("get job hello -o jsonpath={.spec.backoffLimit}/{.spec.completions}", "9/1")]).await;
    })
    .await;
}

#[tokio::test]
async fn labels_annotations_and_patches_change_what_they_name() {
    each(async |shell| {
        shell.apply(&waiting()).await;
        shell
            .check(&[
                ("label job hello team=blue", "job.batch/hello labeled\n"),
                ("label job hello team=red --overwrite", "job.batch/hello labeled\n"),
                ("get jobs -l team=red -o name", "job.batch/hello\n"),
                ("label job hello team-", "job.batch/hello unlabeled\n"),
                ("get jobs -l team -o name", ""),
                ("patch job hello -p {\"spec\":{\"backoffLimit\":7}}", "job.batch/hello patched\n"),
                ("patch job hello -p {\"spec\":{\"backoffLimit\":7}}", "job.batch/hello patched (no change)\n"),
                ("patch job hello --type=merge -p {\"metadata\":{\"annotations\":{\"note\":\"x\"}}}", "job.batch/hello patched\n"),
                ("get job hello -o jsonpath={.metadata.annotations.note}", "x"),
                (
                    "patch job hello --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/parallelism\",\"value\":3}]",
                    "job.batch/hello patched\n",
                ),
                (
                    "patch job hello --subresource=status --type=merge -p {\"status\":{\"conditions\":[{\"type\":\"Seen\",\"status\":\"True\"}]}}",
                    "job.batch/hello patched\n",
                ),
                ("get job hello -o jsonpath={.spec.backoffLimit}/{.spec.parallelism}", "7/3"),
                ("get job hello -o jsonpath={.status.conditions[?(@.type==\"Seen\")].status}", "True"),
            ])
            .await;
        for (command, complaint) in [
            ("label job hello job-name=other", "'job-name' already has a value (hello), and --overwrite is false"),
            ("patch job hello -p {\"spec\":{\"completions\":5}}", "spec.completions: Invalid value: 5: field is immutable"),
            (
                "patch job hello --type=json -p [{\"op\":\"test\",\"path\":\"/spec/parallelism\",\"value\":1}]",
                "The request is invalid",
            ),
            ("patch job hello -p nonsense", "error decoding patch"),
            ("scale job hello --replicas=2", "could not find the requested resource"),
            ("set image job/hello main=busybox:latest", "field is immutable"),
        ] {
            let arguments: Vec<_> = command.split(' ').collect();
            let output = shell.raw(&arguments, "").await;
            assert!(output.stderr.contains(complaint), "{} {command}: {}{}", shell.name, output.stdout, output.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn replace_and_server_side_apply_take_whole_manifests() {
    each(async |shell| {
        let labelled = waiting().replace("name: hello", "name: hello\n  labels: {step: one}");
        assert_eq!(shell.apply(&labelled).await, "job.batch/hello created\n");
        let uid = shell.run("get job hello -o jsonpath={.metadata.uid}").await;
        // What a job made up for itself (its selector) must stand in a manifest that replaces it.
        let whole = shell.run("get job hello -o yaml").await.replace("step: one", "step: two");
        let replaced = shell.raw(&["replace", "-f", "-"], &whole).await;
        assert_eq!(replaced.stdout, "job.batch/hello replaced\n", "{} {}", shell.name, replaced.stderr);
        let stale = shell.raw(&["replace", "-f", "-"], &whole).await;
        assert!(stale.stderr.contains("the object has been modified"), "{} {}", shell.name, stale.stderr);
        shell.check(&[("get job hello -o jsonpath={.metadata.labels.step}", "two")]).await;
        let forced = shell.raw(&["replace", "--force", "-f", "-"], &labelled).await;
        assert_eq!(
            forced.stdout, "job.batch \"hello\" deleted\njob.batch/hello replaced\n",
            "{} {}",
            shell.name, forced.stderr
        );
        assert_ne!(shell.run("get job hello -o jsonpath={.metadata.uid}").await, uid);
        let server = shell
            .raw(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &labelled.replace("one", "three"))
            .await;
        assert_eq!(server.stdout, "job.batch/hello serverside-applied\n", "{} {}", shell.name, server.stderr);
        shell.check(&[("get job hello -o jsonpath={.metadata.labels.step}", "three")]).await;
        let list = shell
            .raw(
                &["apply", "-f", "-"],
                &format!(
                    "{}\n---\n{}",
                    HELLO.replace("name: hello", "name: first"),
                    HELLO.replace("name: hello", "name: second")
                ),
            )
            .await;
        assert_eq!(
            list.stdout, "job.batch/first created\njob.batch/second created\n",
            "{} {}",
            shell.name, list.stderr
        );
        let bad = shell.raw(&["create", "-f", "-"], &HELLO.replace("name: main", "name: Not_Valid")).await;
        assert!(
            bad.stderr.contains("spec.template.spec.containers[0].name: Invalid value: \"Not_Valid\""),
            "{}",
            bad.stderr
        );
        let twice = shell.raw(&["create", "-f", "-"], HELLO).await;
        assert!(twice.stderr.contains("jobs.batch \"hello\" already exists"), "{}", twice.stderr);
    })
    .await;
}
