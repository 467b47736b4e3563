//! Query strings as clients write them (section 2.4 of the wire rules). Pure.

use jobd_api::{
    decode::FieldValidation,
    field::{FieldErrors, Path},
    registry::Resource,
    selector::{Fields, Labels},
    status::Status,
    table::IncludeObject,
};

/// Bytes of a `fieldManager` (W-84).
const FIELD_MANAGER_MAX: usize = 128;

/// A parsed query string. Parameters that nobody asks for are ignored; an empty query and empty parts are legal (W-7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text after `?`. Broken percent escapes stay as they are.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode_form(key), decode_form(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value, if there is one and it is not empty: for most parameters an empty value means absence.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// W-30: only absence, `0` and `false` are false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.find_flag(name).unwrap_or(false)
    }

    pub(crate) fn find_flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// `timeout` limits nothing here (W-32); what is no duration is refused all the same, as clients expect.
    pub(crate) fn check_timeout(&self) -> Result<(), Status> {
        let Some(text) = self.filled("timeout") else { return Ok(()) };
        let parsed = jobd_api::time::parse_go_duration(text);
        parsed
            .map(drop)
            .map_err(|why| Status::bad_request(format!("invalid timeout specified in the request URL - {why}")))
    }

    /// W-31.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        self.filled(name).map(parse_integer).transpose()
    }

    pub(crate) fn field_validation(&self, options_kind: &str) -> Result<FieldValidation, Status> {
        match self.text("fieldValidation").unwrap_or_default() {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let mut errors = FieldErrors::default();
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.not_supported(&Path::new("fieldValidation"), other, &supported);
                Err(Status::invalid_kind("meta.k8s.io", options_kind, "", &errors))
            }
        }
    }

    /// Whether nothing may be stored (W-94).
    pub(crate) fn dry_run(&self, options_kind: &str) -> Result<bool, Status> {
        let values = self.all("dryRun").filter(|value| !value.is_empty()).collect::<Vec<_>>();
        if values.iter().all(|value| *value == "All") {
            return Ok(!values.is_empty());
        }
        let mut errors = FieldErrors::default();
        errors.not_supported(&Path::new("dryRun"), values, &["All"]);
        Err(Status::invalid_kind("meta.k8s.io", options_kind, "", &errors))
    }

    /// Who writes, as far as it says so (W-84).
    pub(crate) fn field_manager(&self, options_kind: &str) -> Result<Option<&str>, Status> {
        let Some(manager) = self.filled("fieldManager") else { return Ok(None) };
        let (path, mut errors) = (Path::new("fieldManager"), FieldErrors::default());
        if manager.len() > FIELD_MANAGER_MAX {
            errors.too_long(&path, FIELD_MANAGER_MAX);
        }
        for (at, unprintable) in manager.char_indices().filter(|(_, char)| char.is_control()) {
            let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(unprintable));
            errors.invalid(&path, manager, &detail);
        }
        if errors.is_empty() {
            return Ok(Some(manager));
        }
        Err(Status::invalid_kind("meta.k8s.io", options_kind, "", &errors))
    }
}

fn parse_integer(text: &str) -> Result<i64, Status> {
    text.parse::<i64>().map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// What a list or watch asks for.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) labels: Labels,
    pub(crate) fields: Fields,
    /// None or negative: no limit.
    pub(crate) limit: Option<usize>,
    /// The opaque token of the page before.
    pub(crate) continue_token: Option<String>,
    /// 0 means "any"; none "the newest".
    pub(crate) revision: Option<i64>,
    pub(crate) version_match: Option<VersionMatch>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) include_object: IncludeObject,
}

impl ListOptions {
    /// Reads and checks the parameters of a list, watch or collection delete (W-116 to W-121, W-125, W-131, S-13).
    pub(crate) fn parse(resource: &Resource, query: &Query) -> Result<Self, Status> {
        let options = Self {
            labels: Labels::parse(query.text("labelSelector").unwrap_or_default())?,
            fields: Fields::parse(resource, query.text("fieldSelector").unwrap_or_default())?,
            limit: query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0),
            continue_token: query.filled("continue").map(str::to_owned),
            revision: parse_revision(query)?,
            version_match: None,
            watch: query.flag("watch"),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.find_flag("sendInitialEvents"),
            timeout_seconds: query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
            include_object: parse_include_object(query)?,
        };
        let version_match = options.check(query.text("resourceVersionMatch").unwrap_or_default())?;
        Ok(Self { version_match, ..options })
    }

    /// W-120 and W-131, in the order in which the reference finds them.
    fn check(&self, version_match: &str) -> Result<Option<VersionMatch>, Status> {
        let mut errors = FieldErrors::default();
        let path = Path::new("resourceVersionMatch");
        if self.watch {
            if self.send_initial_events.is_some() && version_match != "NotOlderThan" {
                errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            }
            if self.send_initial_events.is_none() && !version_match.is_empty() {
                errors.forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
        } else {
            if self.send_initial_events.is_some() {
                errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
            }
            if !version_match.is_empty() && self.revision.is_none() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !version_match.is_empty() && self.continue_token.is_some() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
        let found = match version_match {
            "" => None,
            "Exact" => {
                if self.revision == Some(0) {
                    errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
                }
                Some(VersionMatch::Exact)
            }
            "NotOlderThan" => Some(VersionMatch::NotOlderThan),
            other => {
                errors.not_supported(&path, other, &["Exact", "NotOlderThan", ""]);
                None
            }
        };
        if !errors.is_empty() {
            return Err(Status::invalid_kind("meta.k8s.io", "ListOptions", "", &errors));
        }
        if self.continue_token.is_some() && self.revision.is_some_and(|revision| revision != 0) && !self.watch {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(found)
    }
}

/// `resourceVersion`: absent, or a number that is not negative (W-119, W-125).
pub(crate) fn parse_revision(query: &Query) -> Result<Option<i64>, Status> {
    let Some(text) = query.filled("resourceVersion") else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(revision) if revision >= 0 && !text.starts_with('+') => Ok(Some(revision)),
        Ok(_) | Err(_) => Err(Status::bad_request(format!(
            "invalid resource version: Invalid value: {text:?}: must be a whole number that is not negative"
        ))),
    }
}

/// `includeObject` of tables (W-148).
pub(crate) fn parse_include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.text("includeObject").unwrap_or_default() {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "Object" => Ok(IncludeObject::Object),
        "None" => Ok(IncludeObject::None),
        other => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
             'Object', 'None', or empty"
        ))),
    }
}

