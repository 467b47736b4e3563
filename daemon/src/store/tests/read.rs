//! Lists, snapshots and the other questions; and that the planner answers them from the narrow index.

use super::*;

fn labelled(key: &Key, labels: &[(&str, &str)]) -> Index {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Index { labels, ..index(key) }
}

#[tokio::test]
async fn pages_of_a_list_show_one_state_whatever_happens_between() {
    // W-117
    let (_place, store) = open().await;
    let keys: Vec<Key> = (0..10).map(|number| config_map(&format!("n{number}"))).collect();
    commit(&store, keys.iter().map(|key| put(key, "old")).collect()).await;
    let first = store.list(&ListQuery::all(Kind::ConfigMap, 4)).await.unwrap();
    assert!(first.more);
    assert_eq!(render(&first.items), "n0@1 old, n1@2 old, n2@3 old, n3@4 old");
    let inserted = config_map("n3a");
    commit(&store, vec![put(&keys[5], "new"), put(&keys[5], "newer"), delete(&keys[6]), put(&inserted, "x")]).await;
    commit(&store, vec![delete(&keys[7]), put(&keys[7], "again"), delete(&keys[1])]).await;

    let mut seen = first.items;
    let mut more = first.more;
    while more {
        let last = &seen.last().unwrap().key;
        let query = ListQuery {
            at: Some(first.revision),
            after: Some((last.namespace.clone(), last.name.clone())),
            ..ListQuery::all(Kind::ConfigMap, 4)
        };
        assert_eq!(store.count(&query).await.unwrap(), 10 - seen.len() as u64);
        let chunk = store.list(&query).await.unwrap();
        assert_eq!(chunk.revision, first.revision);
        more = chunk.more;
        seen.extend(chunk.items);
    }
    let want: Vec<String> = (0..10).map(|number| format!("n{number}@{} old", number + 1)).collect();
    assert_eq!(render(&seen), want.join(", "));
}

#[tokio::test]
async fn a_list_of_an_empty_kind_still_tells_the_revision() {
    let (_place, store) = open().await;
    commit(&store, vec![put(&config_map("a"), "")]).await;
    let chunk = store.list(&ListQuery::all(Kind::Job, 10)).await.unwrap();
    assert_eq!((chunk.revision, chunk.items.len(), chunk.more), (Revision(1), 0, false));
}

#[tokio::test]
async fn filters_by_namespace_name_labels_and_involved_object_now_and_then() {
    let (_place, store) = open().await;
    let event = |namespace: &str, name: &str| Key::new(Kind::Event, namespace, name);
    let involved = |key: &Key, name: &str| Index {
        involved_uid: Some(format!("u-{name}")),
        involved_name: Some(name.to_owned()),
        ..labelled(key, &[("app", name), ("all", "yes")])
    };
    let keys = [event("a", "e1"), event("a", "e2"), event("b", "e1"), event("b", "e3")];
    let writes = keys.iter().zip(["x", "y", "x", "x"]);
    commit(&store, writes.map(|(key, name)| put_indexed(key, name, involved(key, name))).collect()).await;
    let at = store.latest();
    let all = ListQuery::all(Kind::Event, 10);
    let text = |text: &str| Some(text.to_owned());
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let cases = [
        (ListQuery { namespace: text("a"), ..all.clone() }, "e1@1 x, e2@2 y"),
        (ListQuery { name: text("e1"), ..all.clone() }, "e1@1 x, e1@3 x"),
        (ListQuery { namespace: text("b"), name: text("e1"), ..all.clone() }, "e1@3 x"),
        (ListQuery { labels: vec![label("app", "x")], ..all.clone() }, "e1@1 x, e1@3 x, e3@4 x"),
        (
            ListQuery { labels: vec![label("all", "yes"), label("app", "x")], namespace: text("b"), ..all.clone() },
            "e1@3 x, e3@4 x",
        ),
        (ListQuery { labels: vec![label("app", "x"), label("all", "no")], ..all.clone() }, ""),
        (ListQuery { involved_uid: text("u-y"), ..all.clone() }, "e2@2 y"),
        (ListQuery { involved_name: text("x"), namespace: text("b"), ..all.clone() }, "e1@3 x, e3@4 x"),
        (ListQuery { involved_uid: text("u-x"), involved_name: text("y"), ..all.clone() }, ""),
        (ListQuery { after: Some(label("a", "e2")), ..all.clone() }, "e1@3 x, e3@4 x"),
        (ListQuery { after: Some(label("a", "e1")), namespace: text("a"), ..all.clone() }, "e2@2 y"),
        (ListQuery { after: Some(label("a", "e1")), namespace: text("b"), ..all.clone() }, "e1@3 x, e3@4 x"),
        (ListQuery { after: Some(label("b", "e1")), namespace: text("a"), ..all.clone() }, ""),
        (
            ListQuery { limit: 1, after: Some(label("a", "e1")), labels: vec![label("app", "x")], ..all.clone() },
            "e1@3 x",
        ),
    ];
    let check_all = async |at: Option<Revision>| {
        for (query, want) in &cases {
            let query = ListQuery { at, ..query.clone() };
            assert_eq!(render(&store.list(&query).await.unwrap().items), *want, "{query:?}");
            if query.limit > 1 {
                let count = if want.is_empty() { 0 } else { want.split(", ").count() };
                assert_eq!(store.count(&query).await.unwrap(), count as u64, "{query:?}");
            }
        }
    };
    check_all(None).await;
    check_all(Some(at)).await;
    // Then everything changes: labels, involved objects, existence. The past stays.
    let mut writes: Vec<Write> = keys.iter().map(|key| put_indexed(key, "z", involved(key, "z"))).collect();
    writes.push(delete(&keys[0]));
    writes.push(put_indexed(&event("a", "e0"), "x", involved(&event("a", "e0"), "x")));
    commit(&store, writes).await;
    check_all(Some(at)).await;
}

