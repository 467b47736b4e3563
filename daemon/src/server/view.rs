//! Objects in the shape that the client asked for: themselves, table rows, or metadata only (W-13, W-14, W-147 to W-149).

use jiff::Timestamp;
use jobd_api::{
    object::{Object, json_text},
    registry::Resource,
    table::{self, IncludeObject},
};
use serde_json::{Value, json};

use super::{
    negotiate::Shape,
    respond,
    selection::{is_stored_shape, served},
};
use crate::store::{Error, Stored};

/// How one request's objects are shown.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) resource: &'static Resource,
    pub(crate) shape: Shape,
    pub(crate) include: IncludeObject,
    pub(crate) pretty: bool,
}

impl View {
    /// The body of an answer about one stored object.
    pub(crate) fn one(&self, stored: &Stored, now: Timestamp) -> Result<String, Error> {
        if self.is_verbatim() && !self.pretty {
            let mut json = stored.json();
            json.push('\n');
            return Ok(json);
        }
        Ok(self.one_object(&served(self.resource, stored)?, now))
    }

    /// The body of an answer about one object in the served shape.
    pub(crate) fn one_object(&self, object: &Object, now: Timestamp) -> String {
        let value = match self.shape {
            Shape::Plain => return respond::render(&Value::Object(object.0.clone()), self.pretty),
            Shape::Metadata(version) => metadata_of(object, version),
            Shape::Table(version) => self.table_of(object, version, &table::columns(self.resource), now),
        };
        respond::render(&value, self.pretty)
    }

    /// One item of a list, compact.
    pub(crate) fn item(&self, stored: &Stored, parsed: Option<Object>, now: Timestamp) -> Result<String, Error> {
        if self.is_verbatim() {
            return Ok(stored.json());
        }
        let object = match parsed {
            Some(object) => object,
            None => match self.quick_row(stored, now) {
                Some(row) => return Ok(row),
                None => served(self.resource, stored)?,
            },
        };
        Ok(match self.shape {
            Shape::Plain => object.to_json(),
            Shape::Metadata(version) => json_text(&metadata_of(&object, version)),
            Shape::Table(_) => json_text(&table::row(self.resource, &object, self.include, now)),
        })
    }

    /// A table row without reading the whole object, where that is possible: it is what long lists of `kubectl get` consist of.
    fn quick_row(&self, stored: &Stored, now: Timestamp) -> Option<String> {
        if !matches!(self.shape, Shape::Table(_)) || !is_stored_shape(self.resource) {
            return None;
        }
        table::row_of_body(self.resource, &stored.body, &stored.metadata_json()?, self.include, now)
    }

    /// The object of a watch event, compact. `columns` are null after the first event of a table watch (W-132).
    pub(crate) fn event(
        &self,
        stored: &Stored,
        parsed: Option<Object>,
        columns: bool,
        now: Timestamp,
    ) -> Result<String, Error> {
        let Shape::Table(version) = self.shape else { return self.item(stored, parsed, now) };
        let object = match parsed {
            Some(object) => object,
            None => served(self.resource, stored)?,
        };
        let columns = if columns { table::columns(self.resource) } else { Value::Null };
        Ok(json_text(&self.table_of(&object, version, &columns, now)))
    }

    /// The object of a bookmark (W-129, S-15).
    pub(crate) fn bookmark(&self, revision: i64, initial_events_end: bool, columns: bool, now: Timestamp) -> String {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object =
            json!({"apiVersion": self.resource.api_version(), "kind": self.resource.kind, "metadata": metadata});
        let Value::Object(map) = object else { return String::new() };
        let object = Object(map);
        match self.shape {
            Shape::Plain => object.to_json(),
            Shape::Metadata(version) => json_text(&metadata_of(&object, version)),
            Shape::Table(version) => {
                let columns = if columns { table::columns(self.resource) } else { Value::Null };
                json_text(&self.table_of(&object, version, &columns, now))
            }
        }
    }

    /// Kind and apiVersion of a list in this shape.
    pub(crate) fn list_type(&self) -> (String, String) {
        match self.shape {
            Shape::Plain => (format!("{}List", self.resource.kind), self.resource.api_version()),
            Shape::Metadata(version) => ("PartialObjectMetadataList".to_owned(), version.to_owned()),
            Shape::Table(version) => ("Table".to_owned(), version.to_owned()),
        }
    }

    /// Whether stored text can go out as it is.
    pub(crate) fn is_verbatim(&self) -> bool {
        self.shape == Shape::Plain && is_stored_shape(self.resource)
    }

    fn table_of(&self, object: &Object, version: &str, columns: &Value, now: Timestamp) -> Value {
        let mut metadata = json!({});
        if let Some(revision) = object.resource_version() {
            metadata["resourceVersion"] = json!(revision);
        }
        let row = table::row(self.resource, object, self.include, now);
        json!({"kind": "Table", "apiVersion": version, "metadata": metadata, "columnDefinitions": columns, "rows": [row]})
    }
}

fn metadata_of(object: &Object, version: &str) -> Value {
    let mut value = table::partial_metadata(object);
    value["apiVersion"] = json!(version);
    value
}
