//! Label selectors (query strings and typed `LabelSelector`s) and field selectors (W-135 to W-137).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{
    field::{FieldErrors, Path},
    name,
    object::Object,
    registry::Resource,
    status::Status,
};

/// A parsed label selector. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and its value is one of these.
    In(Vec<String>),
    /// The label is absent, or its value is none of these.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

impl Labels {
    /// Parses a `labelSelector` parameter.
    ///
    /// # Errors
    /// 400 `unable to parse requirement: …`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut parser = Parser { tokens: scan(text), position: 0 };
        let mut requirements = parser.selector().map_err(Status::bad_request)?;
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Self { requirements })
    }

    /// From a typed selector: `None` selects nothing, an empty one everything.
    ///
    /// An operator that does not exist selects nothing; validation has refused it before ([`validate`]).
    #[must_use]
    pub fn from_typed(selector: &LabelSelector) -> Self {
        let mut requirements = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement { key: key.clone(), operator: Operator::In(vec![value.clone()]) })
            .collect::<Vec<_>>();
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match expression.operator.as_str() {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::In(Vec::new()),
            };
            requirements.push(Requirement { key: expression.key.clone(), operator });
        }
        Self { requirements }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels match; `get` answers a label's value.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.operator.matches(get(&requirement.key)))
    }
}

impl Operator {
    /// Whether a label with this value, or its absence, meets the requirement.
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(than) => number().is_some_and(|number| number > *than),
            Operator::LessThan(than) => number().is_some_and(|number| number < *than),
        }
    }
}

/// A typed selector as tables print it (T-0): `a=b,c in (d,e)`, `<none>` when there is nothing in it.
#[must_use]
pub fn render(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "<none>".to_owned() };
    let equals = selector.match_labels.iter().flatten().map(|(key, value)| (key, format!("{key}={value}")));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let key = &expression.key;
        let mut values = expression.values.clone().unwrap_or_default();
        values.sort();
        let values = values.join(",");
        let text = match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            _ => "<error>".to_owned(),
        };
        (key, text)
    });
    let mut parts = equals.chain(expressions).collect::<Vec<_>>();
    parts.sort_by(|left, right| left.0.cmp(right.0));
    match parts.as_slice() {
        [] => "<none>".to_owned(),
        parts => parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(","),
    }
}

/// The faults of a typed selector (J-443), under `path`.
#[must_use]
pub fn validate(selector: &LabelSelector, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::default();
    for (key, value) in selector.match_labels.iter().flatten() {
        let path = path.child("matchLabels");
        validate_key(key, &path, &mut errors);
        for text in name::validate_label_value(value) {
            errors.invalid(&path, value.as_str(), &text);
        }
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.forbidden(
                        &path.child("values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    );
                }
            }
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        validate_key(&expression.key, &path.child("key"), &mut errors);
        for (index, value) in values.iter().enumerate() {
            for text in name::validate_label_value(value) {
                errors.invalid(&path.child("values").index(index), value.as_str(), &text);
            }
        }
    }
    errors
}

fn validate_key(key: &str, path: &Path, errors: &mut FieldErrors) {
    for text in name::validate_qualified_name(key) {
        errors.invalid(path, key, &text);
    }
}

/// What a label selector's text is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Identifier(String),
    /// `in` and `notin`: an operator after a key, a plain word where a value stands.
    Word(&'static str),
    Symbol(&'static str),
    /// Symbols that make no operator.
    Error(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Token::Identifier(text) | Token::Error(text) => text,
            Token::Word(text) | Token::Symbol(text) => text,
            Token::End => "",
        }
    }

    /// The token as a key or value.
    fn identifier(&self) -> Option<&str> {
        match self {
            Token::Identifier(text) => Some(text),
            Token::Word(text) => Some(text),
            Token::Symbol(_) | Token::Error(_) | Token::End => None,
        }
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self, Token::Symbol(text) if *text == symbol)
    }
}

const SYMBOLS: [&str; 9] = ["!=", "==", "!", "=", "(", ")", ",", ">", "<"];

