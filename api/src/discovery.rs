//! Discovery documents, in both forms (W-33 to W-41), made from the registry.

use serde_json::Value;

/// `/api`, unaggregated.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    let _ = server_address;
    todo!()
}

/// `/apis`, unaggregated.
#[must_use]
pub fn api_group_list() -> Value {
    todo!()
}

/// `/apis/GROUP`; none for a group that is not served.
#[must_use]
pub fn api_group(group: &str) -> Option<Value> {
    let _ = group;
    todo!()
}

/// `/api/v1` (group `""`) and `/apis/GROUP/VERSION`.
#[must_use]
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    let _ = (group, version);
    todo!()
}

/// The aggregated form of `/api` (`core`) or `/apis`; `version` is `v2` or `v2beta1`.
#[must_use]
pub fn aggregated(core: bool, version: &str) -> Value {
    let _ = (core, version);
    todo!()
}
