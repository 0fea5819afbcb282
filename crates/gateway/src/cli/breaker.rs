//! `seawall breaker`: an operator opens or closes a breaker by hand, or lets the results of calls decide again.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;
use super::remote::{Remote, RemoteGateway, segment};
use super::status::table;
use super::terminal;
use crate::admin::DependencyView;

/// What the breaker is set to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Setting {
    /// Refuse every call
    Open,
    /// Let every call pass, whatever happens
    Closed,
    /// Let the results of calls open and close the breaker
    Auto,
}

/// The part of the admin side's answer that this command shows.
#[derive(Deserialize)]
struct ShownAnswer {
    /// One text for each breaker that was changed, with what its new state means for calls. Empty if the answer comes
    /// from an older gateway, which does not send these texts.
    #[serde(default)]
    results: Vec<String>,
    dependency: DependencyView,
}

pub(super) fn run(
    gateway: &RemoteGateway,
    dependency: &str,
    state: Setting,
    endpoint: Option<usize>,
    reason: &str,
) -> Result<(), Failure> {
    let remote = Remote::new(gateway)?;
    remote.need_token()?;
    let state = match state {
        Setting::Open => "open",
        Setting::Closed => "closed",
        Setting::Auto => "auto",
    };
    let mut order = json!({ "state": state, "reason": reason });
    if let Some(endpoint) = endpoint {
        order["endpoint"] = endpoint.into();
    }
    let answer = remote.post(&format!("/api/dependencies/{}/breaker", segment(dependency)), &order)?;
    let done: ShownAnswer = serde_json::from_str(&answer).map_err(|error| {
        Failure::failed(format!("{}: the answer is not that of a gateway: {error}", gateway.admin))
    })?;
    let mut out = table(vec![done.dependency], &[], terminal::colour_on_output());
    done.results.iter().for_each(|result| out.push_str(&format!("{result}\n")));
    terminal::print(&out)
}
