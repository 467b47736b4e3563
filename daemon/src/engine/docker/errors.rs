//! bollard's errors into the classes of D-702.

use bollard::errors::Error as Bollard;

use super::Error;

/// Which call failed: the same text means different things in different calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Start,
    Pull,
    Other,
}

/// Texts that speak of the engine's own trouble, whatever the request was (D-702, D-1602).
const INFRASTRUCTURE: [&str; 6] = [
    "no space left on device",
    "connection error",
    "Unavailable",
    ": unavailable",
    "context canceled",
    "id already in use",
];

pub(super) fn convert(call: Call, error: Bollard) -> Error {
    match error {
        Bollard::DockerResponseServerError { status_code, message } => refused(call, status_code, message),
        // The last line of a pull that began well (D-1204).
        Bollard::DockerStreamError { error } => refused(call, 500, error),
        Bollard::RequestTimeoutError => Error::Unreachable("no answer in time".to_owned()),
        Bollard::SocketNotFoundError(path) => Error::Unreachable(format!("{path} does not exist")),
        other => Error::Unreachable(chain(&other)),
    }
}

fn refused(call: Call, status: u16, message: String) -> Error {
    let message = message.trim().to_owned();
    if call == Call::Pull {
        // Whatever a registry or the network to it says is about that image.
        return if status == 404 { Error::NotFound(message) } else { Error::Refused { status, message } };
    }
    if INFRASTRUCTURE.iter().any(|text| message.contains(text)) {
        return Error::Infrastructure(message);
    }
    match status {
        304 => Error::NotModified,
        404 => Error::NotFound(message),
        409 => Error::Conflict(message),
        status => Error::Refused { status, message },
    }
}

/// An error with its causes: bollard's own text for transport errors says nothing. What the system says of the socket is said alone:
/// the layers above it add only their own names.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(system) = cause.downcast_ref::<std::io::Error>()
            && system.raw_os_error().is_some()
        {
            return system.to_string();
        }
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(call: Call, status_code: u16, message: &str, want: Error) {
        let error = Bollard::DockerResponseServerError { status_code, message: message.to_owned() };
        assert_eq!(convert(call, error), want);
    }

    /// D-702, the texts of section 7.
    #[test]
    fn refusals_fall_into_the_classes_that_decide_who_is_to_blame() {
        let exec = r#"failed to create shim task: OCI runtime create failed: runc create failed: exec: "nope": executable file not found in $PATH: unknown"#;
        check(Call::Start, 400, exec, Error::Refused { status: 400, message: exec.to_owned() });
        check(
            Call::Create,
            404,
            "No such image: nope:latest",
            Error::NotFound("No such image: nope:latest".to_owned()),
        );
        check(Call::Create, 409, "Conflict. …", Error::Conflict("Conflict. …".to_owned()));
        let full = "write /var/lib/docker/x: no space left on device";
        check(Call::Create, 500, full, Error::Infrastructure(full.to_owned()));
        let away = r#"connection error: desc = "transport: error while dialing: connection refused": unavailable"#;
        check(Call::Start, 500, away, Error::Infrastructure(away.to_owned()));
        check(
            Call::Start,
            500,
            "Canceled: context canceled",
            Error::Infrastructure("Canceled: context canceled".to_owned()),
        );
        check(Call::Start, 500, "id already in use", Error::Infrastructure("id already in use".to_owned()));
        let pull = r#"Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#;
        check(Call::Pull, 500, pull, Error::Refused { status: 500, message: pull.to_owned() });
    }
}
