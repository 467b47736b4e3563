//! OpenAPI documents (W-42 to W-48), made from the registry and the schema table.

use serde_json::Value;

/// The group versions that have a v3 document, as paths: `api/v1`, `apis/batch/v1`.
#[must_use]
pub fn group_versions() -> Vec<String> {
    todo!()
}

/// The v3 document of a path such as `apis/batch/v1`.
#[must_use]
pub fn document(path: &str) -> Option<Value> {
    let _ = path;
    todo!()
}

/// The v2 document as protobuf: only `swagger: "2.0"` (W-44).
pub const V2_PROTOBUF: &[u8] = &[0x0a, 0x03, 0x32, 0x2e, 0x30];
