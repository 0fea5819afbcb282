//! The SQL functions `seawall.record`, `seawall.settle` and `seawall.cancel` against the machine: rows of random walks
//! go through both, and every column is compared.

use std::collections::BTreeMap;

use fastrand::Rng;
use seawall_ledger::machine::{self, Birth, used_anew};
use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::{Insert, Recorded, Store};
use seawall_ledger::{
    Action, ActionId, CancelBy, End, Known, Naming, NewAction, NotSettled, Rules, Stamp, State, Write,
};
use seawall_policy::Idempotency;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::suite::{SECOND, charge};
use crate::walker::{Walk, seeded};
use crate::world::{PostgresWorld, World};

/// The rules that plain SQL knows: none of an operation.
fn plain() -> Rules {
    Rules::of(Idempotency::None)
}

/// What a function did.
enum Did {
    /// It returned this text, in a statement that began at this time.
    Returned(Stamp, String),
    /// It refused with this SQLSTATE, and the transaction is as it was before.
    Refused(String),
}

struct Bench {
    store: Postgres,
    conn: PgConnection,
    /// How often each kind of case occurred.
    seen: BTreeMap<String, u32>,
}

impl Bench {
    async fn new(world: &PostgresWorld) -> Bench {
        world.declare_charge().await;
        let mut conn = world.connect().await;
        // One transaction for all cases, since each commit would wait for the disk. The functions use the time of their
        // statement.
        PostgresWorld::execute(&mut conn, "BEGIN").await;
        Bench { store: world.open().await, conn, seen: BTreeMap::new() }
    }

    fn saw(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    async fn insert(&mut self, state: State, new: &NewAction, now: Stamp) -> Action {
        let action = Action::of(new, state, now);
        let insert = Insert { action: action.clone(), attempt: None };
        let recorded = self.store.record_in(&mut self.conn, &insert).await.unwrap();
        assert!(matches!(recorded, Recorded::New), "{recorded:?}");
        // No action is ended when it is inserted, so an insert does not write when it ended.
        let ended = "UPDATE seawall.action SET ended_at = created_at WHERE ended IS NOT NULL AND id";
        PostgresWorld::execute(&mut self.conn, &format!("{ended} = '{}'", action.id)).await;
        action
    }

    async fn calls(&mut self, function: &str) -> Did {
        PostgresWorld::execute(&mut self.conn, "SAVEPOINT before").await;
        let text = format!(
            "SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint::text, ({function})::text"
        );
        match sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(&mut self.conn).await {
            Ok(row) => {
                let now: String = row.try_get_unchecked(0).unwrap();
                let returned: Option<String> = row.try_get_unchecked(1).unwrap();
                PostgresWorld::execute(&mut self.conn, "RELEASE before").await;
                Did::Returned(Stamp::from_micros(now.parse().unwrap()), returned.unwrap_or_default())
            }
            Err(e) => {
                let code = e.as_database_error().and_then(|said| said.code()).unwrap().into_owned();
                PostgresWorld::execute(&mut self.conn, "ROLLBACK TO before").await;
                Did::Refused(code)
            }
        }
    }

    async fn load(&mut self, id: ActionId) -> Action {
        self.store.load_in(&mut self.conn, id).await.unwrap().unwrap().0
    }

    /// Checks that a row is as the machine would have it, in every column. Two columns are not read back by the store:
    /// `due_at` follows from the others, and `ended_at` is set as long as the row has ended.
    async fn check(&mut self, id: ActionId, wanted: &State, what: &str) {
        let found = self.load(id).await;
        assert_eq!(found.state.row(), wanted.row(), "{what}");
        let due = "coalesce((extract(epoch FROM due_at) * 1000000)::bigint, -1)";
        let due = format!("SELECT {due}::text FROM seawall.action WHERE id = '{id}'");
        let due = PostgresWorld::number(&mut self.conn, &due).await;
        assert_eq!(due, wanted.due_at().map_or(-1, Stamp::as_micros), "{what}: {wanted:#?}");
        let agree = "((ended IS NULL) = (ended_at IS NULL))::int::text";
        let agree = format!("SELECT {agree} FROM seawall.action WHERE id = '{id}'");
        assert_eq!(PostgresWorld::number(&mut self.conn, &agree).await, 1, "{what}: ended_at");
    }
}

/// The SQLSTATE of a refusal.
fn code(why: NotSettled) -> &'static str {
    match why {
        NotSettled::TooLate => "SW002",
        NotSettled::NotKnown | NotSettled::ScopeIncomplete => "SW003",
        NotSettled::Failed => "SW004",
        NotSettled::NeedsNewer => "no function knows it",
    }
}

