//! What is known of a container without asking, after what came by of it.

use std::collections::BTreeMap;

use super::{
    super::{
        containers::{Containers, label},
        observed::Seen,
    },
    at,
};
use crate::engine::{Container, ContainerStatus, Event, EventAction};

const ID: &str = "c0";

fn labels() -> BTreeMap<String, String> {
    let pairs = [
        (label::NAMESPACE, "default"),
        (label::POD, "p"),
        (label::UID, "u"),
        (label::CONTAINER, "main"),
        (label::ATTEMPT, "0"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn event(action: EventAction, second: i64) -> Event {
    Event { action, id: ID.to_owned(), labels: labels(), at: at(second) }
}

fn running() -> Container {
    Container {
        id: ID.to_owned(),
        name: "n".to_owned(),
        labels: labels(),
        status: ContainerStatus::Running,
        exit_code: 0,
        error: String::new(),
        oom_killed: false,
        pid: 7,
        started_at: Some(at(1)),
        finished_at: None,
        image: "i".to_owned(),
        image_id: "sha256:1".to_owned(),
        ip: "172.17.0.2".to_owned(),
    }
}

enum Came {
    Event(EventAction),
    /// An inspection, asked for and answered.
    Inspection,
    /// One that was asked for before the container's last event came by.
    LateInspection,
}

use Came::{Event as Told, Inspection, LateInspection};

fn die(exit_code: i64) -> Came {
    Told(EventAction::Die { exit_code })
}

#[track_caller]
fn check(came: Vec<Came>, want: Option<ContainerStatus>) {
    let containers = Containers::default();
    containers.connected(Vec::new(), false);
    let _ = containers.apply(&event(EventAction::Create, 0));
    let early = containers.ticket(ID);
    for (second, one) in (1..).zip(came) {
        match one {
            Told(action) => _ = containers.apply(&event(action, second)),
            Inspection => containers.inspected(containers.ticket(ID), &running(), at(second)),
            LateInspection => containers.inspected(early, &running(), at(second)),
        }
    }
    let seen = containers.current(ID).map(|seen| match seen {
        Seen::Present(view) => view.status,
        other => panic!("{other:?}"),
    });
    assert_eq!(seen, want);
}

/// D-502: an inspection at that moment would wait for the engine to take the network apart.
#[test]
fn a_success_that_was_watched_is_known_without_asking_and_nothing_else_is() {
    use ContainerStatus::{Exited, Running};
    let started = || Told(EventAction::Start);
    check(vec![started()], None);
    check(vec![started(), Inspection], Some(Running));
    check(vec![started(), Inspection, die(0)], Some(Exited));
    check(vec![started(), Inspection, die(1)], None);
    check(vec![started(), Inspection, die(137)], None);
    check(vec![started(), Inspection, Told(EventAction::Oom), die(0)], None);
    // Never seen running, or not since its last event.
    check(vec![started(), die(0)], None);
    check(vec![Inspection, started(), die(0)], None);
    // What was asked before the end does not undo it, and is asked again.
    check(vec![started(), Inspection, die(0), LateInspection], None);
}

#[test]
fn the_end_is_the_events_with_what_was_inspected_before() {
    let containers = Containers::default();
    containers.connected(Vec::new(), false);
    let _ = containers.apply(&event(EventAction::Start, 1));
    containers.inspected(containers.ticket(ID), &running(), at(2));
    let _ = containers.apply(&event(EventAction::Die { exit_code: 0 }, 5));
    let ended = Container { status: ContainerStatus::Exited, pid: 0, finished_at: Some(at(5)), ..running() };
    assert_eq!(containers.current(ID), Some(Seen::Present(Box::new(ended))));
}

/// As this process had it created.
fn made() -> Container {
    Container { status: ContainerStatus::Created, pid: 0, started_at: None, ip: String::new(), ..running() }
}

/// D-502: nothing was missed of its life, so nothing is left to ask, although nobody looked while it ran.
#[test]
fn a_success_whose_whole_life_was_watched_is_known_without_asking() {
    let watch = |code, events: &[EventAction]| {
        let containers = Containers::default();
        containers.connected(Vec::new(), false);
        let _ = containers.apply(&event(EventAction::Create, 0));
        containers.created(made());
        for (second, action) in (1..).zip(events) {
            let _ = containers.apply(&event(action.clone(), second));
        }
        let _ = containers.apply(&event(EventAction::Die { exit_code: code }, 5));
        containers
    };
    let ended =
        Container { status: ContainerStatus::Exited, started_at: Some(at(1)), finished_at: Some(at(5)), ..made() };
    let known = Some(Seen::Present(Box::new(ended)));
    let containers = watch(0, &[EventAction::Start]);
    assert_eq!(containers.current(ID), known);
    // The answer to start comes after its end.
    containers.started(ID);
    assert_eq!(containers.current(ID), known);
    assert_eq!(watch(1, &[EventAction::Start]).current(ID), None);
    assert_eq!(watch(0, &[EventAction::Start, EventAction::Oom]).current(ID), None);
    assert_eq!(watch(0, &[]).current(ID), None);
    // A stranger starts it again.
    let _ = containers.apply(&event(EventAction::Start, 6));
    assert_eq!(containers.current(ID), None);
}

/// D-506: what happened in the gap is never announced.
#[test]
fn a_success_is_asked_for_if_the_stream_was_cut_before() {
    for cut_at in 0..3 {
        let containers = Containers::default();
        containers.connected(Vec::new(), false);
        for (step, action) in (0..).zip([EventAction::Create, EventAction::Start, EventAction::Die { exit_code: 0 }]) {
            if step == cut_at {
                containers.disconnected();
                containers.connected(Vec::new(), false);
            }
            if step == 1 {
                containers.created(made());
            }
            let _ = containers.apply(&event(action, step));
        }
        let known = containers.current(ID).is_some();
        assert_eq!(known, cut_at == 0, "cut before event {cut_at}");
    }
}

#[test]
fn what_was_seen_before_start_was_answered_is_old() {
    let containers = Containers::default();
    containers.connected(Vec::new(), false);
    containers.created(made());
    containers.inspected(containers.ticket(ID), &made(), at(0));
    assert_eq!(containers.current(ID), Some(Seen::Present(Box::new(made()))));
    containers.started(ID);
    assert_eq!(containers.current(ID), None);
}

#[tokio::test]
async fn who_waits_for_an_end_hears_of_it_when_it_comes() {
    let containers = Containers::default();
    containers.connected(Vec::new(), false);
    let _ = containers.apply(&event(EventAction::Create, 0));
    containers.created(made());
    let _ = containers.apply(&event(EventAction::Start, 1));
    let end = async {
        tokio::task::yield_now().await;
        let _ = containers.apply(&event(EventAction::Die { exit_code: 0 }, 2));
    };
    let (told, ()) = tokio::join!(containers.told(ID), end);
    assert_eq!(Some(told), containers.current(ID));
}