/// Decodes one path segment; none when it is not UTF-8, which no name is.
pub(crate) fn decode_path(segment: &str) -> Option<String> {
    String::from_utf8(decode(segment, false)).ok()
}

fn decode_form(text: &str) -> String {
    String::from_utf8_lossy(&decode(text, true)).into_owned()
}

fn decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = if byte == b'%' { bytes.get(index + 1..index + 3).and_then(hex_byte) } else { None };
        match (byte, escape) {
            (_, Some(escaped)) => {
                decoded.push(escaped);
                index += 2;
            }
            (b'+', None) if plus_is_space => decoded.push(b' '),
            (_, None) => decoded.push(byte),
        }
        index += 1;
    }
    decoded
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use jobd_api::registry::Kind;

    use super::*;

    #[test]
    fn tolerates_empty_queries_and_empty_parts_w7() {
        assert_eq!(Query::parse(""), Query::default());
        assert_eq!(Query::parse("&labelSelector=a%3Db").text("labelSelector"), Some("a=b"));
        assert_eq!(Query::parse("a=%zz&b=x+y%20z").text("b"), Some("x y z"));
        assert_eq!(Query::parse("a=%zz").text("a"), Some("%zz"));
    }

    #[test]
    fn every_value_but_zero_and_false_is_true_w30() {
        for (text, want) in [
            ("", false),
            ("w=0", false),
            ("w=False", false),
            ("w=FALSE", false),
            ("w", true),
            ("w=True", true),
            ("w=x", true),
        ] {
            assert_eq!(Query::parse(text).flag("w"), want, "{text}");
        }
    }

    #[test]
    fn bad_numbers_are_bad_requests_w31() {
        let status = Query::parse("limit=x").integer("limit").unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, "strconv.ParseInt: parsing \"x\": invalid syntax"));
    }

    #[track_caller]
    fn check(query: &str, want: &str) {
        let got = match ListOptions::parse(Kind::Job.resource(), &Query::parse(query)) {
            Ok(options) => {
                format!("limit={:?} rv={:?} match={:?}", options.limit, options.revision, options.version_match)
            }
            Err(status) => format!("{} {}", status.code, status.message),
        };
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn reads_list_options_and_refuses_contradictions_w120_w131() {
        let forbidden = "422 ListOptions.meta.k8s.io \"\" is invalid: ";
        check("limit=-1&resourceVersion=0", "limit=None rv=Some(0) match=None");
        check("limit=5&resourceVersion=7&resourceVersionMatch=Exact", "limit=Some(5) rv=Some(7) match=Some(Exact)");
        for (query, text) in [
            (
                "resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=0",
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                "resourceVersionMatch=Foo&resourceVersion=1",
                "resourceVersionMatch: Unsupported value: \"Foo\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ),
            ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
            (
                "watch=1&sendInitialEvents=true",
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (
                "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=3",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        ] {
            check(query, &format!("{forbidden}{text}"));
        }
        check("continue=x&resourceVersion=4", "400 specifying resource version is not allowed when using continue");
        check(
            "resourceVersion=abc",
            "400 invalid resource version: Invalid value: \"abc\": must be a whole number that is not negative",
        );
    }

    #[test]
    fn refuses_unknown_dry_run_and_field_validation_values_w91_w94() {
        let status = Query::parse("dryRun=Foo").dry_run("CreateOptions").unwrap_err();
        assert_eq!(
            status.message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Foo\"]: supported values: \"All\""
        );
        let status = Query::parse("fieldValidation=Bad").field_validation("PatchOptions").unwrap_err();
        assert_eq!(
            status.message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Bad\": supported values: \
             \"\", \"Ignore\", \"Strict\", \"Warn\""
        );
    }
}
