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

#[test]
fn every_rule_is_proved_by_a_test() {
    assert_eq!(names(Rules::read(&root()).unwrap().unproved()), Vec::<String>::new());
}

#[test]
fn an_end_to_end_test_names_each_rule_that_it_proves() {
    let found: Vec<String> = Rules::read(&root()).unwrap().sweeping.into_iter().map(|test| test.name).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_table_in_the_repository_is_the_one_of_these_tests() {
    let written = std::fs::read_to_string(root().join("RULES.md")).unwrap();
    assert!(written == Rules::read(&root()).unwrap().render(), "RULES.md is stale: run `make rules`");
}
