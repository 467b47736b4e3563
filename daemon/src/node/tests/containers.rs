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
