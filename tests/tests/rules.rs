//! The table of rules and tests is complete, and it is the one in the repository.

use std::path::{Path, PathBuf};

use jobd_tests::rules::{Number, Rules, show};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(numbers: Vec<Number>) -> Vec<String> {
    numbers.into_iter().map(show).collect()
}

#[test]
fn every_cited_rule_is_in_a_list() {
    assert_eq!(names(Rules::read(&root()).unwrap().unknown()), Vec::<String>::new());
}

/// Probes and lifecycle hooks may still be refused at creation, and then nothing tells of them.
const OF_PROBES_AND_HOOKS: [Number; 2] = [('J', 2583), ('J', 2586)];

#[test]
fn every_rule_is_proved_by_a_test() {
    let mut unproved = Rules::read(&root()).unwrap().unproved();
    unproved.retain(|number| !OF_PROBES_AND_HOOKS.contains(number));
    assert_eq!(names(unproved), Vec::<String>::new());
}

#[test]
fn the_table_in_the_repository_is_the_one_of_these_tests() {
    let written = std::fs::read_to_string(root().join("RULES.md")).unwrap();
    assert!(written == Rules::read(&root()).unwrap().render(), "RULES.md is stale: run `make rules`");
}
