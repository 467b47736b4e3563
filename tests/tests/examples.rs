//! Every manifest in examples/ runs as it stands.

use jobd_tests::{Daemon, client::has_condition, eventually};

#[tokio::test]
async fn every_example_is_accepted_and_its_jobs_complete() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    drop(std::fs::remove_dir_all("/tmp/jobd-example-retry"));
    let mut documents = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        for document in std::fs::read_to_string(file).unwrap().split("\n---\n") {
            let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap().trim();
            let path = match kind {
                "Job" => "/apis/batch/v1/namespaces/default/jobs",
                "CronJob" => "/apis/batch/v1/namespaces/default/cronjobs",
                "ConfigMap" => "/api/v1/namespaces/default/configmaps",
                "Secret" => "/api/v1/namespaces/default/secrets",
                other => panic!("{}: kind {other}", file.display()),
            };
            let headers = [("content-type", "application/yaml")];
            let answer =
                client.request("POST", &format!("{path}?fieldValidation=Strict"), &headers, document.to_owned()).await;
            assert_eq!(answer.status, 201, "{}: {}", file.display(), answer.text());
            documents += 1;
        }
    }
    assert!(documents >= 5);
    eventually("all jobs to complete", async || {
        let jobs = client.get("/apis/batch/v1/namespaces/default/jobs").await.expect(200);
        let open: Vec<_> =
            jobs["items"].as_array().unwrap().iter().filter(|job| !has_condition(job, "Complete")).cloned().collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
}
