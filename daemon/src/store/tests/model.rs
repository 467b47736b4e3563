//! Random requests against a model that keeps every state there ever was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a request does with one of a few names.
#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    /// Guarded by the revision that is current when the request is made, or by an older one.
    Update {
        name: u8,
        stale: bool,
    },
    Put(u8),
    Delete(u8),
}

#[derive(Clone, Debug)]
enum Step {
    /// Requests that are sent at the same time, in this order.
    Requests(Vec<Vec<Op>>),
    Advance(u16),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..6_u8).prop_map(Op::Create),
        (0..6_u8, any::<bool>()).prop_map(|(name, stale)| Op::Update { name, stale }),
        (0..6_u8).prop_map(Op::Put),
        (0..6_u8).prop_map(Op::Delete),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let request = prop::collection::vec(op(), 1..4);
    prop_oneof![
        8 => prop::collection::vec(request, 1..5).prop_map(Step::Requests),
        2 => (0..400_u16).prop_map(Step::Advance),
        1 => Just(Step::Restart),
    ]
}

/// Name to revision and text.
type State = BTreeMap<String, (i64, String)>;

#[derive(Default)]
struct Model {
    now: State,
    revision: i64,
    texts: u64,
    /// The state at each revision, with the time at which it was replaced (`None`: it is the present).
    past: BTreeMap<i64, (State, Option<Duration>)>,
    changes: Vec<(i64, String)>,
}

impl Model {
    fn new() -> Self {
        Self { past: BTreeMap::from([(0, (State::new(), None))]), ..Self::default() }
    }

    /// The store's request for these operations, and whether the model takes it.
    fn apply(&mut self, ops: &[Op], now: Duration) -> (Request, bool) {
        let mut request = Request::default();
        let mut state = self.now.clone();
        let mut holds = true;
        let mut revision = self.revision;
        let mut past = Vec::new();
        let mut changes = Vec::new();
        for op in ops {
            self.texts += 1;
            let text = self.texts.to_string();
            let number = match op {
                Op::Create(name) | Op::Update { name, .. } | Op::Put(name) | Op::Delete(name) => name,
            };
            let name = format!("n{number}");
            let key = config_map(&name);
            // Guards are about the state before the request.
            let before = self.now.get(&name).map(|(revision, _)| *revision);
            match op {
                Op::Create(_) => {
                    request.guards.push(Guard::Absent(key.clone()));
                    holds &= before.is_none();
                }
                Op::Update { stale, .. } => {
                    let seen = before.unwrap_or(1) - i64::from(*stale);
                    request.guards.push(Guard::Unchanged { key: key.clone(), revision: Revision(seen) });
                    holds &= before == Some(seen);
                }
                Op::Put(_) | Op::Delete(_) => {}
            }
            let old = state.get(&name).map(|(_, text)| text.clone());
            let was = old.as_ref().map(|old| format!(" (was {old})")).unwrap_or_default();
            if matches!(op, Op::Delete(_)) {
                request.writes.push(Write::Delete { key: key.clone(), body: body(&key, "final") });
                if state.remove(&name).is_none() {
                    continue;
                }
                revision += 1;
                changes.push((revision, format!("{revision} Deleted {name} final{was}")));
            } else {
                request.writes.push(put(&key, &text));
                revision += 1;
                let change_type = if old.is_some() { "Modified" } else { "Created" };
                changes.push((revision, format!("{revision} {change_type} {name} {text}{was}")));
                state.insert(name, (revision, text));
            }
            past.push((revision, state.clone()));
        }
        if holds {
            self.changes.extend(changes);
            for (revision, state) in past {
                if let Some((_, replaced)) = self.past.get_mut(&(revision - 1)) {
                    *replaced = Some(now);
                }
                self.past.insert(revision, (state, None));
            }
            (self.now, self.revision) = (state, revision);
        }
        (request, holds)
    }
}

fn render_state(state: &State) -> String {
    let lines: Vec<String> = state.iter().map(|(name, (revision, text))| format!("{name}@{revision} {text}")).collect();
    lines.join(", ")
}

async fn check_against(store: &Store, model: &Model, now: Duration) {
    assert_eq!(store.latest(), Revision(model.revision));
    assert_eq!(list_at(store, None).await.unwrap(), render_state(&model.now));
    let mut oldest = None;
    for (revision, (state, replaced)) in &model.past {
        // Must be readable while the successor lies in the window. A little longer is allowed: samples are a second apart.
        let must = replaced.is_none_or(|replaced| now < replaced + WINDOW);
        let may = replaced.is_none_or(|replaced| now < replaced + WINDOW + Duration::from_secs(2));
        match list_at(store, Some(*revision)).await {
            Ok(have) => {
                assert!(may, "{revision} is too old to be read");
                assert_eq!(have, render_state(state), "at {revision}");
                oldest.get_or_insert(*revision);
            }
            Err(Error::TooOld { .. }) => assert!(!must, "{revision} must be readable"),
            Err(error) => panic!("{error}"),
        }
    }
    let oldest = oldest.unwrap();
    let want: Vec<String> =
        model.changes.iter().filter(|(revision, _)| *revision > oldest).map(|(_, text)| text.clone()).collect();
    assert_eq!(changes_after(store, oldest).await.unwrap(), want.join("\n"), "after {oldest}");
    if oldest > 0 {
        assert!(matches!(changes_after(store, oldest - 1).await, Err(Error::TooOld { .. })));
    }
}

async fn run(steps: Vec<Step>) {
    let (place, mut store) = open().await;
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Requests(requests) => {
                let now = place.clock.now().boot;
                let (mut sent, mut wanted) = (Vec::new(), Vec::new());
                for ops in &requests {
                    let (request, holds) = model.apply(ops, now);
                    sent.push(store.write(request));
                    wanted.push(holds);
                }
                let answers = futures_util::future::join_all(sent).await;
                let have: Vec<bool> = answers.iter().map(Result::is_ok).collect();
                assert_eq!(have, wanted, "{requests:?}: {answers:?}");
            }
            Step::Advance(seconds) => place.clock.advance(Duration::from_secs(u64::from(seconds))),
            Step::Restart => {
                store.close().await;
                store = place.open().await;
            }
        }
        check_against(&store, &model, place.clock.now().boot).await;
    }
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
