//! An API object as untyped JSON, with access to what every kind shares (`metadata`).
//!
//! Kinds' own rules work on the typed structs of `k8s-openapi`; [`Object::to_typed`] and [`Object::from_typed`] are
//! the bridge. What is generic (patches, selectors, watches, the store) stays untyped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap as _};
use serde_json::{Map, Value};

/// One API object. Keys are kept sorted, so `apiVersion`, `kind`, `metadata` come first in its JSON (W-18).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// Reads an object from JSON text that this program wrote itself (a stored body).
    ///
    /// # Errors
    /// When the text is not a JSON object: the stored body is damaged.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }

    /// The typed form. Unknown fields are gone and duplicates were settled when the body was decoded.
    ///
    /// # Errors
    /// When a field has a type that the schema does not allow; decoding has refused such bodies before.
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.0)
    }

    /// The untyped form of a typed object.
    ///
    /// # Errors
    /// Never for the API's own types, all of which are JSON objects with string keys.
    pub fn from_typed<T: Serialize>(typed: &T) -> Result<Self, serde_json::Error> {
        match serde_json::to_value(typed)? {
            Value::Object(map) => Ok(Self(map)),
            other => Err(serde::ser::Error::custom(format!("not an object: {other}"))),
        }
    }

    /// The value at a path of object keys, such as `["spec", "parallelism"]`.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(key))
    }

    /// The text at a path, if it is there and is a string.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.as_str()
    }

    #[must_use]
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"]).unwrap_or_default()
    }

    #[must_use]
    pub fn kind(&self) -> &str {
        self.text(&["kind"]).unwrap_or_default()
    }

    /// `metadata.name`, empty when unset.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"]).unwrap_or_default()
    }

    /// `metadata.namespace`, empty when unset or cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"]).unwrap_or_default()
    }

    #[must_use]
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"]).unwrap_or_default()
    }

    /// `metadata.resourceVersion` as the client sent it; stored bodies have none.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.text(&["metadata", "resourceVersion"]).filter(|version| !version.is_empty())
    }

    /// `metadata` as a map that can be changed; made when absent.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let metadata = self.0.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        match metadata {
            Value::Object(map) => map,
            _ => unreachable!("made an object above"),
        }
    }

    /// Typed `metadata`.
    ///
    /// # Errors
    /// When `metadata` has fields of a wrong type; decoding has refused such bodies before.
    pub fn metadata(&self) -> Result<ObjectMeta, serde_json::Error> {
        self.0.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)
    }

    /// The label's value, if the object has that label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "labels", key])
    }

    /// The JSON text as the store keeps it: without `metadata.resourceVersion`, which is the row's revision.
    #[must_use]
    pub fn to_stored(&self) -> String {
        json_text(&StoredForm(&self.0))
    }

    /// Its JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_text(&self.0)
    }

    /// The object with `metadata.resourceVersion` set.
    #[must_use]
    pub fn with_revision(mut self, revision: i64) -> Self {
        self.metadata_mut().insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        self
    }
}

/// JSON text of what came out of JSON, and so goes into it.
#[must_use]
pub fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| Value::Null.to_string())
}

/// An object on its way into the store, which is not copied for that.
struct StoredForm<'a>(&'a Map<String, Value>);

impl Serialize for StoredForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in self.0 {
            match value {
                Value::Object(metadata) if name == "metadata" => {
                    members.serialize_entry(name, &WithoutRevision(metadata))?;
                }
                value => members.serialize_entry(name, value)?,
            }
        }
        members.end()
    }
}

struct WithoutRevision<'a>(&'a Map<String, Value>);

impl Serialize for WithoutRevision<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(name, _)| *name != "resourceVersion"))
    }
}

use serde::Deserialize as _;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_stored_text_is_the_object_without_its_revision() {
        let Value::Object(map) = json!({
            "apiVersion": "v1", "kind": "Pod", "data": {"metadata": {"resourceVersion": "stays"}},
            "metadata": {"labels": {"resourceVersion": "stays"}, "name": "p", "resourceVersion": "7"},
        }) else {
            unreachable!("it is an object")
        };
        let object = Object(map);
        let want = json!({
            "apiVersion": "v1", "kind": "Pod", "data": {"metadata": {"resourceVersion": "stays"}},
            "metadata": {"labels": {"resourceVersion": "stays"}, "name": "p"},
        });
        assert_eq!(object.to_stored(), want.to_string());
        assert_eq!(object.to_json(), Value::Object(object.0.clone()).to_string());
    }
}
