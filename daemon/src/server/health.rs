//! `/healthz`, `/livez`, `/readyz` (W-197).

use std::{collections::BTreeSet, iter, sync::Arc};

use axum::{http::StatusCode, response::Response};
use tracing::debug;

use super::{query::Query, respond};

/// What the failure of a check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The daemon cannot go on: it should be started again.
    Live,
    /// It can take no work now.
    Ready,
    /// It takes work, which may wait: told to whoever asks for this check or for all of them, and nothing fails by it.
    Told,
}

/// One named check. It must answer at once: it reads what the parts already know and does no work.
#[derive(Clone)]
pub struct Check {
    pub name: &'static str,
    pub weight: Weight,
    /// The reason when it does not hold.
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The checks of a path: all for readiness, fewer for liveness.
fn relevant<'a>(checks: &'a [Check], path: &str) -> impl Iterator<Item = &'a Check> {
    let only_live = path.trim_start_matches('/').starts_with("livez");
    checks.iter().filter(move |check| match check.weight {
        Weight::Live | Weight::Told => true,
        Weight::Ready => !only_live,
    })
}

/// Answers `ok`, or says what does not hold. None: there is no such check.
pub(crate) fn answer(checks: &[Check], path: &str, one: Option<&str>, query: &Query) -> Option<Response> {
    if let Some(name) = one {
        if name == "ping" {
            return Some(respond::text(StatusCode::OK, "ok"));
        }
        let check = relevant(checks, path).find(|check| check.name == name)?;
        return Some(match (check.run)() {
            Ok(()) => respond::text(StatusCode::OK, "ok"),
            Err(why) => {
                debug!(check = name, "health check {name} failed: {why}");
                respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: reason withheld\n")
            }
        });
    }
    let mut excluded = query.all("exclude").collect::<BTreeSet<_>>();
    let mut lines = String::new();
    let mut failed = false;
    let ping = Check { name: "ping", weight: Weight::Live, run: Arc::new(|| Ok(())) };
    for check in iter::once(&ping).chain(relevant(checks, path)) {
        let name = check.name;
        if excluded.remove(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        match (check.run)() {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                failed |= check.weight != Weight::Told;
                debug!(check = name, "health check {name} failed: {why}");
                // The reason may name paths; anybody may ask here.
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
    }
    if !excluded.is_empty() {
        let names = excluded.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
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

    fn failing(name: &'static str, weight: Weight) -> Check {
        Check { name, weight, run: Arc::new(|| Err("down".to_owned())) }
    }

    #[track_caller]
    fn check(checks: &[Check], path: &str, one: Option<&str>, query: &str, want: Option<u16>) {
        let got = answer(checks, path, one, &Query::parse(query)).map(|response| response.status().as_u16());
        assert_eq!(got, want, "{path} {one:?} {query}");
    }

    #[test]
    fn readiness_takes_all_checks_and_liveness_few_w197() {
        let store = Check { name: "store", weight: Weight::Live, run: Arc::new(|| Ok(())) };
        let checks = [store, failing("shutdown", Weight::Ready)];
        check(&checks, "/livez", None, "", Some(200));
        check(&checks, "/readyz", None, "", Some(500));
        check(&checks, "/healthz", None, "", Some(500));
        check(&checks, "/readyz", None, "exclude=shutdown&verbose", Some(200));
        check(&checks, "/readyz", Some("shutdown"), "", Some(500));
        check(&checks, "/readyz", Some("store"), "", Some(200));
        check(&checks, "/readyz", Some("ping"), "", Some(200));
        check(&checks, "/readyz", Some("nope"), "", None);
        check(&checks, "/livez", Some("shutdown"), "", None);
        check(&[failing("store", Weight::Live)], "/livez", None, "", Some(500));
    }

    #[test]
    fn what_is_only_told_fails_by_itself_alone() {
        let checks = [failing("engine", Weight::Told)];
        for path in ["/livez", "/readyz"] {
            check(&checks, path, None, "", Some(200));
            check(&checks, path, Some("engine"), "", Some(500));
        }
    }

    #[tokio::test]
    async fn verbose_lists_every_check_w197() {
        let checks = [failing("engine", Weight::Told), failing("shutdown", Weight::Ready)];
        let text = async |query: &str| {
            let response = answer(&checks, "/readyz", None, &Query::parse(query)).unwrap();
            let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(
            text("verbose").await,
            "[+]ping ok\n[-]engine failed: reason withheld\n[-]shutdown failed: reason withheld\nreadyz check failed\n"
        );
        assert_eq!(
            text("verbose&exclude=shutdown&exclude=x").await,
            "[+]ping ok\n[-]engine failed: reason withheld\n[+]shutdown excluded: ok\n\
             warn: some health checks cannot be excluded: no matches for \"x\"\nreadyz check passed\n"
        );
    }
}
