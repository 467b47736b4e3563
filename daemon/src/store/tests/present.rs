//! What is kept in memory of the present says what the database says, whatever was written, after a restart too.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One write about one of a few jobs and pods.
#[derive(Clone, Debug)]
enum Op {
    Job { name: u8, finished: bool, parked: bool },
    Pod { name: u8, owner: Option<u8>, label: u8, finished: bool, tracking: bool, deleting: bool },
    Delete { job: bool, name: u8 },
    Attempt { pod: u8, number: u32 },
    Forget { pod: u8 },
    Restart,
}

const NAMES: u8 = 4;

fn op() -> impl Strategy<Value = Op> {
    let pod = (0..NAMES, prop::option::of(0..NAMES), 0..2_u8, any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        3 => (0..NAMES, any::<bool>(), any::<bool>())
            .prop_map(|(name, finished, parked)| Op::Job { name, finished, parked }),
        5 => pod.prop_map(|(name, owner, label, finished, tracking, deleting)| {
            Op::Pod { name, owner, label, finished, tracking, deleting }
        }),
        2 => (any::<bool>(), 0..NAMES).prop_map(|(job, name)| Op::Delete { job, name }),
        3 => (0..NAMES, 0..3_u32).prop_map(|(pod, number)| Op::Attempt { pod, number }),
        1 => (0..NAMES).prop_map(|pod| Op::Forget { pod }),
        1 => Just(Op::Restart),
    ]
}

fn job_key(name: u8) -> Key {
    Key::new(Kind::Job, "default", format!("job-{name}"))
}

fn pod_key(name: u8) -> Key {
    Key::new(Kind::Pod, "default", format!("pod-{name}"))
}

/// uids of what is there; each object that is made gets a new one.
#[derive(Default)]
struct Uids {
    made: u32,
    of: BTreeMap<Key, String>,
}

impl Uids {
    fn get(&mut self, key: &Key) -> String {
        let made = &mut self.made;
        let uid = self.of.entry(key.clone()).or_insert_with(|| {
            *made += 1;
            format!("uid-{made}")
        });
        uid.clone()
    }
}

