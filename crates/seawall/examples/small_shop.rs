//! A small shop whose charges are neither lost nor doubled. `docs/ledger.md` shows this file, and says how to run it.

use seawall::ledger::{
    Actions, Cancel, Confirm, Durable, End, Ledger, Sqlite, Store, Worker, WorkerSettings,
};
use seawall::serde_json::json;
use seawall::sqlx::{self, SqlitePool};
use seawall::{Dependency, Effect, Idempotency, Misuse, When, secs};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Says what the provider's documentation promises: that it honours keys, how it is asked about a charge, and how a
/// charge is undone.
fn charge(provider: &str) -> Result<Durable, Misuse> {
    Dependency::builder("payments")
        .endpoint(provider)?
        .build()?
        .operation("charge")
        .idempotency(Idempotency::Keyed)
        .answers(Effect::Applied, When::status(200).field("/code", ["OK"]))
        .answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED"]))
        .otherwise(Effect::Unknown)
        .build()?
        .durable("POST /v1/charges")
        .key_lifetime(secs(24 * 3600))
        .confirm(
            Confirm::by("GET /v1/charges?key={key}")
                .applied(When::status(200).field("/status", ["succeeded"]))
                .cancelled(When::status(200).field("/status", ["refunded"]))
                .absent(When::status(404).field("/error/code", [404]))
                .id("/id"),
        )
        .cancel(
            Cancel::by("POST /v1/refunds")
                .json(json!({ "charge": "{answer:/id}" }))
                .sets_a_state()
                .done(When::status(200).field("/code", ["OK"])),
        )
        .build()
}

struct Shop {
    orders: SqlitePool,
    charges: Actions<Sqlite>,
    worker: Worker,
}

impl Shop {
    /// Opens the shop's tables and the ledger's, which are in one file, and starts the worker.
    async fn open(store: Sqlite, provider: &str) -> Result<Shop, Failure> {
        store.migrate().await?;
        let orders = SqlitePool::connect_with(store.options()).await?;
        let table = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, amount BIGINT, state TEXT)";
        sqlx::query(table).execute(&orders).await?;

        let charge = charge(provider)?;
        // Runs in the transaction in which the ledger writes how the charge ended.
        let declared = charge.declare::<Sqlite>().on_settled(|conn, action| {
            Box::pin(async move {
                let state = match action.state.end() {
                    Some(End::Done) => "paid",
                    Some(End::Cancelled) => "taken back",
                    _ => "not paid",
                };
                let update = "UPDATE orders SET state = $1 WHERE id = $2";
                sqlx::query(update).bind(state).bind(&action.key).execute(conn).await?;
                Ok(())
            })
        });
        let ledger = Ledger::builder(store).operation(declared).build()?;
        let worker = ledger.worker(WorkerSettings::default());
        Ok(Shop { orders, charges: charge.actions(&ledger)?, worker })
    }

    /// Takes an order, and waits at most 5 s for its charge. If the charge takes longer, the worker goes on with it.
    async fn order(&self, id: &str, amount: i64) -> Result<(), Failure> {
        let mut tx = self.orders.begin_with("BEGIN IMMEDIATE").await?;
        let insert =
            "INSERT INTO orders (id, amount, state) VALUES ($1, $2, 'being paid') ON CONFLICT DO NOTHING";
        sqlx::query(insert).bind(id).bind(amount).execute(&mut *tx).await?;
        let action =
            self.charges.record(&mut tx, id, &json!({ "amount": amount, "currency": "EUR" })).await?;
        tx.commit().await?;

        self.charges.run_within(action, secs(5)).await?;
        Ok(())
    }

    /// Takes an order back. The charge is given back, even if nobody knows yet whether it was made.
    async fn take_back(&self, id: &str) -> Result<(), Failure> {
        let action = self.charges.find(id).await?.id();
        let mut tx = self.orders.begin_with("BEGIN IMMEDIATE").await?;
        self.charges.cancel(&mut tx, action).await?;
        sqlx::query("UPDATE orders SET state = 'taken back' WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;

        // The worker would undo the charge without this call, too.
        self.charges.run_within(action, secs(5)).await?;
        Ok(())
    }

    async fn state(&self, id: &str) -> Result<String, Failure> {
        let state = sqlx::query_scalar("SELECT state FROM orders WHERE id = $1").bind(id);
        Ok(state.fetch_optional(&self.orders).await?.unwrap_or_else(|| "unknown here".to_owned()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let (Some(what), Some(id)) = (words.next(), words.next()) else {
        return Err("say `order ID` or `take-back ID`".into());
    };
    let provider = std::env::var("PROVIDER").unwrap_or_else(|_| "http://127.0.0.1:8405".to_owned());
    let shop = Shop::open(Sqlite::open("shop.db").await?, &provider).await?;
    match what.as_str() {
        "order" => shop.order(&id, 1200).await?,
        "take-back" => shop.take_back(&id).await?,
        _ => return Err("say `order ID` or `take-back ID`".into()),
    }
    println!("{id}: {}", shop.state(&id).await?);
    // Waits for what is under way. What is not finished then is gone on with at the next start.
    shop.worker.drain(secs(10)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use seawall::testing::{Database, Fault, Provider};

    use super::*;

    #[tokio::test]
    async fn order_whose_answer_was_lost_is_paid_once() -> Result<(), Failure> {
        let (database, provider) = (Database::new().await, Provider::start().await);
        let shop = Shop::open(database.store(), provider.url()).await?;

        provider.next("POST /v1/charges", Fault::AnswerLost);
        let is_paid = async || shop.state("order-1").await.is_ok_and(|state| state == "paid");
        let (ordered, _) = tokio::join!(
            shop.order("order-1", 1200),
            database.clock().pass_until(secs(60), is_paid) // the ledger asks after 2 s
        );
        ordered?;

        assert_eq!(provider.effects("order-1"), 1);
        Ok(())
    }

    #[tokio::test]
    async fn order_that_is_taken_back_is_refunded_once() -> Result<(), Failure> {
        let (database, provider) = (Database::new().await, Provider::start().await);
        let shop = Shop::open(database.store(), provider.url()).await?;
        shop.order("order-1", 1200).await?;

        // The refund is made, but the answer to it says 500. The ledger must find out, and must not refund twice.
        provider.next("POST /v1/refunds", Fault::StatusAfterEffect(500));
        let is_undone = async || {
            shop.charges.find("order-1").await.is_ok_and(|charge| charge.end() == Some(End::Cancelled))
        };
        let (taken_back, _) =
            tokio::join!(shop.take_back("order-1"), database.clock().pass_until(secs(600), is_undone));
        taken_back?;

        assert_eq!(provider.refunds("order-1"), 1);
        assert_eq!(shop.state("order-1").await?, "taken back");
        Ok(())
    }
}
