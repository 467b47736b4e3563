//! OpenAPI documents (W-42 to W-48), made from the registry and the schema table.
//!
//! A document holds the full schemas of the served kinds and of every type they reach (W-45), so that clients compute
//! patches and explain fields from it. It is made on demand, one schema at a time: nothing of it stays in memory but
//! its hash.

mod paths;
mod schemas;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    sync::{LazyLock, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    discovery::{self, REVIEWS},
    registry,
};

/// The group versions that have a v3 document, as paths: `api/v1`, `apis/batch/v1`.
#[must_use]
pub fn group_versions() -> Vec<String> {
    discovery::group_versions().into_iter().map(|(group, version)| path_of(group, version)).collect()
}

/// The v3 document of a path such as `apis/batch/v1`, as JSON text.
#[must_use]
pub fn document_text(path: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    write(path, &mut text).ok()?.then_some(text)
}

/// Writes the v3 document of a path as JSON text, one schema after the other: as a tree `api/v1` takes some megabytes. False, and nothing written, for a path that has none.
///
/// # Errors
/// Those of the writer.
fn write(path: &str, out: &mut dyn io::Write) -> io::Result<bool> {
    let Some((group, version)) = find_path(path) else { return Ok(false) };
    let document = Document { group, version };
    let info = json!({"title": "jobd", "version": version});
    write!(out, "{{\"components\":{{\"schemas\":{{")?;
    let mut separator = "";
    for name in schemas::reached(&document.roots()) {
        write!(out, "{separator}\"{name}\":{}", schemas::schema(name))?;
        separator = ",";
    }
    write!(out, "}}}},\"info\":{info},\"openapi\":\"3.0.0\",\"paths\":{}}}", paths::paths(group, version))?;
    Ok(true)
}

/// A fingerprint of the document of a path, for the index (W-47) and for `ETag`. It changes exactly when the text does.
#[must_use]
pub fn hash(path: &str) -> Option<String> {
    static HASHES: LazyLock<Mutex<BTreeMap<String, String>>> = LazyLock::new(Mutex::default);
    let mut hashes = HASHES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = hashes.get(path) {
        return Some(hash.clone());
    }
    let mut fingerprint = Fingerprint::new();
    if !write(path, &mut fingerprint).ok()? {
        return None;
    }
    let hash = fingerprint.render();
    hashes.insert(path.to_owned(), hash.clone());
    Some(hash)
}

/// `/openapi/v3` (W-47, S-6).
#[must_use]
pub fn index() -> Value {
    let paths: serde_json::Map<String, Value> = group_versions()
        .into_iter()
        .filter_map(|path| {
            let url = format!("/openapi/v3/{path}?hash={}", hash(&path)?);
            Some((path, json!({"serverRelativeURL": url})))
        })
        .collect();
    json!({"paths": paths})
}

/// The v2 document as protobuf: only `swagger: "2.0"` (W-44).
pub const V2_PROTOBUF: &[u8] = &[0x0a, 0x03, 0x32, 0x2e, 0x30];

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn find_path(path: &str) -> Option<(&'static str, &'static str)> {
    discovery::group_versions().into_iter().find(|(group, version)| path_of(group, version) == path)
}

/// One group version.
struct Document {
    group: &'static str,
    version: &'static str,
}

impl Document {
    /// The kinds whose types a client may look for here: group, version, kind.
    fn roots(&self) -> Vec<(&'static str, &'static str, String)> {
        let Self { group, version } = *self;
        let mut roots = vec![("", "v1", "DeleteOptions".to_owned()), ("", "v1", "Status".to_owned())];
        for resource in registry::resources().iter().filter(|r| r.group == group && r.version == version) {
            roots.push((group, version, resource.kind.to_owned()));
            roots.push((group, version, format!("{}List", resource.kind)));
            roots.extend(resource.subresources.iter().map(|sub| (sub.group, sub.version, sub.kind.to_owned())));
        }
        let reviews = REVIEWS.iter().filter(|r| r.group == group && r.version == version);
        roots.extend(reviews.map(|review| (group, version, review.kind.to_owned())));
        roots
    }
}

/// FNV-1a over what is written: this is no matter of security, and only has to change when the text does.
struct Fingerprint(u64);

impl Fingerprint {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn render(&self) -> String {
        let mut text = String::with_capacity(16);
        // Writing to a string cannot fail.
        let _ = write!(text, "{:016X}", self.0);
        text
    }
}

impl io::Write for Fingerprint {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