#[tokio::test]
async fn a_job_snapshot_holds_the_job_its_unfinished_pods_and_those_it_may_adopt() {
    let (_place, store) = open().await;
    let job = Key::new(Kind::Job, "default", "j");
    let job_body = r#"{"metadata":{"name":"j"},"spec":{"selector":{"matchLabels":{"app":"x","job":"j"}}}}"#;
    let put_job = Write::Put { key: job.clone(), index: index(&job), body: job_body.to_owned() };
    let pod = |name: &str, change: &dyn Fn(&mut Index)| {
        let key = Key::new(Kind::Pod, "default", name);
        let mut index = Index { controller_uid: Some("uid-default-j".to_owned()), ..index(&key) };
        change(&mut index);
        put_indexed(&key, name, index)
    };
    let labels = |text: &[(&str, &str)]| -> Vec<(String, String)> {
        text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let matching = labels(&[("app", "x"), ("job", "j"), ("more", "1")]);
    let elsewhere = Key::new(Kind::Pod, "other", "elsewhere");
    commit(
        &store,
        vec![
            put_job,
            pod("running", &|_| {}),
            pod("counted", &|index| index.finished = true),
            pod("uncounted", &|index| (index.finished, index.tracking) = (true, true)),
            pod("theirs", &|index| index.controller_uid = Some("another".to_owned())),
            pod("orphan", &|index| (index.controller_uid, index.labels) = (None, matching.clone())),
            pod("stranger", &|index| (index.controller_uid, index.labels) = (None, labels(&[("app", "x")]))),
            put_indexed(&elsewhere, "", Index { labels: matching.clone(), ..index(&elsewhere) }),
        ],
    )
    .await;
    let snapshot = store.job_snapshot(&job, None).await.unwrap().unwrap();
    let names = |objects: &[Stored]| {
        let names: Vec<_> = objects.iter().map(|stored| stored.key.name.as_str()).collect();
        names.join(" ")
    };
    assert_eq!(snapshot.job.revision, Revision(1));
    assert_eq!(names(&snapshot.pods), "running uncounted");
    assert_eq!(names(&snapshot.orphans), "orphan");

    // A selector without matchLabels leaves everything to the caller.
    commit(&store, vec![Write::Put { key: job.clone(), index: index(&job), body: r#"{"metadata":{}}"#.to_owned() }])
        .await;
    let snapshot = store.job_snapshot(&job, None).await.unwrap().unwrap();
    assert_eq!(names(&snapshot.orphans), "orphan stranger");
    assert!(store.job_snapshot(&Key::new(Kind::Job, "default", "absent"), None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_later_job_snapshot_holds_what_changed_and_tells_the_rest_by_revision() {
    let (_place, store) = open().await;
    let job = Key::new(Kind::Job, "default", "j");
    let pod = |name: &str, change: &dyn Fn(&mut Index)| {
        let key = Key::new(Kind::Pod, "default", name);
        let mut index = Index { controller_uid: Some("uid-default-j".to_owned()), ..index(&key) };
        change(&mut index);
        put_indexed(&key, name, index)
    };
    let orphan = |name: &str| pod(name, &|index| index.controller_uid = None);
    let own = |name: &str| pod(name, &|_| {});
    commit(&store, vec![put(&job, "j"), own("a"), own("b"), own("c"), orphan("old")]).await;
    let first = store.job_snapshot(&job, None).await.unwrap().unwrap();
    assert_eq!((first.revision, render(&first.pods).as_str()), (Revision(5), "a@2 a, b@3 b, c@4 c"));
    assert_eq!(first.unchanged, []);

    commit(&store, vec![own("b"), pod("c", &|index| index.finished = true), own("d"), orphan("new")]).await;
    let second = store.job_snapshot(&job, Some(first.revision)).await.unwrap().unwrap();
    assert_eq!((second.revision, second.job.revision), (Revision(9), Revision(1)));
    assert_eq!(render(&second.pods), "b@6 b, d@8 d");
    assert_eq!(second.unchanged, [Revision(2)], "b changed and c is finished");
    assert_eq!(render(&second.orphans), "new@9 new");

    let read = store.versions(&[Revision(2), Revision(8), Revision(77)]).await.unwrap();
    assert_eq!(render(&read), "a@2 a, d@8 d");
}

#[tokio::test]
async fn finds_by_uid_and_what_is_active() {
    let (_place, store) = open().await;
    let pod = |name: &str| Key::new(Kind::Pod, "default", name);
    let [a, b, c, d] = [pod("a"), pod("b"), pod("c"), pod("d")];
    let finished = |key: &Key| Index { finished: true, ..index(key) };
    commit(
        &store,
        vec![
            put(&a, ""),
            put_indexed(&b, "", finished(&b)),
            put_indexed(&c, "", Index { tracking: true, ..finished(&c) }),
            put_indexed(&d, "", Index { deleting: true, ..finished(&d) }),
        ],
    )
    .await;
    assert_eq!(store.active(Kind::Pod).await.unwrap(), [a, c, d]);
    assert!(store.active(Kind::Job).await.unwrap().is_empty());
    assert_eq!(store.get_by_uid(Kind::Pod, "uid-default-b").await.unwrap().unwrap().key, b);
    assert!(store.get_by_uid(Kind::Job, "uid-default-b").await.unwrap().is_none());
}

#[tokio::test]
async fn questions_are_answered_from_their_index() {
    // I-5: the cost must not grow with history. The planner has no statistics, so its choice does not depend on the data.
    let (place, store) = open().await;
    store.close().await;
    let mut connection = schema::open(&place.path()).await.unwrap();
    let mut check = async |sql: String, want: &[&str], not: &[&str]| {
        use sqlx::Row as _;
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>(3)).collect();
        let plan = plan.join("\n");
        for part in want {
            assert!(plan.contains(part), "{part} is missing in\n{plan}\nof {sql}");
        }
        for part in not {
            assert!(!plan.contains(part), "{part} is in\n{plan}\nof {sql}");
        }
    };
    let all = ListQuery::all(Kind::Event, 10);
    let text = |text: &str| Some(text.to_owned());
    let list = |query: ListQuery| reader::list_text(&query);
    let scans = ["SCAN o", "SCAN v", "SCAN c", "SCAN p", "SCAN l", "SCAN labels", "SCAN objects", "SCAN versions"];
    check(list(all.clone()), &["objects_by_key (kind=?)"], &["SCAN o", "TEMP B-TREE"]).await;
    check(
        list(ListQuery { after: Some(("a".to_owned(), "b".to_owned())), ..all.clone() }),
        &["objects_by_key (kind=? AND (namespace,name)>(?,?))"],
        &["SCAN o", "TEMP B-TREE"],
    )
    .await;
    check(
        list(ListQuery { namespace: text("a"), after: Some(("a".to_owned(), "b".to_owned())), ..all.clone() }),
        &["objects_by_key (kind=? AND namespace=? AND name>?)"],
        &["SCAN o", "TEMP B-TREE"],
    )
    .await;
    check(
        list(ListQuery { involved_uid: text("u"), namespace: text("a"), ..all.clone() }),
        &["objects_by_involved (involved_uid=?)"],
        &["SCAN o"],
    )
    .await;
    check(
        list(ListQuery { involved_name: text("u"), namespace: text("a"), ..all.clone() }),
        &["objects_by_involved_name (involved_name=?)"],
        &["SCAN o"],
    )
    .await;
    check(
        list(ListQuery { labels: vec![("a".to_owned(), "b".to_owned())], namespace: text("a"), ..all.clone() }),
        &["labels_by_value (key=? AND value=?)"],
        &["SCAN o", "SCAN l"],
    )
    .await;
    check(
        list(ListQuery { at: Some(Revision(5)), ..all.clone() }),
        &["objects_by_key (kind=?)", "versions_by_kind (kind=? AND revision>?)"],
        &["SCAN o", "SCAN c"],
    )
    .await;
    check(reader::ACTIVE.to_owned(), &["objects_active (kind=?)"], &["TEMP B-TREE"]).await;
    check(reader::DUE.to_owned(), &["objects_due (kind=? AND due_at<?)", "objects_due (kind=? AND due_at>?)"], &[])
        .await;
    check(
        job_snapshot::WHOLE.to_owned(),
        &[
            "objects_by_controller (controller_uid=?)",
            "labels_by_value (key=? AND value=?)",
            "objects_orphaned_pods (namespace=?)",
        ],
        &["SCAN o ", "SCAN l ", "SCAN v "],
    )
    .await;
    check(
        job_snapshot::CHANGED.to_owned(),
        &["objects_by_controller (controller_uid=?)", "objects_orphaned_pods (namespace=? AND revision>?)"],
        &["SCAN o ", "SCAN v "],
    )
    .await;
    check(reader::VERSIONS.to_owned(), &["v USING INTEGER PRIMARY KEY (rowid=?)"], &scans).await;
    check(reader::CHANGES_OF_KIND.to_owned(), &["versions_by_kind (kind=? AND revision>? AND revision<?)"], &scans)
        .await;
    check(
        reader::OWNERLESS.to_owned(),
        &["owners_by_owner (owner_uid>?)", "objects_by_uid (kind=? AND uid=?)"],
        &["SCAN o", "TEMP B-TREE"],
    )
    .await;
    check(reader::MISSING.to_owned(), &["objects_by_uid (kind=? AND uid=?)"], &["SCAN o"]).await;
    check(reader::OLDEST_FINISHED.to_owned(), &["o USING INTEGER PRIMARY KEY (rowid>?)"], &["TEMP B-TREE"]).await;
    check(reader::DEPENDENTS.to_owned(), &["owners_by_owner (owner_uid=? AND object>?)"], &scans).await;
    check(reader::GET_BY_UID.to_owned(), &["objects_by_uid (kind=? AND uid=?)"], &scans).await;
    check(commit::SELECT_CURRENT.to_owned(), &["objects_by_key (kind=? AND namespace=? AND name=?)"], &scans).await;
    check(attempts::SELECT_OPEN.to_owned(), &["attempts_open"], &["SCAN attempts USING PRIMARY"]).await;
}

#[tokio::test]
async fn finished_objects_come_oldest_first_and_those_being_deleted_not_at_all() {
    let (_place, store) = open().await;
    let keys: Vec<Key> = ["c", "a", "d", "b", "e"].map(config_map).into();
    let mut writes = Vec::new();
    for (key, (finished, deleting)) in
        keys.iter().zip([(true, false), (true, false), (false, false), (true, true), (true, false)])
    {
        writes.push(put_indexed(key, "x", Index { finished, deleting, ..index(key) }));
    }
    commit(&store, writes).await;
    commit(&store, vec![put_indexed(&keys[0], "changed", Index { finished: true, ..index(&keys[0]) })]).await;
    assert_eq!(store.count_finished(Kind::ConfigMap).await.unwrap(), 3);
    let (first, last) = store.oldest_finished(Kind::ConfigMap, 0, 2).await.unwrap();
    assert_eq!(render(&first), "c@6 changed, a@2 x");
    let (rest, last) = store.oldest_finished(Kind::ConfigMap, last, 2).await.unwrap();
    assert_eq!(render(&rest), "e@5 x");
    assert!(store.oldest_finished(Kind::ConfigMap, last, 2).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn missing_are_the_uids_that_nothing_of_the_kind_has() {
    let (_place, store) = open().await;
    let keys = ["a", "b"].map(config_map);
    commit(&store, keys.iter().map(|key| put(key, "x")).collect()).await;
    let uids = [index(&keys[1]).uid, "other".to_owned(), index(&keys[0]).uid];
    assert_eq!(store.missing(Kind::ConfigMap, &uids).await.unwrap(), ["other"]);
    assert_eq!(store.missing(Kind::Pod, &uids).await.unwrap(), uids);
    assert_eq!(store.missing(Kind::Pod, &[]).await.unwrap(), Vec::<String>::new());
}
