//! The shop: orders over HTTP, each with a charge at a provider that the shop does not own.
//!
//! Both orders of call and commit are here, side by side. Read [`Shop::call_after_commit`] first.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use seawall::GuardedPool;
use seawall::ledger::{ActionError, Actions, End, Ledger, WorkerSettings};
use seawall::{millis, secs};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::charges::Charges;
use super::orders::{Engine, Failure};

/// Which comes first: the call or the commit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Called {
    /// The call is made after the order was committed.
    After,
    /// The call is made before the order is committed.
    Before,
}

impl Called {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Called::After => "after",
            Called::Before => "before",
        }
    }
}

/// What a customer puts into an order.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Cart {
    /// The amount in cents.
    pub(crate) amount: i64,
    /// Whether the article is sold out, which the shop finds out only in the middle of its transaction.
    pub(crate) sold_out: bool,
}

/// How the shop's process is started.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    /// The database.
    pub(crate) url: String,
    /// The folder of the socket through which the database is reached.
    pub(crate) socket: Option<PathBuf>,
    /// Where the provider is.
    pub(crate) provider: String,
    /// Which of the two orders of call and commit it uses.
    pub(crate) called: Called,
}

struct Shop<E: Engine> {
    pool: GuardedPool<E>,
    after: Actions<E::Store>,
    before: Actions<E::Store>,
    called: Called,
}

/// Serves until its standard input ends. So the shop does not outlive the process that started it.
pub(crate) async fn serve<E: Engine>(settings: Settings) -> Result<(), Failure> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let shelves = E::open(&settings.url, settings.socket.as_deref()).await?;
    let charges = Charges::at(&settings.provider)?;
    // If the ledger learns the outcome only after the customer has left, the outcome is written in one transaction with
    // the order.
    let after = charges.after.declare::<E::Store>().on_settled(|conn, action| {
        Box::pin(async move {
            let state = match action.state.end() {
                Some(End::Done) => "paid",
                Some(End::Failed) => "failed",
                Some(End::Cancelled) => "cancelled",
                Some(End::Stuck) | None => return Ok(()),
            };
            Ok(E::set_state(conn, &action.key, state).await?)
        })
    });
    let ledger = Ledger::builder(shelves.store).operation(after).operation(&charges.before).build()?;
    // The worker continues all actions that a crash or a lost answer has left open, now and later.
    let mut often = WorkerSettings::default();
    often.scan = millis(200);
    let _worker = ledger.worker(often);
    let shop = Shop {
        pool: shelves.pool,
        after: charges.after.actions(&ledger)?,
        before: charges.before.actions(&ledger)?,
        called: settings.called,
    };
    let routes = Router::new()
        .route("/orders/{id}", put(place::<E>))
        .route("/orders/{id}/cancel", post(cancel::<E>))
        .with_state(Arc::new(shop));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, routes).await?)
}

async fn place<E: Engine>(
    State(shop): State<Arc<Shop<E>>>,
    Path(id): Path<String>,
    Json(cart): Json<Cart>,
) -> Result<Response, Trouble> {
    match shop.called {
        Called::After => shop.call_after_commit(&id, &cart).await,
        Called::Before => shop.call_before_commit(&id, &cart).await,
    }
}

async fn cancel<E: Engine>(
    State(shop): State<Arc<Shop<E>>>,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    shop.take_back(&id).await
}

impl<E: Engine> Shop<E> {
    /// Call after commit: the intent to charge is written in one transaction with the order. So the charge is not
    /// forgotten, whatever fails afterwards.
    async fn call_after_commit(&self, id: &str, cart: &Cart) -> Result<Response, Trouble> {
        let mut tx = self.pool.begin_with(E::BEGIN).await?;
        E::insert(&mut tx, id, cart.amount, "confirming").await?;
        let action = self.after.record(&mut tx, id, &charge(cart)).await?;
        tx.commit().await?;

        // No connection is held during the call. The handler of `on_settled` writes the outcome into the order.
        self.after.run_within(action, secs(5)).await?;

        let mut conn = self.pool.acquire().await?;
        let state = E::state(&mut conn, id).await?.unwrap_or_default();
        let status = match state.as_str() {
            "paid" => StatusCode::OK,
            // The outcome is not known yet. The worker goes on, and the order gets its state when the outcome is known.
            "confirming" => StatusCode::ACCEPTED,
            _ => StatusCode::CONFLICT,
        };
        Ok(said(status, id, &state))
    }

    /// Call before commit: the order is written only if the charge was made. The charge lasts only if the order is
    /// committed, because a charge that is not settled in time is cancelled.
    async fn call_before_commit(&self, id: &str, cart: &Cart) -> Result<Response, Trouble> {
        let action = self.before.reserve(id, &charge(cart)).await?;
        let outcome = self.before.run_within(action, secs(5)).await?;
        if outcome.is_settled() {
            return Ok(said(StatusCode::OK, id, "paid"));
        }
        if !outcome.awaits_settling() {
            return Ok(said(StatusCode::PAYMENT_REQUIRED, id, "none"));
        }

        let mut tx = self.pool.begin_with(E::BEGIN).await?;
        // The action's row is locked first, as the ledger does it. Transactions that lock in the same order do not
        // deadlock.
        self.before.settle(&mut tx, action).await?;
        E::insert(&mut tx, id, cart.amount, "paid").await?;
        if cart.sold_out {
            tx.rollback().await?;
            // This call is not needed, since the deadline would cancel the charge too. But the customer gets the money
            // back sooner.
            self.before.cancel_unsettled(action).await?;
            return Ok(said(StatusCode::CONFLICT, id, "none"));
        }
        tx.commit().await?;
        Ok(said(StatusCode::OK, id, "paid"))
    }

    /// Takes an order back that is paid, or may be paid soon. The charge is undone, even if its effect is not known
    /// yet.
    async fn take_back(&self, id: &str) -> Result<Response, Trouble> {
        let mut conn = self.pool.acquire().await?;
        let state = E::state(&mut conn, id).await?;
        drop(conn);
        if !matches!(state.as_deref(), Some("confirming" | "paid")) {
            return Ok(said(StatusCode::OK, id, state.as_deref().unwrap_or("none")));
        }
        let action = self.after.find(id).await?.id();
        let mut tx = self.pool.begin_with(E::BEGIN).await?;
        self.after.cancel(&mut tx, action).await?;
        E::set_state(&mut tx, id, "cancelled").await?;
        tx.commit().await?;
        Ok(said(StatusCode::OK, id, "cancelled"))
    }
}

/// The body of the charge for the provider.
fn charge(cart: &Cart) -> Value {
    json!({ "amount": cart.amount, "currency": "EUR" })
}

fn said(status: StatusCode, id: &str, state: &str) -> Response {
    (status, Json(json!({ "order": id, "state": state }))).into_response()
}

/// Something failed in the middle. The transaction is rolled back, if there was one. The ledger has everything else.
struct Trouble(Failure);

impl From<ActionError> for Trouble {
    fn from(error: ActionError) -> Trouble {
        Trouble(error.into())
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Trouble {
        Trouble(error.into())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.0.to_string() }));
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
    }
}
