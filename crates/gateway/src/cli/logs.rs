//! Logs on standard error: readable lines on a terminal, and JSON lines for a program that collects them.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use super::terminal;

/// Begins to log. This function may be called only once in a process.
pub(super) fn begin() {
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::INFO)
        // If standard error is closed, a line of the log cannot be written. The logging library would then write a
        // message about that to standard error too, and would panic. A closed standard error must not end the gateway,
        // so those messages are turned off.
        .log_internal_errors(false)
        .with_ansi(terminal::colour_on_errors());
    if std::io::stderr().is_terminal() {
        logs.with_target(false).init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
}
