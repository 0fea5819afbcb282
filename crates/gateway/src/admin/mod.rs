//! The admin side: where people and monitoring look, and where an operator changes something.
//!
//! Reading needs no token on loopback. A request that changes something needs a token, wherever it comes from. The Host
//! is checked on every request. A web page of another origin may change nothing, even with a token.
//!
//! An admin port that trusts its network and checks nothing would be simpler. But a web page can make the name of its
//! own site resolve to this machine. If an operator opened such a page, the page could reach the port through the
//! operator's browser.
//!
//! Who changed what, when and why is kept and logged: for breakers in this process ([`changes`]), and for actions in
//! the ledger ([`actions`]).

mod actions;
mod body;
mod breaker;
mod changes;
mod desk;
mod door;
mod problem;
mod seats;
mod token;
mod view;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

pub use actions::view::{ActionPage, ActionRow, NextView, OrderResult, OrderResults, StuckView};
pub use changes::{Change, MOST_CHANGES};
pub use token::{AdminToken, MadeFile, default_token_path};
pub use view::{
    BreakerKeyView, BreakerView, CallsView, DependencyView, EndpointView, LimitKeyView, LimitView,
    OperationView, Overview, RefusalView, ReloadView, WindowView,
};
pub use words::in_words;

use crate::callers::descriptors::admin_seats;
use crate::durable::side::LedgerSide;
use crate::running::process::Running;
use changes::OperatorChanges;
use desk::{Desk, Ends};
use problem::AdminProblem;
use seats::{Asked, Seats};

/// The maximum number of connections at the same time. The number is lower if the process may open only few files. 256
/// are enough for people and a few scrapers. If one more connection comes, the connection that has sent no request for
/// the longest time is closed.
const MOST_CONNECTIONS: usize = 256;
/// The maximum time that a request's head may take to arrive. An idle connection is kept for this time too.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Serves the admin side until this future is dropped. Then every connection is closed.
///
/// # Errors
/// Never returns one. If a connection cannot be accepted, this is logged, and the next one is tried.
pub async fn serve(listener: TcpListener, running: Arc<Running>, token: AdminToken) -> io::Result<()> {
    serve_with(listener, running, Arc::new(LedgerSide::new()), token).await
}

/// Serves the admin side as [`serve`] does, with the actions of the ledger that the parameter `ledger` holds. With
/// `?verbose`, the path `/readyz` also says whether this ledger is open and answers.
pub(crate) async fn serve_with(
    listener: TcpListener,
    running: Arc<Running>,
    ledger: Arc<LedgerSide>,
    token: AdminToken,
) -> io::Result<()> {
    let desk = Arc::new(Desk { running, token, changes: OperatorChanges::default(), ledger });
    let router = routes(Arc::clone(&desk));
    let mut seats = Seats::new(MOST_CONNECTIONS.min(admin_seats()));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                seats.seat(|asked| attend(stream, peer, router.clone(), asked)).await;
            }
            Err(error) => {
                desk.running.refusals.not_accepted("admin", &error);
                // The connection could not be accepted, most likely because no file descriptor is left. A descriptor
                // becomes free only when a connection ends, so the gateway waits a little before it accepts again.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn attend(stream: TcpStream, peer: SocketAddr, router: Router, asked: Asked) {
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { local: canonical(local), peer: canonical(peer) };
    let inner = TowerToHyperService::new(router.layer(Extension(ends)));
    let service = service_fn(move |request| {
        asked.now();
        inner.call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "admin: the connection broke");
    }
}

/// Returns the address. An IPv4 address that an IPv6 socket shows in the form of IPv6 is turned back into an IPv4
/// address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(listing))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/api/dependencies", get(dependencies))
        .route("/api/dependencies/{name}", get(dependency))
        .route("/api/dependencies/{name}/breaker", post(breaker::force))
        .route("/api/changes", get(changed))
        .route("/api/actions", get(actions::list))
        .route("/api/actions/counts", get(actions::counts))
        .route("/api/actions/{id}", get(actions::show).post(actions::orders::many))
        .route("/api/actions/{id}/{what}", post(actions::orders::one))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), door::pass))
        .layer(middleware::map_response(never_stored))
        .with_state(desk)
}

const PATHS: &str = "\
GET  /livez                           the process answers
GET  /readyz[?verbose]                it takes calls; 503 while it drains; and how the ledger is
GET  /api/dependencies                what it sees of every dependency
GET  /api/dependencies/NAME           of one
POST /api/dependencies/NAME/breaker   {\"state\":\"open|closed|auto\",\"endpoint\":0,\"reason\":\"why\"}
GET  /api/changes                     who changed which breaker, when and why
GET  /api/actions                     actions of the ledger, those that need a person first; filters:
                                      ?state=&dependency=&operation=&cause=&older=&newer=&key=&after=&limit=
GET  /api/actions/counts              how many actions are stuck
GET  /api/actions/ID                  one action: its attempts, and who did what with it, when and why
POST /api/actions/ID/retry|cancel|resolve   {\"reason\":\"why\",\"who\":\"ana\",\"version\":7}; resolve needs \"effect\"
POST /api/actions/retry|cancel|resolve      the same for many: \"actions\":[{\"id\":\"…\",\"version\":7}]
";

async fn listing() -> String {
    format!("Seawall {}, the admin side\n\n{PATHS}", env!("CARGO_PKG_VERSION"))
}

/// Answers the question whether the gateway itself is ready: 200 if it takes calls, 503 while it drains. An open
/// breaker says something about a dependency, and never makes the gateway unready. A ledger that does not answer never
/// makes the gateway unready either, since every call that is not durable works without the ledger. With `?verbose`, a
/// second line says whether the ledger is open and answers.
async fn ready(State(desk): State<Arc<Desk>>, uri: Uri) -> (StatusCode, String) {
    let (status, word) = match desk.running.is_draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        false => (StatusCode::OK, "ready\n"),
    };
    let is_verbose = uri
        .query()
        .is_some_and(|query| query.split('&').any(|one| one == "verbose" || one.starts_with("verbose=")));
    if !is_verbose {
        return (status, word.to_owned());
    }
    let compiled = desk.running.compiled.load_full();
    let used = compiled.dependencies.iter().any(|it| it.operations.durable().next().is_some());
    (status, format!("{word}ledger: {}\n", desk.ledger.in_words(used).await))
}

async fn dependencies(State(desk): State<Arc<Desk>>) -> Json<Overview> {
    let stuck = desk.stuck().await;
    Json(Overview { stuck, ..desk.overview() })
}

async fn dependency(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<Json<DependencyView>, AdminProblem> {
    let compiled = desk.running.compiled.load();
    let Some((_, found)) = compiled.by_name(&name) else { return Err(desk.no_dependency(&name)) };
    Ok(Json(desk.dependency(found)))
}

async fn changed(State(desk): State<Arc<Desk>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "changes": desk.changes.newest_first() }))
}

async fn unknown_path(uri: Uri) -> AdminProblem {
    AdminProblem::new(
        StatusCode::NOT_FOUND,
        format!("there is no `{}` here; `GET /` lists what there is", uri.path()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> AdminProblem {
    let detail = format!("`{}` does not take {method}; `GET /` lists what there is", uri.path());
    AdminProblem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Adds two headers to every answer. `no-store` tells browsers and proxies not to store the answer, since the state
/// that it shows may change at any moment. `nosniff` tells browsers to believe the `content-type` of the answer, so
/// that none shows a text of ours as HTML.
async fn never_stored(response: Response) -> impl IntoResponse {
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, response)
}
