//! Stored bodies as text: the revision is put in on the way out, without parsing. Bodies were written by this program.

/// The body with `metadata.resourceVersion` in it.
///
/// A body without a `metadata` object comes back as it is: no object of ours lacks one, and whoever parses it will say so.
pub(super) fn with_revision(body: &str, revision: i64) -> String {
    let Some(at) = find_metadata(body.as_bytes()) else { return body.to_owned() };
    let (head, tail) = body.split_at(at);
    let comma = if tail.trim_ascii_start().starts_with('}') { "" } else { "," };
    format!("{head}\"resourceVersion\":\"{revision}\"{comma}{tail}")
}

/// The text of the top-level `metadata` object with `resourceVersion` in it; none in a body without.
pub(super) fn metadata_with_revision(body: &str, revision: i64) -> Option<String> {
    let begin = find_metadata(body.as_bytes())?.checked_sub(1)?;
    let mut objects = serde_json::Deserializer::from_str(&body[begin..]).into_iter::<serde::de::IgnoredAny>();
    objects.next()?.ok()?;
    let members = body[begin + 1..begin + objects.byte_offset()].trim_ascii_start();
    let comma = if members.starts_with('}') { "" } else { "," };
    Some(format!("{{\"resourceVersion\":\"{revision}\"{comma}{members}"))
}

/// Where the members of the top-level `metadata` object begin: just after its brace.
///
/// Keys are stored sorted, so this looks at `apiVersion`, `kind` and then finds it; strings and nested values before it are
/// skipped properly all the same, so that a `metadata` inside a value is never taken for the object's own.
fn find_metadata(json: &[u8]) -> Option<usize> {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let end = string_end(json, at)?;
                if depth == 1 && &json[at..end] == b"\"metadata\"" {
                    let colon = skip_space(json, end);
                    let value = skip_space(json, colon + 1);
                    // A value `"metadata"` has no colon after it.
                    if json.get(colon) == Some(&b':') && json.get(value) == Some(&b'{') {
                        return Some(value + 1);
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Just after the closing quote of the string that opens at `start`.
fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match *json.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_revision_into_the_objects_own_metadata() {
        for (body, want) in [
            (
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{}}"#,
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#,
            ),
            (r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":"7"}}"#),
            (r#"{ "metadata" : { } }"#, r#"{ "metadata" : {"resourceVersion":"7" } }"#),
            // Not the object's own: nested, in a list, inside a text, or a value.
            (
                r#"{"data":{"metadata":{"x":1}},"items":[{"metadata":{}}],"metadata":{"name":"a"}}"#,
                r#"{"data":{"metadata":{"x":1}},"items":[{"metadata":{}}],"metadata":{"resourceVersion":"7","name":"a"}}"#,
            ),
            (
                r#"{"data":"\"metadata\":{","kind":"metadata","metadata":{"name":"\\"}}"#,
                r#"{"data":"\"metadata\":{","kind":"metadata","metadata":{"resourceVersion":"7","name":"\\"}}"#,
            ),
            // Damaged bodies come back as they are.
            (r#"{"metadata":null}"#, r#"{"metadata":null}"#),
            (r#"{"kind":"Pod"}"#, r#"{"kind":"Pod"}"#),
            (r#"{"metadata"#, r#"{"metadata"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
            ("}}", "}}"),
            ("", ""),
        ] {
            assert_eq!(with_revision(body, 7), want, "{body}");
        }
        assert_eq!(metadata_with_revision(r#"{"metadata":{}}"#, 7).as_deref(), Some(r#"{"resourceVersion":"7"}"#));
        assert_eq!(metadata_with_revision(r#"{"metadata":{"a""#, 7), None);
        assert_eq!(metadata_with_revision(r#"{"kind":"Pod"}"#, 7), None);
    }

    proptest::proptest! {
        #[test]
        fn is_what_parsing_would_give(name in "\\PC{0,12}", key in "\\PC{0,12}", value in "\\PC{0,12}") {
            let object = serde_json::json!({
                "a": {&key: {"metadata": {}}}, "kind": value, "metadata": {"name": name}, "z": [&key, {"metadata": 1}],
            });
            let mut want = object.clone();
            want["metadata"]["resourceVersion"] = "12".into();
            let have: serde_json::Value = serde_json::from_str(&with_revision(&object.to_string(), 12)).unwrap();
            proptest::prop_assert_eq!(&have, &want);
            let metadata = metadata_with_revision(&object.to_string(), 12).unwrap();
            let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
            proptest::prop_assert_eq!(&metadata, &want["metadata"]);
        }

        #[test]
        fn takes_any_text(text in "[\"{}\\[\\]:,metad\\\\ ]{0,40}") {
            let _ = with_revision(&text, 1);
            let _ = metadata_with_revision(&text, 1);
        }
    }
}
