//! Success policy (section 12): which indexes are enough.
#![deny(clippy::disallowed_methods)]

use jobd_api::indexes::Indexes;
use k8s_openapi::api::batch::v1::{SuccessPolicy, SuccessPolicyRule};

/// The position of the first rule that the succeeded indexes satisfy. No success at all satisfies nothing (J-1201).
#[must_use]
pub fn first_met(policy: &SuccessPolicy, succeeded: &Indexes, completions: i32) -> Option<usize> {
    if succeeded.is_empty() {
        return None;
    }
    policy.rules.iter().position(|rule| is_met(rule, succeeded, completions))
}

/// J-1202.
fn is_met(rule: &SuccessPolicyRule, succeeded: &Indexes, completions: i32) -> bool {
    let count = rule.succeeded_count.map(|count| usize::try_from(count).unwrap_or_default());
    let Some(text) = &rule.succeeded_indexes else {
        return count.is_some_and(|count| succeeded.len() >= count);
    };
    let listed = Indexes::parse_stored(text, completions);
    if listed.is_empty() {
        return false;
    }
    let inside = listed.count_common(succeeded);
    inside == listed.len() || count.is_some_and(|count| inside >= count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of T-5, completions 10: rules as `indexes;count`, `-` for absent.
    #[track_caller]
    fn check(rules: &[&str], succeeded: &str, want: Option<usize>) {
        let rules = rules
            .iter()
            .map(|rule| {
                let (indexes, count) = rule.split_once(';').unwrap();
                SuccessPolicyRule {
                    succeeded_indexes: (indexes != "-").then(|| indexes.to_owned()),
                    succeeded_count: (count != "-").then(|| count.parse().unwrap()),
                }
            })
            .collect();
        assert_eq!(first_met(&SuccessPolicy { rules }, &Indexes::parse_stored(succeeded, 10), 10), want);
    }

    /// J-1201, J-1202.
    #[test]
    fn rules_follow_t5() {
        check(&["0-2;-"], "0,1,2,4", Some(0));
        check(&["0-2;-"], "0,1,4", None);
        check(&["1-4;3"], "1,3,5", None);
        check(&["1-4;3"], "1,3,4,5", Some(0));
        check(&["-;2"], "7,9", Some(0));
        check(&["-;2"], "7", None);
        check(&["9;-", "4,6;-"], "4,5,6", Some(1));
        check(&["0;-", "1;-"], "0,1", Some(0));
        check(&[";-", "-;1"], "3", Some(1));
        check(&["-;0"], "", None);
        check(&["-;0"], "5", Some(0));
        check(&["0-3;0"], "9", Some(0));
    }
}
