//! Names, label keys and values, and generated names (W-53 to W-58).
//!
//! Every check answers the violations as the API's exact texts; an empty list means legal. Where the texts speak of
//! `characters` and where of `bytes` is Kubernetes' own mixture (J-405): names count characters, labels bytes.

use crate::write::Random;

/// Bounded by what DNS can carry.
const SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// What is kept of a `generateName`, so that name and suffix fit into a label (J-306).
const GENERATE_BASE_MAX: usize = 58;
const GENERATE_SUFFIX: usize = 5;
/// No vowels and no digits that look like them, so that no words are made by chance (W-53).
const GENERATE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const KEY_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Violations of the DNS-1123 subdomain rule, as texts; empty when the name is legal.
#[must_use]
pub fn validate_subdomain(name: &str) -> Vec<String> {
    subdomain(name, "characters")
}

fn subdomain(name: &str, unit: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        violations.push(format!("must be no more than {SUBDOMAIN_MAX} {unit}"));
    }
    if !is_subdomain(name) {
        violations.push(SUBDOMAIN_TEXT.to_owned());
    }
    violations
}

/// Violations of the DNS-1123 label rule.
#[must_use]
pub fn validate_label(name: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if name.len() > LABEL_MAX {
        violations.push(format!("must be no more than {LABEL_MAX} characters"));
    }
    if !is_label(name) {
        // A legal subdomain that is no label can only have dots too many; saying so is shorter (J-106).
        let text = if is_subdomain(name) { "must not contain dots" } else { LABEL_TEXT };
        violations.push(text.to_owned());
    }
    violations
}

/// Violations of the DNS-1035 label rule: a label that begins with a letter.
#[must_use]
pub fn validate_dns_1035_label(name: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if name.len() > LABEL_MAX {
        violations.push(format!("must be no more than {LABEL_MAX} characters"));
    }
    if !is_label(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        violations.push(LABEL_1035_TEXT.to_owned());
    }
    violations
}

