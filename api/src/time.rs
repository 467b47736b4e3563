//! Times on the wire (W-28) and durations as people read them (T-0).

use jiff::Timestamp;

/// `metav1.Time`: whole seconds, UTC, `Z`.
#[must_use]
pub fn render(time: Timestamp) -> String {
    let _ = time;
    todo!()
}

/// `MicroTime`: six decimals.
#[must_use]
pub fn render_micro(time: Timestamp) -> String {
    let _ = time;
    todo!()
}

/// Parses any RFC 3339 time.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let _ = text;
    todo!()
}

/// A duration in whole seconds in the short human form of tables (T-0, J-105).
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    let _ = seconds;
    todo!()
}

/// A duration as Go prints it: `10s`, `1m20s`, `2m40s`, `5m0s`, `1.5s`, `203ms` (J-2522, J-2573).
#[must_use]
pub fn go_duration(duration: std::time::Duration) -> String {
    let _ = duration;
    todo!()
}
