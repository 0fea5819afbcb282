//! A door of the gateway: the rules of one listener. They say which requests are accepted, and to which dependency each
//! request goes.

use std::net::{SocketAddr, TcpListener};

use http::uri::PathAndQuery;
use seawall_policy::Reason;

use super::gate::Gate;
use crate::problem::Problem;
use crate::running::compiled::Compiled;
use crate::running::tokens::TokenFile;

/// A bound listener, and what is configured for it.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// The dependency to which this port belongs. `None` for the port that all dependencies share.
    pub(crate) own: Option<String>,
    pub(crate) tokens: Option<TokenFile>,
}

/// Decides which requests a listener accepts, and to which dependency they go.
pub(crate) struct Door {
    pub(crate) gate: Gate,
    own: Option<String>,
}

impl Door {
    /// Makes the door from an entrance (a listener and what is configured for it). Returns the listener and the door.
    /// `hosts` are the names of the gateway that callers may use as `Host`.
    pub(crate) fn new(entrance: Entrance, hosts: &[String]) -> (TcpListener, Door) {
        let Entrance { listener, address, own, tokens } = entrance;
        (listener, Door { gate: Gate::new(address, hosts, tokens), own })
    }

    /// Returns the name of the dependency to which this door's port belongs; `None` for the port that all dependencies
    /// share.
    pub(crate) fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// Returns the index of the request's dependency, and the path without the dependency's name. On a dependency's own
    /// port, the path is returned unchanged. Fails if the path is malformed or names no dependency.
    pub(crate) fn route(
        &self,
        compiled: &Compiled,
        path: Option<&PathAndQuery>,
    ) -> Result<(usize, PathAndQuery), Problem> {
        let path = path
            .filter(|path| path.as_str().starts_with('/'))
            .ok_or_else(|| Problem::refused(Reason::BadRequest, None, "a path must begin with /"))?;
        let unknown = |name: &str| {
            let why = match name {
                "" => "the first segment of the path names the dependency, and there is none".to_owned(),
                "-" => "paths under /-/ are Seawall's own, and this one does not exist".to_owned(),
                name => format!("there is no dependency `{name}`"),
            };
            Problem::refused(Reason::UnknownDependency, None, why)
        };
        if let Some(own) = &self.own {
            let (index, _) = compiled.by_name(own).ok_or_else(|| unknown(own))?;
            return Ok((index, path.clone()));
        }
        let (name, rest) = split_prefix(path)
            .ok_or_else(|| Problem::refused(Reason::BadRequest, None, "the path is malformed"))?;
        let (index, _) = compiled.by_name(name).ok_or_else(|| unknown(name))?;
        Ok((index, rest))
    }
}

/// Returns the first segment of a path, and the path without that segment. `None` if the path is malformed.
fn split_prefix(path: &PathAndQuery) -> Option<(&str, PathAndQuery)> {
    let text = path.as_str().strip_prefix('/')?;
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::try_from(rest),
        _ => PathAndQuery::try_from(format!("/{rest}")),
    };
    Some((name, rest.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_names_the_dependency() {
        for (path, name, rest) in [
            ("/pay/v1/charges?x=1", "pay", "/v1/charges?x=1"),
            ("/pay", "pay", "/"),
            ("/pay/", "pay", "/"),
            ("/pay?x=1", "pay", "/?x=1"),
            ("/pay//a", "pay", "//a"),
            ("/", "", "/"),
        ] {
            let path = PathAndQuery::from_static(path);
            let (found, behind) = split_prefix(&path).unwrap();
            assert_eq!((found, behind.as_str()), (name, rest));
        }
    }
}
