//! Names, label keys and values, and generated names (W-53 to W-58).

use crate::write::Random;

/// Violations of the DNS-1123 subdomain rule, as texts; empty when the name is legal.
#[must_use]
pub fn validate_subdomain(name: &str) -> Vec<String> {
    let _ = name;
    todo!()
}

/// Violations of the DNS-1123 label rule.
#[must_use]
pub fn validate_label(name: &str) -> Vec<String> {
    let _ = name;
    todo!()
}

/// Violations of the qualified name rule (label and annotation keys).
#[must_use]
pub fn validate_qualified_name(name: &str) -> Vec<String> {
    let _ = name;
    todo!()
}

/// Violations of the label value rule.
#[must_use]
pub fn validate_label_value(value: &str) -> Vec<String> {
    let _ = value;
    todo!()
}

/// A name from a `generateName` base: cut to 58 bytes, plus 5 random characters (W-53, J-306).
#[must_use]
pub fn generate(base: &str, random: &mut dyn Random) -> String {
    let _ = (base, random);
    todo!()
}

/// A random (version 4) uuid, for `metadata.uid`.
#[must_use]
pub fn uid(random: &mut dyn Random) -> String {
    let _ = random;
    todo!()
}
