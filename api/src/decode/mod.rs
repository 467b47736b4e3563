//! Bodies into objects: JSON, YAML and protobuf, parsed once into a tree that still knows duplicate keys, then checked
//! against the [`crate::schema`] table (unknown fields, types, quantities, times).
//!
//! What a value must be beyond its type is validation's question ([`crate::kind`]), not asked here.

mod check;
mod json;
mod protobuf;
mod tree;
mod yaml;

use serde_json::{Map, Value};

pub(crate) use self::tree::DEPTH_MAX;
use self::{
    check::Findings,
    tree::{Node, ParseError},
};
use crate::{
    object::Object,
    registry::Resource,
    schema::{self, Type},
    status::Status,
};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// `fieldValidation` of the query (W-91).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// A decoded body.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Only known fields, last duplicate won, nulls dropped, quantities canonical, times in UTC.
    pub object: Object,
    /// Texts for `Warning` headers (`unknown field "spec.bogus"`), with `Warn` only.
    pub warnings: Vec<String>,
}

/// Decodes the body of a POST or PUT of `resource`. A missing kind or apiVersion is completed from the resource (W-24).
///
/// # Errors
/// 400 as W-24 to W-26 and W-91 say, 413 for a body of too many values.
pub fn object(
    resource: &Resource,
    format: Format,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let wanted = Wanted::resource(resource)?;
    wanted.decode(format, body, validation)
}

/// Decodes a body of a type that is no resource (`DeleteOptions`, `Eviction`, …) by its full name in the schema table, such as
/// `io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions`. `kind` is its kind for messages.
///
/// # Errors
/// 400 for a body that is not of that type.
pub fn message(
    type_name: &str,
    kind: &str,
    format: Format,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let of = schema::find(type_name).ok_or_else(|| Status::internal(format!("no type {type_name} in the schema")))?;
    let (group, version) = of.gvks.first().map_or(("", "v1"), |gvk| (gvk.group, gvk.version));
    Wanted { of, group, version, kind }.decode(format, body, validation)
}

/// Decodes the body of a server-side apply, which is YAML or JSON and must name its type (W-84).
///
/// # Errors
/// As [`object`]; 400 for a body without kind or apiVersion, or with managed fields.
pub fn apply_body(resource: &Resource, body: &[u8], validation: FieldValidation) -> Result<Decoded, Status> {
    let wanted = Wanted::resource(resource)?;
    // JSON is YAML as well, but JSON's own parser has the better words.
    let json = body.trim_ascii_start().starts_with(b"{");
    let node = if json { json::parse(body) } else { yaml::parse(body) };
    let node = node.map_err(|error| wanted.unreadable(error))?;
    let (api_version, kind) = wanted.identity(&node)?;
    if api_version.is_empty() || kind.is_empty() {
        return Err(Status::bad_request(
            "error decoding YAML: invalid object type: the body of an apply must have apiVersion and kind",
        ));
    }
    if has_managed_fields(&node) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    wanted.admit(&api_version, &kind)?;
    wanted.check(node, &kind, &api_version, validation)
}

fn has_managed_fields(node: &Node) -> bool {
    let Node::Map(entries) = node else { return false };
    entries.iter().filter(|(key, _)| key == "metadata").any(|(_, metadata)| match metadata {
        Node::Map(entries) => entries.iter().any(|(key, value)| key == "managedFields" && *value != Node::Null),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::List(_) => false,
    })
}

/// JSON of no type, with its duplicate fields. The error is the parser's words, or none when the text holds too many values.
pub(crate) fn plain(body: &[u8]) -> Result<(Value, Vec<String>), Option<String>> {
    let node = json::parse(body).map_err(|error| match error {
        ParseError::Malformed(text) => Some(text),
        ParseError::TooLarge => None,
    })?;
    let mut findings = Findings::new(false);
    check::duplicates(&node, &mut findings);
    Ok((node.into_value(), findings.into_texts()))
}

/// Why the result of a patch is no object of its kind.
pub(crate) enum Refusal {
    /// It became another kind: W-24.
    Identity(Status),
    /// A wrong type or, with `Strict`, unknown fields: the text after the head.
    Content(String),
}

/// Checks a whole document that was patched. `findings` are those of the patch itself.
pub(crate) fn patched(
    resource: &Resource,
    document: Map<String, Value>,
    validation: FieldValidation,
    findings: &[String],
) -> Result<Decoded, Refusal> {
    let wanted = Wanted::resource(resource).map_err(Refusal::Identity)?;
    let node = Node::from_map(document);
    let (api_version, kind) = wanted.identity(&node).map_err(Refusal::Identity)?;
    wanted.admit(&api_version, &kind).map_err(Refusal::Identity)?;
    wanted.content(node, validation, findings).map_err(Refusal::Content)
}

