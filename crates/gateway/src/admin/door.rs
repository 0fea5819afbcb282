//! Decides who may read the admin side, and who may change something there.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::desk::{Desk, Ends};
use super::problem::AdminProblem;
use crate::callers::gate::{Gate, Kept};

/// The name of the token that a request carried. The function `pass` attaches it to every request with a valid token.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) String);

/// Passes a request on to its handler if the request is allowed, and returns the handler's answer. Otherwise returns an
/// answer that says why the request is refused. No handler needs to check the request again.
pub(super) async fn pass(
    State(desk): State<Arc<Desk>>,
    Extension(ends): Extension<Ends>,
    mut request: Request,
    next: Next,
) -> Response {
    match desk.judge(ends, &request) {
        Ok(who) => {
            if let Some(who) = who {
                request.extensions_mut().insert(who);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Desk {
    /// Decides whether a request is allowed. Returns the name of its token, or `None` if it has no valid token and
    /// needs none.
    ///
    /// A request that only reads needs no token in two cases: it came in on loopback, or its path is not under `/api/`.
    /// Every other request needs a valid token.
    ///
    /// The token is checked only after `Host` and, for a request that changes something, `Origin`. So a web page of
    /// another origin cannot change anything, even if it sends a valid token.
    ///
    /// # Errors
    /// The reason why the request is refused.
    fn judge(&self, ends: Ends, request: &Request) -> Result<Option<Who>, AdminProblem> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let compiled = self.running.compiled.load();
        let gate = Gate::new(ends.local, &compiled.settings.gateway.hosts, None);
        // For a request that only reads, only the name in `Host` is checked. `Origin` and similar headers are not, so a
        // link on another site may lead here. That site cannot read the answer.
        let only_host = reads.then(|| hosts_of(request.headers()));
        let headers = only_host.as_ref().unwrap_or(request.headers());
        gate.admit(request.version(), request.uri(), headers).map_err(|kept| match kept {
            Kept::Malformed(why) => AdminProblem::new(StatusCode::BAD_REQUEST, why),
            Kept::Outside(why) => AdminProblem::new(StatusCode::FORBIDDEN, why),
        })?;

        let shown = request.headers().get(AUTHORIZATION);
        let who = shown.and_then(|shown| self.token.name_of(shown)).map(Who);
        let open_to_all = !request.uri().path().starts_with("/api/");
        let free = reads && (ends.local.ip().is_loopback() || open_to_all);
        if who.is_none() && !free {
            let what =
                if shown.is_some() { "this token is not known here" } else { "this request needs a token" };
            let detail = format!(
                "{what}: send `Authorization: Bearer TOKEN` with the token of {}",
                self.token.source()
            );
            return Err(AdminProblem::new(StatusCode::UNAUTHORIZED, detail));
        }
        Ok(who)
    }
}

fn hosts_of(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(HOST).iter().map(|host| (HOST, host.clone())).fold(
        HeaderMap::new(),
        |mut hosts, (name, host)| {
            hosts.append(name, host);
            hosts
        },
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio::net::TcpListener;

    use super::*;
    use crate::admin::AdminToken;
    use crate::config;
    use crate::durable::side::LedgerSide;
    use crate::running::process::Running;

    const ONE: &str = "[dependency.a]\nurl = \"http://a.example\"\n";

    async fn desk() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, "good-token-of-sixteen\n").unwrap();
        let text = format!("[gateway]\nadmin_token_file = \"{}\"\n{ONE}", file.display());
        let settings = config::parse("seawall.toml", &text, &|_| None).unwrap().settings;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = Arc::new(Running::new(settings, 1).unwrap());
        let (token, _) = AdminToken::prepare(&running, listener.local_addr().unwrap()).unwrap();
        Desk { running, token, changes: Default::default(), ledger: Arc::new(LedgerSide::new()) }
    }

    fn ask(desk: &Desk, local: &str, path: &str, token: Option<&str>) -> bool {
        let local: std::net::SocketAddr = local.parse().unwrap();
        let ends = Ends { local, peer: "10.9.9.9:5000".parse().unwrap() };
        let mut request = Request::builder().uri(path).header(HOST, local.to_string());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        desk.judge(ends, &request.body(Body::empty()).unwrap()).is_ok()
    }

    #[tokio::test]
    async fn off_loopback_reading_needs_a_token_and_probes_do_not() {
        let desk = desk().await;
        assert!(ask(&desk, "127.0.0.1:8401", "/api/dependencies", None));
        assert!(ask(&desk, "[::1]:8401", "/api/dependencies", None));
        for path in ["/api/dependencies", "/api/changes", "/api/none"] {
            assert!(!ask(&desk, "10.1.2.3:8401", path, None), "{path}");
            assert!(!ask(&desk, "10.1.2.3:8401", path, Some("bad-token")), "{path}");
            assert!(ask(&desk, "10.1.2.3:8401", path, Some("good-token-of-sixteen")), "{path}");
        }
        for path in ["/livez", "/readyz", "/"] {
            assert!(ask(&desk, "10.1.2.3:8401", path, None), "{path}");
        }
    }

    #[test]
    fn off_loopback_a_token_file_is_needed() {
        let settings = config::parse("seawall.toml", ONE, &|_| None).unwrap().settings;
        let running = Running::new(settings, 1).unwrap();
        let refused = AdminToken::prepare(&running, "10.1.2.3:8401".parse().unwrap());
        assert!(refused.unwrap_err().contains("admin_token_file"));
    }
}
