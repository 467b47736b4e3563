//! Files with environment variables, which containers of a pod write for each other (`fileKeyRef`): lines `NAME='value'`, the value taken as
//! it stands, line breaks too. Pure.
#![deny(clippy::disallowed_methods)]

/// The value of a variable; the last definition counts. None: the file does not define it.
///
/// # Errors
/// When the file is not of this form.
pub(super) fn find(text: &str, wanted: &str) -> Result<Option<String>, String> {
    let (mut found, mut rest, mut line) = (None, text, 1);
    loop {
        let at = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        line += rest[..rest.len() - at.len()].matches('\n').count();
        if at.is_empty() {
            return Ok(found);
        }
        let (first, after) = at.split_once('\n').unwrap_or((at, ""));
        if first.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let wrong = || Err(format!("couldn't parse env file: line {line} is not of the form NAME='value'"));
        let Some((name, value)) = at.split_once('=').filter(|(name, _)| is_name(name)) else { return wrong() };
        let Some((value, after)) = value.strip_prefix('\'').and_then(|value| value.split_once('\'')) else {
            return wrong();
        };
        let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
        let tail = tail.trim();
        if !(tail.is_empty() || tail.starts_with('#')) {
            return wrong();
        }
        if name == wanted {
            found = Some(value.to_owned());
        }
        line += value.matches('\n').count() + 1;
        rest = after;
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<Option<&str>, &str>) {
        assert_eq!(find(text, "A").as_ref().map(Option::as_deref).map_err(String::as_str), want, "{text:?}");
    }

    #[test]
    fn values_stand_between_single_quotes_as_they_are() {
        check("A='x'", Ok(Some("x")));
        check("# first\n\n  A='x y' \nB='z'\n", Ok(Some("x y")));
        check("B='z'\n", Ok(None));
        check("", Ok(None));
        check("A=''", Ok(Some("")));
        check("A='$B \\n \"' # said", Ok(Some("$B \\n \"")));
        check("A='one\ntwo'\nB='x'", Ok(Some("one\ntwo")));
        check("A='1'\nA='2'", Ok(Some("2")));
    }

    #[test]
    fn anything_else_is_refused_with_its_line() {
        const WRONG: &str = "couldn't parse env file: line 2 is not of the form NAME='value'";
        for line in ["A=x", "A", "A ='x'", "A='x", "A='x'y", "='x'", "A=\"x\""] {
            check(&format!("B='b'\n{line}\n"), Err(WRONG));
        }
    }
}
