//! Logs: JSON lines on standard error for whoever collects them, readable ones where a person looks.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use super::terminal;

/// Begins to log, once for the process.
pub(super) fn begin() {
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::INFO)
        // A closed standard error must not end the gateway: the complaint about it would panic.
        .log_internal_errors(false)
        .with_ansi(terminal::colour_on_errors());
    if std::io::stderr().is_terminal() {
        logs.with_target(false).init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
}
