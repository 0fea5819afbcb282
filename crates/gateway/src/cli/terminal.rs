//! Output to the terminal.

use std::io::{ErrorKind, IsTerminal, Write};

use super::failure::Failure;

/// Writes a text to standard output. Fails if it cannot be written. But if the reader of the output has closed it
/// early, that is neither a failure nor a panic.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {error}")))
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Writes to standard error: why a command failed, or a remark that does not belong to the command's output.
pub(super) fn complain(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(std::io::stderr().lock(), "{text}{end}");
}

/// Returns whether colour is used on standard output.
pub(super) fn colour_on_output() -> bool {
    std::io::stdout().is_terminal() && wanted()
}

/// Returns whether colour is used on standard error.
pub(super) fn colour_on_errors() -> bool {
    std::io::stderr().is_terminal() && wanted()
}

/// Returns whether the user and the terminal allow colour. They do not if the variable `NO_COLOR` is set and not empty,
/// or if `TERM` is `dumb`, which means a terminal without colours.
fn wanted() -> bool {
    let set = |name, value: Option<&str>| {
        std::env::var_os(name).is_some_and(|found| value.map_or(!found.is_empty(), |value| found == value))
    };
    !set("NO_COLOR", None) && !set("TERM", Some("dumb"))
}
