//! Reads what an operator sends: a short JSON body, and the words in it.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::problem::AdminProblem;

/// The maximum time that a request's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The maximum number of characters of a reason, and of a name.
const MOST_REASON: usize = 500;
const MOST_NAME: usize = 100;

/// Reads a JSON body of at most `most` bytes. `shape` is what it should be, for the error.
///
/// # Errors
/// If the body is too long, does not arrive in time, or is not such JSON.
pub(super) async fn read<T: DeserializeOwned>(
    body: Body,
    most: usize,
    shape: &str,
) -> Result<T, AdminProblem> {
    let Ok(read) = tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await else {
        return Err(AdminProblem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body did not arrive in time",
        ));
    };
    let bytes = read.map_err(|_| {
        AdminProblem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body broke off, or is larger than {most} bytes"),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| bad(format!("the body is not {shape}: {error}")))
}

/// Returns the reason that an operator gave, without the spaces around it. `what` is what others find in its new state.
///
/// # Errors
/// If it is empty, too long, or not one line.
pub(super) fn reason(text: &str, what: &str) -> Result<String, AdminProblem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(bad(format!("`reason` is empty: say why, for the people who find {what} in this state")));
    }
    line("reason", text, MOST_REASON)
}

/// Returns the name that an operator gave, without the spaces around it; `None` if there is none.
///
/// # Errors
/// If it is too long, or not one line.
pub(super) fn name(text: Option<&str>) -> Result<Option<String>, AdminProblem> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    text.map(|text| line("who", text, MOST_NAME)).transpose()
}

fn line(key: &str, text: &str, most: usize) -> Result<String, AdminProblem> {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(bad(format!("`{key}` must be one line of at most {most} characters")));
    }
    Ok(text.to_owned())
}

pub(super) fn bad(detail: impl Into<String>) -> AdminProblem {
    AdminProblem::new(StatusCode::BAD_REQUEST, detail)
}
