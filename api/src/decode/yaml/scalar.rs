//! What a YAML 1.1 scalar means, as the converter of Kubernetes reads it (W-27): `y`, `no`, `on` are booleans, `0644` is
//! octal, `1_000` a thousand, dates stay text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Number;

use crate::decode::tree::Node;

/// The value of a scalar. `tag` is the suffix of a core tag (`int` of `!!int`); `str` for any other tag.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Node, String> {
    match tag {
        None if plain => plain_value(text),
        None | Some("str") => Ok(Node::String(text.to_owned())),
        Some("binary") => {
            let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let bytes =
                STANDARD.decode(compact).map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
            Ok(Node::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(tag) => {
            let value = plain_value(text)?;
            let fits = match &value {
                Node::Null => tag == "null",
                Node::Bool(_) => tag == "bool",
                Node::Number(number) => tag == "float" || (tag == "int" && !number.is_f64()),
                Node::String(_) => !matches!(tag, "null" | "bool" | "int" | "float"),
                Node::List(_) | Node::Map(_) => false,
            };
            if fits { Ok(value) } else { Err(format!("cannot decode `{text}` as a !!{tag}")) }
        }
    }
}

/// A scalar key as text.
pub(super) fn key(node: Node) -> Result<String, String> {
    match node {
        Node::String(text) => Ok(text),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Number(number) => Ok(number.to_string()),
        Node::Null | Node::List(_) | Node::Map(_) => Err("unsupported map key".to_owned()),
    }
}

fn plain_value(text: &str) -> Result<Node, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Node::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Node::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return Err(format!("json: unsupported value: {text}")),
        _ => number(text).map_or_else(|| Node::String(text.to_owned()), Node::Number),
    })
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    // Only integers may carry underscores when they start with a point.
    let digits = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    integer(&digits).or_else(|| float(&digits))
}

/// With Go's prefixes: `0x`, `0o`, `0b`, and a leading 0 for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { i64::try_from(-i128::from(magnitude)).ok().map(Number::from) } else { Some(magnitude.into()) }
}

/// A whole number comes out as an integer, since JSON writes it without a fraction.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let legal = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    if !legal {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // 2^63, exactly.
    let whole_max = 9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && value.abs() < whole_max {
        return format!("{value:.0}").parse::<i64>().ok().map(Number::from);
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(text: &str, want: Value) {
        assert_eq!(resolve(text, true, None).map(Node::into_value), Ok(want), "{text}");
    }

    #[test]
    fn booleans_and_nulls_are_those_of_yaml_1_1() {
        for text in ["y", "Yes", "on", "ON", "true", "TRUE"] {
            check(text, json!(true));
        }
        for text in ["n", "NO", "off", "Off", "false"] {
            check(text, json!(false));
        }
        for text in ["", "~", "null", "NULL"] {
            check(text, json!(null));
        }
        for text in ["yEs", "nULL", "oN", "truE"] {
            check(text, json!(text));
        }
    }

    #[test]
    fn numbers_are_those_of_go() {
        check("1", json!(1));
        check("-1_000", json!(-1000));
        check("0644", json!(420));
        check("0o644", json!(420));
        check("0x1F", json!(31));
        check("-0b11", json!(-3));
        check("18446744073709551615", json!(u64::MAX));
        check("-9223372036854775808", json!(i64::MIN));
        check("1.5", json!(1.5));
        check("1.0", json!(1));
        check("1e3", json!(1000));
        check(".5", json!(0.5));
        check("089", json!(89));
    }

    #[test]
    fn everything_else_is_text() {
        for text in ["1Gi", "100m", "1.2.3", "2026-11-20", "12:30", "0x", "+", ".", "-", "1e", "e3", "_1", "=", "0xfg"]
        {
            check(text, json!(text));
        }
        assert!(resolve(".inf", true, None).is_err());
    }

    #[test]
    fn tags_and_quotes_decide() {
        assert_eq!(resolve("1", false, None), Ok(Node::String("1".into())));
        assert_eq!(resolve("1", true, Some("str")), Ok(Node::String("1".into())));
        assert_eq!(resolve("1", false, Some("int")), Ok(Node::Number(1.into())));
        assert_eq!(resolve("YWI=", true, Some("binary")), Ok(Node::String("ab".into())));
        assert!(resolve("x", true, Some("int")).is_err());
    }
}