fn write(op: &Op, uids: &mut Uids) -> Option<Write> {
    match op {
        Op::Job { name, finished, parked } => {
            let key = job_key(*name);
            let index = Index { uid: uids.get(&key), finished: *finished, ..Index::default() };
            // The odd ones select by nothing that an index can answer.
            let labels = if name % 2 == 0 { format!(r#"{{"app":"{}"}}"#, name / 2) } else { "{}".to_owned() };
            let status = if *parked { r#"{"conditions":[{"type":"Suspended","status":"True"}]}"# } else { "{}" };
            let body = format!(
                r#"{{"metadata":{{"name":"{}","namespace":"default"}},"spec":{{"selector":{{"matchLabels":{labels}}},"suspend":{parked}}},"status":{status}}}"#,
                key.name
            );
            Some(Write::Put { key, index, body })
        }
        Op::Pod { name, owner, label, finished, tracking, deleting } => {
            let key = pod_key(*name);
            let index = Index {
                uid: uids.get(&key),
                controller_uid: owner.map(|owner| uids.get(&job_key(owner))),
                labels: vec![("app".to_owned(), label.to_string())],
                finished: *finished,
                tracking: *tracking,
                deleting: *deleting,
                ..Index::default()
            };
            Some(Write::Put { body: body(&key, "pod"), key, index })
        }
        Op::Delete { job, name } => {
            let key = if *job { job_key(*name) } else { pod_key(*name) };
            uids.of.remove(&key)?;
            Some(delete(&key))
        }
        Op::Attempt { pod, number } => Some(Write::Attempt(Box::new(Attempt {
            pod_uid: uids.of.get(&pod_key(*pod))?.clone(),
            container: "main".to_owned(),
            attempt: *number,
            state: attempts::AttemptState::Creating,
            container_id: None,
            created_at: noon() + Duration::from_secs(u64::from(uids.made)),
            started_at: None,
            exit: None,
            logs_copied: false,
            removed: false,
        }))),
        Op::Forget { pod } => Some(Write::ForgetAttempts { pod_uid: uids.of.get(&pod_key(*pod))?.clone() }),
        Op::Restart => None,
    }
}

/// Every answer that may come from memory, beside the database's.
async fn compare(store: &Store, uids: &Uids) {
    let readers = &store.inner.readers;
    let line = |stored: &Stored| format!("{}@{} {}", stored.key.name, stored.revision.0, stored.body);
    for name in 0..NAMES {
        for key in [job_key(name), pod_key(name)] {
            let (ours, theirs) = (store.get(&key).await.unwrap(), readers.get(&key).await.unwrap());
            assert_eq!(ours.as_ref().map(line), theirs.as_ref().map(line));
        }
        let render = |snapshot: Option<JobSnapshot>| {
            snapshot.map(|JobSnapshot { job, revision, pods, unchanged, orphans }| {
                let lines = |all: &[Stored]| all.iter().map(line).collect::<Vec<_>>();
                (line(&job), revision, lines(&pods), unchanged, lines(&orphans))
            })
        };
        let latest = store.latest().0;
        for since in [None, Some(Revision(latest)), Some(Revision(latest / 2))] {
            let ours = render(store.job_snapshot(&job_key(name), since).await.unwrap());
            assert_eq!(ours, render(readers.job_snapshot(&job_key(name), since).await.unwrap()), "since {since:?}");
        }
        if let Some(uid) = uids.of.get(&pod_key(name)) {
            assert_eq!(store.attempts(uid).await.unwrap(), readers.attempts(uid).await.unwrap());
        }
    }
}

async fn run(batches: Vec<Vec<Op>>) {
    let (place, mut store) = open().await;
    let mut uids = Uids::default();
    for batch in batches {
        if batch.iter().any(|op| matches!(op, Op::Restart)) {
            store.close().await;
            store = place.open().await;
        }
        commit(&store, batch.iter().filter_map(|op| write(op, &mut uids)).collect()).await;
        compare(&store, &uids).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn memory_says_what_the_database_says(batches in prop::collection::vec(prop::collection::vec(op(), 1..5), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(batches));
    }
}

/// I-5: what is active is answered from memory, what is over is not kept there.
#[tokio::test]
async fn only_what_is_active_is_in_memory() {
    let (place, store) = open().await;
    let mut uids = Uids::default();
    let pod = |finished| Op::Pod { name: 0, owner: Some(0), label: 0, finished, tracking: false, deleting: false };
    let ops = [Op::Job { name: 0, finished: false, parked: false }, pod(false), Op::Attempt { pod: 0, number: 0 }];
    commit(&store, ops.iter().filter_map(|op| write(op, &mut uids)).collect()).await;
    let uid = uids.get(&pod_key(0));
    let known = |store: &Store| {
        let present = &store.inner.shared.present;
        (
            present.get(&pod_key(0)).is_some(),
            present.attempts(&uid).map(|attempts| attempts.len()),
            present.job_snapshot(&job_key(0), None).map(|snapshot| snapshot.pods.len()),
        )
    };
    assert_eq!(known(&store), (true, Some(1), Some(1)));
    store.close().await;
    let store = place.open().await;
    assert_eq!(known(&store), (true, Some(1), Some(1)), "after a restart");
    commit(&store, write(&pod(true), &mut uids).into_iter().collect()).await;
    assert_eq!(known(&store), (false, None, None), "a whole look asks for pods that are over");
    let since = store.latest();
    assert!(store.inner.shared.present.job_snapshot(&job_key(0), Some(since)).is_some());
    commit(&store, write(&Op::Job { name: 0, finished: true, parked: false }, &mut uids).into_iter().collect()).await;
    assert!(store.inner.shared.present.job_snapshot(&job_key(0), Some(since)).is_none());
}

/// I-5: thousands of suspended jobs cost no memory; one that has pods left, or goes on, is there.
#[tokio::test]
async fn a_suspended_job_at_rest_is_not_in_memory() {
    let suspended = r#"{"type":"Suspended","status":"True"}"#;
    let (place, mut store) = open().await;
    let key = job_key(0);
    for (spec, status, want) in [
        (r#"{"suspend":true}"#, "{}".to_owned(), true),
        (r#"{"suspend":true}"#, format!(r#"{{"conditions":[{suspended}],"active":1}}"#), true),
        (r#"{"suspend":true}"#, format!(r#"{{"conditions":[{suspended}],"terminating":1}}"#), true),
        (r#"{"suspend":true}"#, format!(r#"{{"conditions":[{suspended}]}}"#), false),
        (r#"{"suspend":false}"#, format!(r#"{{"conditions":[{suspended}]}}"#), true),
        (r#"{"suspend":true}"#, r#"{"conditions":[{"type":"Suspended","status":"False"}]}"#.to_owned(), true),
    ] {
        let body =
            format!(r#"{{"metadata":{{"name":"job-0","namespace":"default"}},"spec":{spec},"status":{status}}}"#);
        let index = Index { uid: "uid".to_owned(), ..Index::default() };
        commit(&store, vec![Write::Put { key: key.clone(), index, body: body.clone() }]).await;
        for _ in 0..2 {
            assert_eq!(store.inner.shared.present.get(&key).is_some(), want, "{body}");
            assert_eq!(store.get(&key).await.unwrap().map(|stored| stored.body.to_string()), Some(body.clone()));
            store.close().await;
            store = place.open().await;
        }
    }
}
