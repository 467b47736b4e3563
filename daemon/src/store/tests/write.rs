//! Guards, revisions, group commit, labels and owners, due times, attempts.

use super::*;

#[tokio::test]
async fn gives_each_changed_object_its_own_revision_in_order() {
    // I-7, also inside one transaction.
    let (_place, store) = open().await;
    let (a, b) = (config_map("a"), config_map("b"));
    assert_eq!(commit(&store, vec![put(&a, "1"), put(&b, "1"), put(&a, "2")]).await, [1, 2, 3]);
    assert_eq!(store.latest(), Revision(3));
    assert_eq!(list_at(&store, None).await.unwrap(), "a@3 2, b@2 1");
    assert_eq!(commit(&store, vec![delete(&b), delete(&b), put(&b, "again")]).await, [4, 4, 5]);
    assert_eq!(list_at(&store, None).await.unwrap(), "a@3 2, b@5 again");
    assert_eq!(
        changes_after(&store, 0).await.unwrap(),
        "1 Created a 1\n2 Created b 1\n3 Modified a 2 (was 1)\n4 Deleted b final (was 1)\n5 Created b again"
    );
}

#[tokio::test]
async fn refuses_a_name_that_is_taken_and_writes_nothing_of_that_request() {
    let (_place, store) = open().await;
    let (a, b) = (config_map("a"), config_map("b"));
    store.write(create(&a, "first")).await.unwrap();
    let mut second = create(&a, "second");
    second.writes.insert(0, put(&b, "beside"));
    let error = store.write(second).await.unwrap_err();
    assert!(matches!(&error, Error::AlreadyExists { key } if *key == a), "{error}");
    assert_eq!(list_at(&store, None).await.unwrap(), "a@1 first");
    assert_eq!(store.latest(), Revision(1));
}

#[tokio::test]
async fn refuses_a_write_that_rests_on_an_older_revision() {
    let (_place, store) = open().await;
    let a = config_map("a");
    let guarded = |revision, text| {
        request(vec![Guard::Unchanged { key: a.clone(), revision: Revision(revision) }], vec![put(&a, text)])
    };
    let absent = store.write(guarded(1, "x")).await.unwrap_err();
    assert!(matches!(absent, Error::Conflict { have: None, seen: Revision(1), .. }), "{absent}");
    commit(&store, vec![put(&a, "1")]).await;
    store.write(guarded(1, "2")).await.unwrap();
    let stale = store.write(guarded(1, "3")).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict { have: Some(Revision(2)), seen: Revision(1), .. }), "{stale}");
    assert_eq!(list_at(&store, None).await.unwrap(), "a@2 2");
}

#[tokio::test]
async fn takes_objects_only_into_namespaces_that_live() {
    let (_place, store) = open().await;
    let namespace = Key::new(Kind::Namespace, "", "team");
    let in_team = || request(vec![Guard::NamespaceActive("team".to_owned())], vec![put(&config_map("a"), "1")]);
    assert!(matches!(store.write(in_team()).await.unwrap_err(), Error::NamespaceMissing { .. }));
    commit(&store, vec![put(&namespace, "")]).await;
    store.write(in_team()).await.unwrap();
    let deleting = Index { deleting: true, ..index(&namespace) };
    commit(&store, vec![put_indexed(&namespace, "", deleting)]).await;
    assert!(matches!(store.write(in_team()).await.unwrap_err(), Error::NamespaceTerminating { .. }));
    commit(&store, vec![delete(&namespace)]).await;
    assert!(matches!(store.write(in_team()).await.unwrap_err(), Error::NamespaceMissing { .. }));
}

#[tokio::test]
async fn lets_one_of_many_concurrent_creates_of_a_name_win() {
    // R-2, F-17: the requests share commits, and each sees the earlier winners of its own batch.
    let (_place, store) = open().await;
    let a = config_map("a");
    let tries: Vec<_> = (0..100)
        .map(|number| {
            let (store, request) = (store.clone(), create(&a, &number.to_string()));
            tokio::spawn(async move { store.write(request).await })
        })
        .collect();
    let mut won = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
        }
    }
    assert_eq!((won, store.latest()), (1, Revision(1)));
}