/// Inserts one to three rows of random walks: one alone, or a scope from which one may be missing.
async fn group(bench: &mut Bench, rng: &mut Rng, number: usize, now: Stamp) -> (Vec<Action>, u32) {
    let count = if rng.bool() { 1 } else { rng.usize(2..4) };
    let size = u32::try_from(count).unwrap() + u32::from(count > 1 && rng.u8(..6) == 0);
    let mut members = Vec::new();
    let settles = rng.bool();
    for member in 0..count {
        let key = format!("k{number}-{member}");
        let walk = loop {
            let walk = Walk::new(rng, &key, count > 1, now).walks(rng, 30);
            // In half of the groups the rows are such that they can be settled, since only few random rows can be.
            if !settles || walk.state.known() == Known::Applied {
                break walk;
            }
        };
        let new = charge(&key);
        let new = if count > 1 { new.in_scope(format!("s{number}"), size) } else { new };
        members.push(bench.insert(walk.state, &new, now).await);
    }
    (members, size)
}

async fn settles(bench: &mut Bench, members: &[Action], size: u32, one: usize) {
    let did = bench.calls(&format!("SELECT seawall.settle('{}')", members[one].id)).await;
    let states: Vec<State> = members.iter().map(|member| member.state.clone()).collect();
    let now = if let Did::Returned(now, _) = did { now } else { Stamp::from_micros(0) };
    let wanted: Result<Vec<Write>, NotSettled> = match members {
        [alone] if alone.scope.is_none() => {
            machine::settle(&alone.state, now).map(|write| write.into_iter().collect())
        }
        _ => machine::settle_scope(&states, size, now),
    };
    match (did, wanted) {
        (Did::Returned(..), Ok(writes)) => {
            bench.saw(format!("settled {} of {}", writes.len(), members.len()));
            let mut writes = writes.into_iter();
            for member in members {
                let write = if member.state.settled() { None } else { writes.next() };
                let state = write.map_or(member.state.clone(), |write| write.to().clone());
                bench.check(member.id, &state, "settle").await;
            }
        }
        (Did::Refused(code_of_sql), Err(why)) => {
            bench.saw(format!("not settled: {why:?}"));
            assert_eq!(code_of_sql, code(why), "{why:?}: {states:#?}");
        }
        (Did::Returned(..), Err(why)) => panic!("SQL settles, the machine says {why:?}: {states:#?}"),
        (Did::Refused(code), Ok(_)) => panic!("the machine settles, SQL says {code}: {states:#?}"),
    }
}