/// What a body has to be.
struct Wanted<'a> {
    of: &'static Type,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> Wanted<'a> {
    fn resource(resource: &'a Resource) -> Result<Self, Status> {
        let Resource { group, version, kind, .. } = resource;
        let of = schema::find_kind(group, version, kind)
            .ok_or_else(|| Status::internal(format!("no type for {kind} of {group}/{version} in the schema")))?;
        Ok(Self { of, group, version, kind })
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    fn decode(&self, format: Format, body: &[u8], validation: FieldValidation) -> Result<Decoded, Status> {
        let (node, api_version, kind) = match format {
            Format::Json | Format::Yaml => {
                let node = if format == Format::Json { json::parse(body) } else { yaml::parse(body) };
                let node = node.map_err(|error| self.unreadable(error))?;
                let (api_version, kind) = self.identity(&node)?;
                self.admit(&api_version, &kind)?;
                (node, api_version, kind)
            }
            Format::Protobuf => {
                let envelope = protobuf::envelope(body).map_err(|error| self.unreadable(error))?;
                self.admit(&envelope.api_version, &envelope.kind)?;
                let node = protobuf::object(self.of, &envelope).map_err(|error| match error {
                    ParseError::Malformed(text) => self.refused(&envelope.kind, &envelope.api_version, &text),
                    ParseError::TooLarge => self.unreadable(ParseError::TooLarge),
                })?;
                (node, envelope.api_version, envelope.kind)
            }
        };
        self.check(node, &kind, &api_version, validation)
    }

    fn check(&self, node: Node, kind: &str, api_version: &str, validation: FieldValidation) -> Result<Decoded, Status> {
        self.content(node, validation, &[]).map_err(|text| self.refused(kind, api_version, &text))
    }

    /// The object and its warnings, or the text of its refusal. An older or other name of the same type, which
    /// [`Self::admit`] let pass, becomes the type's own.
    fn content(&self, node: Node, validation: FieldValidation, found: &[String]) -> Result<Decoded, String> {
        let mut findings = Findings::new(validation == FieldValidation::Ignore);
        for text in found {
            findings.push(text.clone());
        }
        let mut map = check::object(self.of, node, &mut findings)?;
        let findings = findings.into_texts();
        if validation == FieldValidation::Strict && !findings.is_empty() {
            return Err(format!("strict decoding error: {}", findings.join(", ")));
        }
        map.insert("apiVersion".to_owned(), Value::String(self.api_version()));
        map.insert("kind".to_owned(), Value::String(self.kind.to_owned()));
        Ok(Decoded { object: Object(map), warnings: findings })
    }

    /// apiVersion and kind as the body has them, empty when it does not.
    fn identity(&self, node: &Node) -> Result<(String, String), Status> {
        let Node::Map(entries) = node else {
            return Err(self.unreadable(ParseError::Malformed(format!(
                "json: cannot unmarshal {} into an object",
                node.describe()
            ))));
        };
        let text = |name: &str| match entries.iter().rfind(|(key, _)| key == name) {
            None | Some((_, Node::Null)) => Ok(String::new()),
            Some((_, Node::String(text))) => Ok(text.clone()),
            Some((_, other)) => Err(self.unreadable(ParseError::Malformed(format!(
                "json: cannot unmarshal {} into the field {name}, which is a string",
                other.describe()
            )))),
        };
        Ok((text("apiVersion")?, text("kind")?))
    }

    /// Whether a body that calls itself `kind` of `api_version` may stand here; empty means that it does not say (W-24).
    fn admit(&self, api_version: &str, kind: &str) -> Result<(), Status> {
        let same_version = api_version.is_empty()
            || api_version == self.api_version()
            || (self.of.every_group && is_group_version(api_version))
            // Older clients evict under the older version of the same message (W-170).
            || (self.kind == "Eviction" && api_version == "policy/v1beta1");
        if same_version && (kind.is_empty() || kind == self.kind) {
            return Ok(());
        }
        let kind = if kind.is_empty() { self.kind } else { kind };
        let own = self.api_version();
        let api_version = if api_version.is_empty() { &own } else { api_version };
        let text = format!("no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"jobd\"");
        Err(self.refused(kind, api_version, &text))
    }

    /// `Job in version "v1" cannot be handled as a Job: …` (W-26), with what the body says it is.
    fn refused(&self, kind: &str, api_version: &str, text: &str) -> Status {
        let kind = if kind.is_empty() { self.kind } else { kind };
        let version = api_version.rsplit('/').next().filter(|version| !version.is_empty()).unwrap_or(self.version);
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {}: {text}", self.kind))
    }

    /// W-25.
    fn unreadable(&self, error: ParseError) -> Status {
        match error {
            ParseError::Malformed(text) => Status::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {text}",
                self.kind
            )),
            ParseError::TooLarge => {
                Status::new(413, "RequestEntityTooLarge", "Request entity too large: the body holds too many values")
            }
        }
    }
}

/// Some group version of the table, or the one of the options themselves (W-96).
fn is_group_version(api_version: &str) -> bool {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    (group == "meta.k8s.io" && version == "v1")
        || (group == "policy" && version == "v1beta1")
        || schema::types().iter().flat_map(|of| &of.gvks).any(|gvk| gvk.group == group && gvk.version == version)
}

#[cfg(test)]
mod tests;