/// Cuts the text into tokens; the last one is [`Token::End`]. `+` counts as the space that it is in a query.
fn scan(text: &str) -> Vec<Token> {
    let is_symbol = |char: char| "=!(),><".contains(char);
    let is_space = |char: char| matches!(char, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let length = if is_symbol(first) {
            let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
            tokens.push(symbol.map_or_else(|| Token::Error(first.to_string()), Token::Symbol));
            symbol.map_or(first.len_utf8(), str::len)
        } else {
            let length = rest.find(|char| is_symbol(char) || is_space(char)).unwrap_or(rest.len());
            tokens.push(match &rest[..length] {
                "in" => Token::Word("in"),
                "notin" => Token::Word("notin"),
                other => Token::Identifier(other.to_owned()),
            });
            length
        };
        rest = rest[length..].trim_start_matches(is_space);
    }
    tokens.push(Token::End);
    tokens
}

/// Reads requirements from tokens; errors are the API's texts.
struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(requirements);
        }
        loop {
            if self.peek().identifier().is_none() && !self.peek().is("!") {
                let found = self.peek().text();
                return Err(if requirements.is_empty() {
                    format!("found '{found}', expected: !, identifier, or 'end of string'")
                } else {
                    format!("found '{found}', expected: identifier after ','")
                });
            }
            requirements.push(self.requirement().map_err(|text| format!("unable to parse requirement: {text}"))?);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {}
                token => return Err(format!("found '{}', expected: ',' or 'end of string'", token.text())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek().is("!");
        if negated {
            self.next();
        }
        let token = self.next();
        let Some(key) = token.identifier() else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        let violations = name::validate_qualified_name(key);
        if !violations.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", violations.join("; ")));
        }
        let key = key.to_owned();
        if *self.peek() == Token::End || self.peek().is(",") {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key, operator });
        }
        if negated {
            // `!a` is complete; what follows belongs to the caller, who refuses it.
            return Ok(Requirement { key, operator: Operator::DoesNotExist });
        }
        let operator = self.next();
        let (values, operator) = match operator.text() {
            "in" | "notin" if matches!(operator, Token::Word(_)) => (self.values()?, operator),
            "=" | "==" | "!=" | ">" | "<" => (vec![self.value()?], operator),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        for (index, value) in values.iter().enumerate() {
            let violations = name::validate_label_value(value);
            if !violations.is_empty() {
                return Err(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", violations.join("; ")));
            }
        }
        let operator = match operator.text() {
            "in" | "=" | "==" => Operator::In(values),
            "notin" | "!=" => Operator::NotIn(values),
            ">" => Operator::GreaterThan(number(&values)?),
            _ => Operator::LessThan(number(&values)?),
        };
        Ok(Requirement { key, operator })
    }

    /// The one value after `=` and its like; absent means empty.
    fn value(&mut self) -> Result<String, String> {
        if *self.peek() == Token::End || self.peek().is(",") {
            return Ok(String::new());
        }
        let token = self.next();
        token.identifier().map(str::to_owned).ok_or_else(|| format!("found '{}', expected: identifier", token.text()))
    }

    /// `(a,b)` after `in`: words and empty places between commas, each once and sorted.
    fn values(&mut self) -> Result<Vec<String>, String> {
        let token = self.next();
        if !token.is("(") {
            return Err(format!("found '{}' expected: '('", token.text()));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Symbol(",") => values.push(String::new()),
                Token::Symbol(")") => {
                    values.push(String::new());
                    break;
                }
                token => match token.identifier() {
                    Some(value) => {
                        values.push(value.to_owned());
                        match self.next() {
                            Token::Symbol(",") => {}
                            Token::Symbol(")") => break,
                            token => return Err(format!("found '{}', expected: ',' or ')'", token.text())),
                        }
                    }
                    None if values.is_empty() => {
                        return Err(format!("found '{}', expected: ',', ')' or identifier", token.text()));
                    }
                    None => return Err(format!("found '{}', expected: ',', or identifier", token.text())),
                },
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

fn number(values: &[String]) -> Result<i64, String> {
    let value = values.first().map_or("", String::as_str);
    value.parse().map_err(|_| {
        format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
    })
}

/// A parsed field selector: all of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    /// `!=`
    pub negated: bool,
}

impl Fields {
    /// Parses a `fieldSelector` parameter for a resource.
    ///
    /// # Errors
    /// 400 for bad syntax and for fields that the kind does not support (W-136, W-137).
    pub fn parse(resource: &Resource, text: &str) -> Result<Self, Status> {
        let mut parts = split_unescaped(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let term = parse_term(part).map_err(|fault| {
                Status::bad_request(match fault {
                    TermFault::NoOperator => format!("invalid selector: '{text}'; can't understand '{part}'"),
                    TermFault::Escape(sequence) => {
                        format!("invalid field selector: invalid escape sequence: {sequence}")
                    }
                    TermFault::Unescaped(char) => {
                        format!("invalid field selector: unescaped character in value: {char}")
                    }
                })
            })?;
            if resource.rules.field(&Object::default(), &term.field).is_none() {
                return Err(Status::bad_request(resource.rules.unsupported_field(&term.field)));
            }
            terms.push(term);
        }
        Ok(Self { terms })
    }

    /// The value that `field` must equal, if the selector demands one (`metadata.name=x`).
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| !term.negated && term.field == field).map(|term| term.value.as_str())
    }

    #[must_use]
    pub fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.terms
            .iter()
            .all(|term| (resource.rules.field(object, &term.field).unwrap_or_default() == term.value) != term.negated)
    }
}

