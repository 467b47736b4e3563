//! The command line: builds the parts, joins them, stops them in order.

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> std::process::ExitCode {
    todo!()
}
