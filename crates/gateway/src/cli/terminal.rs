//! What goes to the screen, and what does not.

use std::io::{ErrorKind, IsTerminal, Write};

use super::failure::Failure;

/// Writes to standard output. A reader that has gone away has seen enough: that is no failure, and no panic.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {error}")))
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Writes to standard error, as the last word of a command or beside its output.
pub(super) fn complain(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(std::io::stderr().lock(), "{text}{end}");
}

/// Whether standard output takes colour.
pub(super) fn colour_on_output() -> bool {
    std::io::stdout().is_terminal() && wanted()
}

/// Whether standard error takes colour.
pub(super) fn colour_on_errors() -> bool {
    std::io::stderr().is_terminal() && wanted()
}

/// `NO_COLOR` (any text but an empty one) and terminals that know no colours.
fn wanted() -> bool {
    let set = |name, value: Option<&str>| {
        std::env::var_os(name).is_some_and(|found| value.map_or(!found.is_empty(), |value| found == value))
    };
    !set("NO_COLOR", None) && !set("TERM", Some("dumb"))
}