async fn cancels(bench: &mut Bench, members: &[Action], one: usize) {
    let Did::Returned(now, _) = bench.calls(&format!("SELECT seawall.cancel('{}')", members[one].id)).await
    else {
        panic!("a cancel is never refused: {members:#?}")
    };
    for member in members {
        let wish = machine::cancel(&member.state, &plain(), CancelBy::Transaction, now).unwrap();
        let what = match (&wish, member.state.end()) {
            (None, _) => "nothing to cancel",
            (Some(write), _) if write.to().end().is_some() => "cancelled without a request",
            (Some(_), Some(End::Stuck)) => "to be undone, was stuck",
            (Some(_), Some(_)) => "to be undone, was done",
            (Some(_), None) => "to be undone",
        };
        bench.saw(what);
        let state = wish.map_or(member.state.clone(), |write| write.to().clone());
        bench.check(member.id, &state, "cancel").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settle_and_cancel_do_what_the_machine_does() {
    let world = PostgresWorld::new().await;
    let mut bench = Bench::new(&world).await;
    let mut rng = seeded();
    // The walks take place around the present, so that the times of the rows are on both sides of it.
    let now = bench.store.ask_time().await.unwrap().now().saturating_sub(SECOND * 90_000);
    let wanted = [
        "settled 1 of 1",
        "settled 2 of 2",
        "not settled: TooLate",
        "not settled: NotKnown",
        "not settled: Failed",
        "not settled: ScopeIncomplete",
        "nothing to cancel",
        "cancelled without a request",
        "to be undone",
        "to be undone, was done",
        "to be undone, was stuck",
    ];
    let is_complete = |bench: &Bench| wanted.iter().all(|what| bench.seen.contains_key(*what));
    let mut number = 0;
    // Some of these are rare.
    while number < 350 || (number < 1000 && !is_complete(&bench)) {
        number += 1;
        let (members, size) = group(&mut bench, &mut rng, number, now).await;
        let one = rng.usize(..members.len());
        settles(&mut bench, &members, size, one).await;
        let mut members_now = Vec::new();
        for member in &members {
            members_now.push(bench.load(member.id).await);
        }
        cancels(&mut bench, &members_now, one).await;
    }
    println!("{:#?}", bench.seen);
    for what in wanted {
        assert!(bench.seen.contains_key(what), "{what} never occurred: {:?}", bench.seen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_does_what_the_machine_does() {
    let world = PostgresWorld::new().await;
    let mut bench = Bench::new(&world).await;
    let mut rng = seeded();
    let begin = bench.store.ask_time().await.unwrap().now().saturating_sub(SECOND * 90_000);
    for number in 0..300 {
        let key = format!("k{number}");
        let fails = number % 2 == 0;
        let walk = loop {
            let walk = Walk::new(&mut rng, &key, false, begin).walks(&mut rng, 30);
            // In half of the cases the key can be used anew, or could if nobody disputed it.
            if !fails || walk.failed_unsent() {
                break walk;
            }
        };
        let action = bench.insert(walk.state, &charge(&key), begin).await;
        let request = if rng.u8(..4) == 0 { "{\"amount\":6}" } else { "{\"amount\":5}" };
        let did = bench.calls(&format!("SELECT seawall.record('pay', 'charge', '{key}', '{request}')")).await;
        let wanted = match did {
            Did::Refused(code) => {
                bench.saw("another request");
                assert_eq!((code.as_str(), request), ("SW001", "{\"amount\":6}"));
                action.state.clone()
            }
            Did::Returned(now, id) => {
                assert_eq!((id, request), (action.id.to_string(), "{\"amount\":5}"));
                let write = used_anew(&action.state, &plain(), Birth::Recorded, now);
                let disputed =
                    action.state.disputed_at().is_some() && action.state.end() == Some(End::Failed);
                bench.saw(match &write {
                    Some(_) => "used anew",
                    None if disputed => "disputed",
                    None => "the same again",
                });
                write.map_or(action.state.clone(), |write| write.to().clone())
            }
        };
        bench.check(action.id, &wanted, "record").await;

        let recorded =
            format!("SELECT seawall.record('pay', 'charge', 'new {key}', '{request}', 's{number}', 3)");
        let Did::Returned(now, id) = bench.calls(&recorded).await else { panic!("{recorded}") };
        let id = ActionId::parse(&id).unwrap();
        bench.check(id, &machine::recorded(&plain(), now), "a new record").await;
        let new = NewAction { request: request.into(), ..charge(&format!("new {key}")) };
        let found = bench.load(id).await;
        assert_eq!(found.prints.unwrap().head, [0; 32], "a body alone");
        let wanted = Action {
            id,
            naming: Naming::Open,
            prints: found.prints,
            ..Action::of(&new.in_scope(format!("s{number}"), 3), machine::recorded(&plain(), now), now)
        };
        assert_eq!(found, wanted);
    }
    println!("{:#?}", bench.seen);
    for what in ["another request", "used anew", "disputed", "the same again"] {
        assert!(bench.seen.contains_key(what), "{what} never occurred: {:?}", bench.seen);
    }
}