/// Violations of the qualified name rule (label and annotation keys).
#[must_use]
pub fn validate_qualified_name(name: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let parts = name.split('/').collect::<Vec<_>>();
    let part = match parts.as_slice() {
        [part] => *part,
        [prefix, part] => {
            if prefix.is_empty() {
                violations.push("prefix part must be non-empty".to_owned());
            } else {
                violations.extend(subdomain(prefix, "bytes").into_iter().map(|text| format!("prefix part {text}")));
            }
            *part
        }
        _ => {
            return vec![format!(
                "a valid label key {KEY_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if part.is_empty() {
        violations.push("name part must be non-empty".to_owned());
    } else if part.len() > LABEL_MAX {
        violations.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if !is_key_part(part) {
        violations.push(format!("name part {KEY_TEXT}"));
    }
    violations
}

/// Violations of the label value rule.
#[must_use]
pub fn validate_label_value(value: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if value.len() > LABEL_MAX {
        violations.push(format!("must be no more than {LABEL_MAX} bytes"));
    }
    if !value.is_empty() && !is_key_part(value) {
        violations.push(VALUE_TEXT.to_owned());
    }
    violations
}

/// Violations of the rule for keys of config maps and secrets (W-58).
#[must_use]
pub fn validate_config_key(key: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if key.len() > SUBDOMAIN_MAX {
        violations.push(format!("must be no more than {SUBDOMAIN_MAX} characters"));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        violations.push(CONFIG_KEY_TEXT.to_owned());
    }
    // Keys become file names in volumes.
    if key == "." {
        violations.push("must not be '.'".to_owned());
    } else if key == ".." {
        violations.push("must not be '..'".to_owned());
    } else if key.starts_with("..") {
        violations.push("must not start with '..'".to_owned());
    }
    violations
}

/// A name from a `generateName` base: cut to 58 bytes, plus 5 random characters (W-53, J-306).
#[must_use]
pub fn generate(base: &str, random: &mut dyn Random) -> String {
    let mut cut = base.len().min(GENERATE_BASE_MAX);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut name = base[..cut].to_owned();
    for _ in 0..GENERATE_SUFFIX {
        let index = usize::try_from(random.next_u64() % 27).unwrap_or_default();
        name.push(char::from(GENERATE_ALPHABET[index]));
    }
    name
}

/// What a `generateName` is judged by: it may end in the dash that the suffix follows.
#[must_use]
pub fn mask_trailing_dash(base: &str) -> String {
    let legal = base.len() > 1 && base.ends_with('-') && base.is_char_boundary(base.len() - 2);
    if legal { format!("{}a", &base[..base.len() - 2]) } else { base.to_owned() }
}

/// A random (version 4) uuid, for `metadata.uid`.
#[must_use]
pub fn uid(random: &mut dyn Random) -> String {
    let (high, low) = (random.next_u64(), random.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0x0fff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}

fn is_label(text: &str) -> bool {
    is_framed(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_key_part(text: &str) -> bool {
    is_framed(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

/// Not empty, first and last byte `outer`, all others `outer` or one of `inner`.
fn is_framed(text: &str, outer: impl Fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    outer(*first) && outer(*last) && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::Seeded;
    use proptest::prelude::*;

    #[track_caller]
    fn check(violations: Vec<String>, want: &[&str]) {
        assert_eq!(violations, want);
    }

    #[test]
    fn w55_names_are_dns_subdomains() {
        for legal in ["a", "1", "parsl.kube.1a2b3c4d", "a-b.c-d", &"a".repeat(253)] {
            check(validate_subdomain(legal), &[]);
        }
        for illegal in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "ä"] {
            check(validate_subdomain(illegal), &[SUBDOMAIN_TEXT]);
        }
        check(validate_subdomain(&"a".repeat(254)), &["must be no more than 253 characters"]);
    }

    #[test]
    fn w55_namespaces_are_dns_labels() {
        check(validate_label("kube-system"), &[]);
        check(validate_label("a.b"), &["must not contain dots"]);
        check(validate_label("a_b"), &[LABEL_TEXT]);
        check(validate_label(&"a".repeat(64)), &["must be no more than 63 characters"]);
    }

    #[test]
    fn w57_label_keys_and_values() {
        for legal in ["app", "A.b_c-d", "batch.kubernetes.io/job-name", "a/b"] {
            check(validate_qualified_name(legal), &[]);
        }
        let name_part = format!("name part {KEY_TEXT}");
        check(validate_qualified_name("-a"), &[&name_part]);
        check(validate_qualified_name(""), &["name part must be non-empty", &name_part]);
        check(validate_qualified_name("/a"), &["prefix part must be non-empty"]);
        check(validate_qualified_name(&"a".repeat(64)), &["name part must be no more than 63 bytes"]);
        check(validate_qualified_name("A/a"), &[&format!("prefix part {SUBDOMAIN_TEXT}")]);
        assert_eq!(validate_qualified_name("a/b/c").len(), 1);

        check(validate_label_value(""), &[]);
        check(validate_label_value("my_value"), &[]);
        check(validate_label_value("a b"), &[VALUE_TEXT]);
        check(validate_label_value(&"a".repeat(64)), &["must be no more than 63 bytes"]);
    }

    #[test]
    fn w58_config_keys() {
        for legal in ["key", "_.-", "a..b", "KEY_1"] {
            check(validate_config_key(legal), &[]);
        }
        check(validate_config_key("a/b"), &[CONFIG_KEY_TEXT]);
        check(validate_config_key("."), &["must not be '.'"]);
        check(validate_config_key(".."), &["must not be '..'"]);
        check(validate_config_key("..a"), &["must not start with '..'"]);
    }

    proptest! {
        #[test]
        fn w53_generated_names_keep_the_base_and_fit_a_label(base in "[a-z][a-z0-9-]{0,80}", seed: u64) {
            let name = generate(&base, &mut Seeded(seed));
            prop_assert!(name.len() <= 63);
            prop_assert!(name.starts_with(&base[..base.len().min(58)]));
            prop_assert!(validate_label(&name).is_empty());
        }

        #[test]
        fn generating_never_panics(base in ".*", seed: u64) {
            let _ = generate(&base, &mut Seeded(seed));
            let _ = mask_trailing_dash(&base);
            let _ = validate_qualified_name(&base);
        }

        #[test]
        fn w49_uids_are_version_4(seed: u64) {
            let uid = uid(&mut Seeded(seed));
            prop_assert_eq!(uid.len(), 36);
            prop_assert_eq!(&uid[14..15], "4");
            prop_assert!("89ab".contains(&uid[19..20]));
        }
    }
}