#[tokio::test]
async fn loses_no_update_among_concurrent_compare_and_swaps() {
    let (_place, store) = open().await;
    let a = config_map("a");
    commit(&store, vec![put(&a, "0")]).await;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (store, a) = (store.clone(), a.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < 20 {
                    let seen = store.get(&a).await.unwrap().unwrap();
                    let count: u32 = seen.object().unwrap().text(&["data", "text"]).unwrap().parse().unwrap();
                    let guard = Guard::Unchanged { key: a.clone(), revision: seen.revision };
                    match store.write(request(vec![guard], vec![put(&a, &(count + 1).to_string())])).await {
                        Ok(_) => done += 1,
                        Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(list_at(&store, None).await.unwrap(), "a@161 160");
}

#[tokio::test]
async fn answers_and_notifies_after_the_change_can_be_read() {
    let (_place, store) = open().await;
    let mut latest = store.subscribe();
    for number in 0..50 {
        let key = config_map(&format!("n{number}"));
        let committed = store.write(create(&key, "x")).await.unwrap();
        assert_eq!(committed.revisions, [store.latest()]);
        assert!(latest.has_changed().unwrap());
        assert_eq!(*latest.borrow_and_update(), store.latest());
        assert_eq!(store.get(&key).await.unwrap().unwrap().revision, store.latest());
        let (changes, _) = store.changes(None, Revision(store.latest().0 - 1), 10).await.unwrap();
        assert_eq!(changes[0].key, key);
    }
}

#[tokio::test]
async fn a_request_that_breaks_a_constraint_does_not_take_its_batch_along() {
    let (_place, store) = open().await;
    let twin = |name: &str| {
        let key = config_map(name);
        request(vec![], vec![put_indexed(&key, "x", Index { uid: "same".to_owned(), ..Index::default() })])
    };
    let good = |name: &str| create(&config_map(name), "x");
    // One poll of all of them puts them into one batch.
    let (a, b, c, d) =
        tokio::join!(store.write(good("a")), store.write(twin("b")), store.write(twin("c")), store.write(good("d")));
    assert!(a.is_ok() && b.is_ok() && d.is_ok());
    assert!(matches!(c.unwrap_err(), Error::Database { .. }));
    assert_eq!(list_at(&store, None).await.unwrap(), "a@1 x, b@2 x, d@3 x");
    assert_eq!(commit(&store, vec![put(&config_map("e"), "y")]).await, [4]);
}

#[tokio::test]
async fn an_empty_request_is_a_no_op_and_guards_alone_are_checked() {
    let (_place, store) = open().await;
    assert!(store.write(Request::default()).await.unwrap().revisions.is_empty());
    let guard = Guard::Unchanged { key: config_map("a"), revision: Revision(1) };
    assert!(store.write(request(vec![guard], vec![])).await.is_err());
    assert!(store.write(request(vec![Guard::Absent(config_map("a"))], vec![])).await.unwrap().revisions.is_empty());
    assert_eq!(store.latest(), Revision(0));
}

#[tokio::test]
async fn labels_and_owners_follow_the_object() {
    let (_place, store) = open().await;
    let a = config_map("a");
    let with = |labels: &[(&str, &str)], owners: &[&str]| Index {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        owner_uids: owners.iter().map(|uid| (*uid).to_owned()).collect(),
        ..index(&a)
    };
    let check = async |label: (&str, &str), owner: &str, want: &str| {
        let labels = vec![(label.0.to_owned(), label.1.to_owned())];
        let query = ListQuery { labels, ..ListQuery::all(Kind::ConfigMap, 10) };
        assert_eq!(render(&store.list(&query).await.unwrap().items), want, "{label:?}");
        assert_eq!(render(&store.dependents(owner, 0, 10).await.unwrap().0), want, "{owner}");
    };
    commit(&store, vec![put_indexed(&a, "1", with(&[("app", "x"), ("tier", "db")], &["o1"]))]).await;
    check(("app", "x"), "o1", "a@1 1").await;
    // Unchanged ones are kept.
    commit(&store, vec![put_indexed(&a, "2", with(&[("app", "x"), ("tier", "db")], &["o1"]))]).await;
    check(("tier", "db"), "o1", "a@2 2").await;
    commit(&store, vec![put_indexed(&a, "3", with(&[("app", "y")], &["o2", "o2"]))]).await;
    check(("app", "x"), "o1", "").await;
    check(("app", "y"), "o2", "a@3 3").await;
    // Gone, and back under the same name: nothing of the old one is left.
    commit(&store, vec![delete(&a), put_indexed(&a, "4", with(&[("app", "z")], &[]))]).await;
    check(("app", "y"), "o2", "").await;
    let labels = vec![("app".to_owned(), "z".to_owned())];
    let query = ListQuery { labels, ..ListQuery::all(Kind::ConfigMap, 10) };
    assert_eq!(render(&store.list(&query).await.unwrap().items), "a@5 4");
}

#[tokio::test]
async fn due_times_are_set_by_put_kept_by_put_and_moved_by_due() {
    let (_place, store) = open().await;
    let keys = [config_map("a"), config_map("b"), config_map("c")];
    let [a, b, c] = &keys;
    let at = |seconds: i64| noon() + jiff::SignedDuration::from_secs(seconds);
    let due = async |seconds, max| {
        let (objects, next) = store.due(Kind::ConfigMap, at(seconds), max).await.unwrap();
        let names: Vec<_> = objects.iter().map(|stored| stored.key.name.clone()).collect();
        (names.join(" "), next.map(|next| next.duration_since(noon()).as_secs()))
    };
    let indexed = |key: &Key, seconds| Index { due_at: Some(at(seconds)), ..index(key) };
    commit(&store, vec![put_indexed(a, "", indexed(a, 10)), put_indexed(b, "", indexed(b, 5)), put(c, "")]).await;
    assert_eq!(due(4, 9).await, (String::new(), Some(5)));
    assert_eq!(due(10, 9).await, ("b a".to_owned(), None));
    assert_eq!(due(10, 1).await, ("b".to_owned(), Some(10)));
    // A put without a due time leaves it, a put with one moves it.
    commit(&store, vec![put(a, "2"), put_indexed(b, "2", indexed(b, 20))]).await;
    assert_eq!(due(10, 9).await, ("a".to_owned(), Some(20)));
    // Due changes no revision.
    let before = store.latest();
    let moved = vec![
        Write::Due { key: a.clone(), at: None },
        Write::Due { key: c.clone(), at: Some(at(1)) },
        Write::Due { key: config_map("absent"), at: Some(at(0)) },
    ];
    assert_eq!(commit(&store, moved).await, Vec::<i64>::new());
    assert_eq!(store.latest(), before);
    assert_eq!(due(10, 9).await, ("c".to_owned(), Some(20)));
    assert_eq!(store.due(Kind::Job, at(100), 9).await.unwrap().0.len(), 0);
}

#[tokio::test]
async fn attempts_are_kept_per_pod_until_they_are_forgotten() {
    let (_place, store) = open().await;
    let attempt = |pod: &str, number, state| Attempt {
        pod_uid: pod.to_owned(),
        container: "main".to_owned(),
        attempt: number,
        state,
        container_id: None,
        created_at: noon() + jiff::SignedDuration::from_nanos(i64::from(number) + 1),
        started_at: None,
        exit: None,
        logs_copied: false,
        removed: false,
    };
    let write = |attempt: &Attempt| Write::Attempt(Box::new(attempt.clone()));
    let mut first = attempt("p", 0, attempts::AttemptState::Creating);
    let second = attempt("p", 1, attempts::AttemptState::Starting);
    let other = attempt("q", 0, attempts::AttemptState::Running);
    assert_eq!(commit(&store, vec![write(&first), write(&second), write(&other)]).await, Vec::<i64>::new());
    assert_eq!(store.attempts("p").await.unwrap(), [first.clone(), second.clone()]);
    first.state = attempts::AttemptState::Ended;
    first.container_id = Some("c0".to_owned());
    first.started_at = Some(noon());
    first.exit = Some(attempts::Exit {
        reason: "Error".to_owned(),
        exit_code: 3,
        message: String::new(),
        started_at: Some(noon()),
        finished_at: None,
    });
    first.logs_copied = true;
    commit(&store, vec![write(&first)]).await;
    assert_eq!(store.open_attempts().await.unwrap(), [first.clone(), other.clone(), second.clone()], "not removed yet");
    first.removed = true;
    commit(&store, vec![write(&first)]).await;
    assert_eq!(store.attempts("p").await.unwrap(), [first, second.clone()]);
    assert_eq!(store.open_attempts().await.unwrap(), [other.clone(), second.clone()]);
    // Order inside a request holds: what is written after a forget stays.
    let forget = Write::ForgetAttempts { pod_uid: "p".to_owned() };
    commit(&store, vec![write(&second), forget.clone(), write(&attempt("p", 2, attempts::AttemptState::Creating))])
        .await;
    assert_eq!(store.attempts("p").await.unwrap().len(), 1);
    commit(&store, vec![forget]).await;
    assert!(store.attempts("p").await.unwrap().is_empty());
    // The wall clock was set back between the two (I-10).
    let early = Attempt { created_at: noon() - jiff::SignedDuration::from_secs(27), ..attempt("r", 1, second.state) };
    let before = attempt("r", 0, second.state);
    commit(&store, vec![write(&before), write(&early)]).await;
    assert_eq!(store.attempts("r").await.unwrap(), [before, early]);
    commit(&store, vec![Write::ForgetAttempts { pod_uid: "r".to_owned() }]).await;
    assert_eq!(store.open_attempts().await.unwrap(), [other]);
}

#[tokio::test]
async fn an_advance_uses_up_a_revision_and_changes_nothing() {
    let (_place, store) = open().await;
    let before = Revision(commit(&store, vec![put(&config_map("a"), "1")]).await[0]);
    let mut wakes = store.subscribe();
    assert_eq!(commit(&store, vec![Write::Advance]).await, Vec::<i64>::new());
    assert_eq!(store.latest(), Revision(before.0 + 1));
    assert!(wakes.has_changed().unwrap());
    wakes.mark_unchanged();
    let (changes, upto) = store.changes(None, before, 9).await.unwrap();
    assert_eq!((changes.len(), upto), (0, store.latest()));
    let list = store.list(&ListQuery::all(Kind::ConfigMap, 9)).await.unwrap();
    assert_eq!((list.revision, list.items[0].revision), (store.latest(), before));
    let next = commit(&store, vec![put(&config_map("a"), "2")]).await;
    assert_eq!(next, [before.0 + 2]);
}