/// The parts between commas that no backslash protects.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, char) in text.char_indices() {
        if char == ',' && !escaped {
            parts.push(&text[start..index]);
            start = index + 1;
        }
        escaped = char == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

enum TermFault {
    NoOperator,
    Escape(String),
    Unescaped(char),
}

fn parse_term(part: &str) -> Result<FieldTerm, TermFault> {
    let operator = |index| ["!=", "==", "="].into_iter().find(|operator| part[index..].starts_with(operator));
    let (index, operator) = part
        .char_indices()
        .find_map(|(index, _)| operator(index).map(|operator| (index, operator)))
        .ok_or(TermFault::NoOperator)?;
    let value = unescape(&part[index + operator.len()..])?;
    Ok(FieldTerm { field: part[..index].to_owned(), value, negated: operator == "!=" })
}

/// Takes the backslashes before `\`, `,` and `=` away.
fn unescape(text: &str) -> Result<String, TermFault> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(char @ ('\\' | ',' | '=')) => value.push(char),
                Some(char) => return Err(TermFault::Escape(format!("\\{char}"))),
                None => return Err(TermFault::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(TermFault::Unescaped(char)),
            char => value.push(char),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
    use proptest::prelude::*;

    #[track_caller]
    fn matches(selector: &str, labels: &[(&str, &str)], want: bool) {
        let parsed = Labels::parse(selector).unwrap();
        let get = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        assert_eq!(parsed.matches(get), want, "{selector} on {labels:?}");
    }

    #[test]
    fn w135_label_selectors_match() {
        let labels = [("a", "1"), ("b", "x"), ("airflow-worker", "7")];
        for selector in [
            "",
            "a=1",
            "a==1",
            "a = 1",
            "a!=2",
            "c!=1",
            "a in (1,2)",
            "a notin (2)",
            "c notin (2)",
            "a",
            "!c",
            "a>0",
            "a<2",
            "a=1,b=x",
            "b in (x , y),!c",
            "airflow-worker=7,POD_DONE!=True",
        ] {
            matches(selector, &labels, true);
        }
        for selector in ["a=2", "a!=1", "a in (2)", "a in ()", "!a", "c", "a>1", "b>1", "c>1", "a=1,b=y", "a="] {
            matches(selector, &labels, false);
        }
        matches("a in (,x)", &[("a", "")], true);
        matches("in in (in)", &[("in", "in")], true);
    }

    #[track_caller]
    fn refuses(selector: &str, want: &str) {
        let status = Labels::parse(selector).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, want), "{selector}");
    }

    #[test]
    fn w135_bad_label_selectors_are_refused_with_the_reason() {
        refuses("a==,=", "found '=', expected: identifier after ','");
        refuses("a==(", "unable to parse requirement: found '(', expected: identifier");
        refuses("a===b", "unable to parse requirement: found '=', expected: identifier");
        refuses("!=b", "found '!=', expected: !, identifier, or 'end of string'");
        refuses("=b", "found '=', expected: !, identifier, or 'end of string'");
        refuses("a,", "found '', expected: identifier after ','");
        refuses("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
        refuses("a in b", "unable to parse requirement: found 'b' expected: '('");
        refuses("a in (b", "unable to parse requirement: found '', expected: ',' or ')'");
        refuses(
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        );
        assert!(Labels::parse("-a=b").unwrap_err().message.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters"
        ));
        assert!(Labels::parse("a=-").unwrap_err().message.starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string"
        ));
    }

    fn typed() -> LabelSelector {
        let expression = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: (!values.is_empty()).then(|| values.iter().map(|value| (*value).to_owned()).collect()),
        };
        LabelSelector {
            match_labels: Some([("b".to_owned(), "1".to_owned())].into()),
            match_expressions: Some(vec![
                expression("a", "In", &["y", "x"]),
                expression("c", "Exists", &[]),
                expression("d", "DoesNotExist", &[]),
            ]),
        }
    }

    #[test]
    fn typed_selectors_match_and_print() {
        let labels = Labels::from_typed(&typed());
        let get =
            |key: &str| [("a", "x"), ("b", "1"), ("c", "")].into_iter().find(|(name, _)| *name == key).map(|p| p.1);
        assert!(labels.matches(get));
        assert!(!labels.matches(|_| None));
        assert_eq!(render(Some(&typed())), "a in (x,y),b=1,c,!d");
        assert_eq!(render(Some(&LabelSelector::default())), "<none>");
        assert_eq!(render(None), "<none>");
    }

    #[test]
    fn j443_typed_selectors_are_validated() {
        assert!(validate(&typed(), &Path::new("spec.selector")).is_empty());
        let mut bad = typed();
        if let Some(expressions) = &mut bad.match_expressions {
            expressions[0].values = None;
            expressions[1].operator = "Near".to_owned();
            expressions[2].values = Some(vec!["v".to_owned()]);
        }
        let texts = validate(&bad, &Path::new("s"))
            .0
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.body))
            .collect::<Vec<_>>();
        assert_eq!(
            texts,
            [
                "s.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "s.matchExpressions[1].operator: Invalid value: \"Near\": not a valid selector operator",
                "s.matchExpressions[2].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ]
        );
    }

    fn config_maps() -> &'static Resource {
        registry::find("", "v1", "configmaps").unwrap()
    }

    #[test]
    fn w136_field_selectors_parse_in_any_order() {
        let fields = Fields::parse(config_maps(), "metadata.namespace!=b,metadata.name=a").unwrap();
        assert_eq!(fields.exact("metadata.name"), Some("a"));
        assert_eq!(fields.exact("metadata.namespace"), None);
        assert_eq!(Fields::parse(config_maps(), "metadata.name==").unwrap().exact("metadata.name"), Some(""));
        assert!(Fields::parse(config_maps(), "").unwrap().terms.is_empty());
        assert_eq!(Fields::parse(config_maps(), "metadata.name=a\\,b").unwrap().exact("metadata.name"), Some("a,b"));
    }

    #[track_caller]
    fn refuses_field(text: &str, want: &str) {
        let status = Fields::parse(config_maps(), text).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, want));
    }

    #[test]
    fn w137_unknown_fields_and_bad_syntax_are_refused() {
        refuses_field("x", "invalid selector: 'x'; can't understand 'x'");
        refuses_field(
            "data=1",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        );
        refuses_field("metadata.name=a=b", "invalid field selector: unescaped character in value: =");
    }

    proptest! {
        #[test]
        fn selectors_never_panic(text in "[a-c/. =!(),<>in\\\\+ä]{0,24}|.*") {
            let _ = Labels::parse(&text);
            let _ = Fields::parse(config_maps(), &text);
        }

        #[test]
        fn w135_not_in_is_the_opposite_of_in(value in "[a-c]{0,2}", label in proptest::option::of("[a-c]{0,2}")) {
            let parse = |text: &str| Labels::parse(text).unwrap().matches(|_| label.as_deref());
            prop_assert_ne!(parse(&format!("k in ({value})")), parse(&format!("k notin ({value})")));
            prop_assert_ne!(parse(&format!("k={value}")), parse(&format!("k!={value}")));
        }
    }
}
