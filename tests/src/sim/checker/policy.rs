//! Policies of jobs, judged once more from the words of sections 11 and 12 of the job rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::pods::Pod;

/// What the first matching rule of a pod failure policy says (J-1101); none: no rule matches, and the failure counts.
#[must_use]
pub(super) fn judge<'a>(rules: &'a [Value], pod: &Pod) -> Option<&'a str> {
    let rule = rules.iter().find(|rule| {
        if let Some(codes) = rule.get("onExitCodes") {
            let named = codes["containerName"].as_str();
            let listed = |code: i64| codes["values"].as_array().is_some_and(|all| all.contains(&code.into()));
            let is_in = codes["operator"] == "In";
            // J-1103
            let mut candidates = pod.exits.iter().filter(|(name, _)| named.is_none_or(|named| named == name));
            return candidates.any(|(_, code)| listed(*code) == is_in);
        }
        // J-1104
        let patterns = rule["onPodConditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        patterns.iter().any(|pattern| {
            let asked = (pattern["type"].as_str().unwrap_or_default(), pattern["status"].as_str().unwrap_or("True"));
            pod.conditions.iter().any(|(name, status)| (name.as_str(), status.as_str()) == asked)
        })
    })?;
    rule["action"].as_str()
}

/// Whether these indexes are enough for a success policy (J-1201, J-1202).
#[must_use]
pub(super) fn is_met(rules: &[Value], succeeded: &BTreeSet<i64>, listed: impl Fn(&str) -> BTreeSet<i64>) -> bool {
    let is_met = |rule: &Value| {
        let count = rule["succeededCount"].as_u64().and_then(|count| usize::try_from(count).ok());
        let Some(text) = rule["succeededIndexes"].as_str() else {
            return count.is_some_and(|count| succeeded.len() >= count);
        };
        let listed = listed(text);
        let inside = listed.intersection(succeeded).count();
        !listed.is_empty() && (inside == listed.len() || count.is_some_and(|count| inside >= count))
    };
    !succeeded.is_empty() && rules.iter().any(is_met)
}
