//! What becomes of a dependent when one of its owners is gone or going (J-2003 to J-2005, W-99 to W-101). Pure.
#![deny(clippy::disallowed_methods)]

use super::super::edit::{Meta, Owner};

/// The finalizer of an object whose dependents go first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are to be set free first.
pub(super) const ORPHAN: &str = "orphan";

/// How an owner stands, seen from its dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It is there and keeps its dependents. Also an owner of a kind that is not served here: nothing is known of it, so its
    /// dependents are left alone.
    Live,
    /// There is no object with this name and uid.
    Absent,
    /// It is being deleted and waits for its dependents (J-2004).
    Foreground,
    /// It is being deleted and its dependents are to live on (J-2005).
    Orphan,
}

impl OwnerState {
    /// How an owner that is there stands.
    pub(super) fn of(owner: &Meta) -> Self {
        if !owner.is_deleting() {
            Self::Live
        } else if owner.has_finalizer(ORPHAN) {
            Self::Orphan
        } else if owner.has_finalizer(FOREGROUND) {
            Self::Foreground
        } else {
            // Other finalizers or a grace period hold it: its dependents go when it is gone.
            Self::Live
        }
    }
}

/// What becomes of one dependent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// Loses the references to the owners with these uids and lives on.
    Release(Vec<String>),
    /// Goes. How its own dependents go follows from its finalizers, or is `Foreground` when its owner waits for it.
    Delete {
        foreground: bool,
    },
    /// Stops holding up its owners: it would wait for one of them, and they wait for it.
    Unblock,
}

/// What becomes of a dependent, given how each of its owners stands.
pub(super) fn decide(dependent: &Meta, state: impl Fn(&Owner) -> OwnerState) -> Fate {
    let mut live = false;
    let mut foreground = false;
    let mut unwanted = Vec::new();
    let mut orphaned = Vec::new();
    for owner in &dependent.owner_references {
        match state(owner) {
            OwnerState::Live => live = true,
            OwnerState::Absent => unwanted.push(owner.uid.clone()),
            OwnerState::Foreground => {
                foreground = true;
                unwanted.push(owner.uid.clone());
            }
            OwnerState::Orphan => orphaned.push(owner.uid.clone()),
        }
    }
    // An owner that sets its dependents free wins over nothing: with no other owner left the dependent lives on by itself.
    let keeps = live || unwanted.is_empty();
    if keeps {
        orphaned.append(&mut unwanted);
        if orphaned.is_empty() { Fate::Keep } else { Fate::Release(orphaned) }
    } else if !orphaned.is_empty() {
        // First freed of the one owner; whether the others let it live is seen at the next look, as upstream does.
        Fate::Release(orphaned)
    } else if dependent.is_deleting() {
        // Deleted once already; what holds it is its own finalizers' or its node's business.
        Fate::Keep
    } else {
        Fate::Delete { foreground }
    }
}

/// What becomes of a dependent that was to go in the foreground, in view of its own dependents (W-100). Only what has any needs
/// to wait; one of which some are waited for already closes a circle of owners, which is cut here, as upstream does.
pub(super) fn decide_foreground<'a>(dependent: &Meta, own: impl Iterator<Item = &'a Meta>) -> Fate {
    let (mut any, mut circle) = (false, false);
    for meta in own {
        any = true;
        circle |= OwnerState::of(meta) == OwnerState::Foreground;
    }
    if circle && dependent.owner_references.iter().any(|owner| owner.block_owner_deletion) {
        Fate::Unblock
    } else {
        Fate::Delete { foreground: any }
    }
}

/// Whether an owner in foreground deletion must wait for this dependent (J-2004).
pub(super) fn blocks(dependent: &Meta, owner_uid: &str) -> bool {
    dependent.owner_references.iter().any(|owner| owner.uid == owner_uid && owner.block_owner_deletion)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `owners`: one letter per owner reference: live, absent, foreground, orphan. The uid is letter and place.
    #[track_caller]
    fn check(owners: &str, deleting: bool, want: &str) {
        let dependent = Meta {
            owner_references: owners
                .chars()
                .enumerate()
                .map(|(place, letter)| Owner { uid: format!("{letter}{place}"), ..Owner::default() })
                .collect(),
            deletion_timestamp: deleting.then(|| "2026-01-01T00:00:00Z".to_owned()),
            ..Meta::default()
        };
        let fate = decide(&dependent, |owner| match owner.uid.as_bytes()[0] {
            b'l' => OwnerState::Live,
            b'a' => OwnerState::Absent,
            b'f' => OwnerState::Foreground,
            b'o' => OwnerState::Orphan,
            other => panic!("{other}"),
        });
        let got = match fate {
            Fate::Keep => "keep".to_owned(),
            Fate::Release(uids) => format!("release {}", uids.join(" ")),
            Fate::Delete { foreground: true } => "delete foreground".to_owned(),
            Fate::Delete { foreground: false } => "delete".to_owned(),
            Fate::Unblock => "unblock".to_owned(),
        };
        assert_eq!(got, want, "owners {owners:?}, deleting: {deleting}");
    }

    #[test]
    fn a_dependent_goes_with_its_last_owner() {
        check("", false, "keep");
        check("l", false, "keep");
        check("a", false, "delete");
        check("aa", false, "delete");
        check("a", true, "keep");
    }

    #[test]
    fn a_dependent_with_a_live_owner_stays_and_loses_the_dead_references() {
        check("la", false, "release a1");
        check("lf", false, "release f1");
        check("alf", false, "release a0 f2");
        check("la", true, "release a1");
    }

    #[test]
    fn j_2004_a_dependent_goes_when_its_owner_waits_for_it() {
        check("f", false, "delete foreground");
        check("af", false, "delete foreground");
        check("f", true, "keep");
    }

    #[test]
    fn w_100_a_circle_of_owners_is_cut_where_it_closes() {
        let waits = Meta {
            finalizers: vec![FOREGROUND.to_owned()],
            deletion_timestamp: Some("2026-01-01T00:00:00Z".to_owned()),
            ..Meta::default()
        };
        let free = Meta::default();
        let owned = |block_owner_deletion| Meta {
            owner_references: vec![Owner { block_owner_deletion, ..Owner::default() }],
            ..Meta::default()
        };
        for (blocks, own, want) in [
            (true, vec![], Fate::Delete { foreground: false }),
            (true, vec![&free], Fate::Delete { foreground: true }),
            (true, vec![&free, &waits], Fate::Unblock),
            (false, vec![&waits], Fate::Delete { foreground: true }),
        ] {
            assert_eq!(decide_foreground(&owned(blocks), own.into_iter()), want, "blocks: {blocks}");
        }
    }

    #[test]
    fn j_2005_an_orphaned_dependent_lives_on() {
        check("o", false, "release o0");
        check("o", true, "release o0");
        check("lo", false, "release o1");
        check("oa", false, "release o0");
    }

    #[test]
    fn an_owner_is_judged_by_its_finalizers_only_while_it_is_being_deleted() {
        let owner = |finalizers: &[&str], deleting: bool| Meta {
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
            deletion_timestamp: deleting.then(String::new),
            ..Meta::default()
        };
        assert_eq!(OwnerState::of(&owner(&[FOREGROUND], false)), OwnerState::Live);
        assert_eq!(OwnerState::of(&owner(&[FOREGROUND], true)), OwnerState::Foreground);
        assert_eq!(OwnerState::of(&owner(&[ORPHAN], true)), OwnerState::Orphan);
        assert_eq!(OwnerState::of(&owner(&["example.com/other"], true)), OwnerState::Live);
    }
}
