//! `/healthz`, `/livez`, `/readyz` (W-197).

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use tracing::warn;

use super::{query::Query, respond};

/// One named check. It must answer at once: it reads what the parts already know and does no work.
#[derive(Clone)]
pub struct Check {
    pub name: &'static str,
    /// Failing makes the server not ready; only some failures mean that it should be restarted.
    pub live: bool,
    /// The reason when it does not hold.
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The checks of a path: all for readiness, fewer for liveness.
fn relevant<'a>(checks: &'a [Check], path: &str) -> impl Iterator<Item = &'a Check> {
    let only_live = path.trim_start_matches('/').starts_with("livez");
    checks.iter().filter(move |check| check.live || !only_live)
}

/// Answers `ok`, or says what does not hold.
pub(crate) fn answer(checks: &[Check], path: &str, one: Option<&str>, query: &Query) -> Option<Response> {
    if let Some(name) = one {
        if name == "ping" {
            return Some(respond::text(StatusCode::OK, "ok"));
        }
        let check = relevant(checks, path).find(|check| check.name == name)?;
        return Some(match (check.run)() {
            Ok(()) => respond::text(StatusCode::OK, "ok"),
            Err(why) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{name} failed: {why}\n")),
        });
    }
    let excluded = query.all("exclude").collect::<Vec<_>>();
    let mut lines = String::from("[+]ping ok\n");
    let mut failed = false;
    for check in relevant(checks, path) {
        let name = check.name;
        if excluded.contains(&name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        match (check.run)() {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                failed = true;
                warn!(check = name, "health check {name} failed: {why}");
                // The reason may name paths; anybody may ask here.
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
    }
    let title = path.trim_matches('/');
    Some(match (failed, query.flag("verbose")) {
        (true, _) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{title} check failed\n")),
        (false, true) => respond::text(StatusCode::OK, format!("{lines}{title} check passed\n")),
        (false, false) => respond::text(StatusCode::OK, "ok"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        vec![
            Check { name: "store", live: true, run: Arc::new(|| Ok(())) },
            Check { name: "engine", live: false, run: Arc::new(|| Err("down".to_owned())) },
        ]
    }

    #[track_caller]
    fn check(path: &str, one: Option<&str>, query: &str, want: Option<u16>) {
        let got = answer(&checks(), path, one, &Query::parse(query)).map(|response| response.status().as_u16());
        assert_eq!(got, want, "{path} {one:?} {query}");
    }

    #[test]
    fn readiness_takes_all_checks_and_liveness_few_w197() {
        check("/livez", None, "", Some(200));
        check("/readyz", None, "", Some(500));
        check("/readyz", None, "exclude=engine&verbose", Some(200));
        check("/readyz", Some("engine"), "", Some(500));
        check("/readyz", Some("ping"), "", Some(200));
        check("/readyz", Some("nope"), "", None);
        check("/livez", Some("engine"), "", None);
    }
}
