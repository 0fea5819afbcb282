//! The tests, over any store, of databases that the first release left: `fixtures/README.md` says what is in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::machine::{Effect, Row};
use seawall_ledger::store::{Filter, Store};
use seawall_ledger::{
    Action, CancelKind, CancelRules, ConfirmRules, End, Goal, KeyRules, Known, Ledger, Lifetime, Limits,
    Naming, NewAction, NotApplied, OnUnknown, Operation, Rules, SettleBy, Stamp,
};
use seawall_policy::Idempotency;
use serde_json::Value;

use crate::provider::Provider;
use crate::suite::{PATIENCE, SECOND, soon};
use crate::world::{PostgresWorld, SqliteWorld, TwoVersions, World, quick};

fn expected() -> Value {
    serde_json::from_str(include_str!("../fixtures/expected.json")).unwrap()
}

/// The lines of `expected.json` for the actions that the database of a world has.
fn lines<W: World>(all: &Value) -> Vec<&Value> {
    let sqlite = W::ACTIONS == SqliteWorld::ACTIONS;
    all["actions"].as_array().unwrap().iter().filter(|line| !sqlite || line["only"] != "postgres").collect()
}

fn text<'v>(line: &'v Value, name: &str) -> &'v str {
    line[name].as_str().unwrap_or_default()
}

async fn all<S: Store>(store: &S) -> Vec<Action> {
    store.list(&Filter::first(1000)).await.unwrap()
}

async fn updated<W: TwoVersions>() -> (W, W::Store) {
    let world = W::without_tables().await;
    world.load_dump().await;
    let store = world.open().await;
    store.migrate().await.unwrap();
    (world, store)
}

/// Returns the goal, the effect with its reason, and the end, in the words of `expected.json`.
fn in_words(action: &Action) -> (&'static str, &'static str, Option<&'static str>) {
    let goal = match action.state.goal() {
        Goal::Perform => "perform",
        Goal::Cancel => "cancel",
    };
    let effect = match action.state.known() {
        Known::Never => "never",
        Known::Unknown => "unknown",
        Known::Applied => "applied",
        Known::NotApplied(NotApplied::Refused) => "not-applied: refused",
        Known::NotApplied(NotApplied::Cancelled) => "not-applied: cancelled",
        Known::NotApplied(NotApplied::Absent) => "not-applied: absent",
        Known::NotApplied(NotApplied::NoSuch) => "not-applied: no-such",
        Known::NotApplied(NotApplied::Resolved) => "not-applied: resolved",
    };
    let end = action.state.end().map(|end| match end {
        End::Done => "done",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Stuck => "stuck",
    });
    (goal, effect, end)
}

pub(crate) async fn every_row_is_read_and_nothing_is_lost<W: TwoVersions>() {
    let (world, store) = updated::<W>().await;
    let expected = expected();
    let lines = lines::<W>(&expected);
    let found: HashMap<String, Action> =
        all(&store).await.into_iter().map(|action| (action.key.clone(), action)).collect();
    assert_eq!(found.len(), lines.len());
    let mut conn = world.connect().await;
    for line in lines {
        let action = &found[text(line, "key")];
        assert_eq!(action.dependency, text(line, "dependency"));
        assert_eq!(action.operation, text(line, "operation"));
        let wanted = (text(line, "goal"), text(line, "effect"), line["end"].as_str());
        assert_eq!(in_words(action), wanted, "{line}");
        // The store does not read back when a row is due. A row that is due, but not in this column, would be lost.
        let due = format!("SELECT {} FROM {} WHERE id = '{}'", W::micros("due_at"), W::ACTIONS, action.id);
        let due = W::number(&mut conn, &due).await;
        assert_eq!(due, action.state.due_at().map_or(-1, Stamp::as_micros), "{line}");
        let naming = if action.state.logged() > 0 { Naming::FirstRelease } else { Naming::Open };
        assert_eq!((action.naming, action.sent_key()), (naming, action.key.as_str()));
        assert_eq!((action.state.needs(), action.state.begun_at()), (1, action.created_at));
        let story = store.story(action.id).await.unwrap().unwrap();
        let last = story.attempts.iter().map(|line| line.number).max().unwrap_or(0);
        assert_eq!(last, action.state.logged(), "{line}");
        handler(action, text(line, "state"));
        let row = action.state.row();
        if row.cancel_open > 0 {
            let key = format!("{}:c:{}", action.key, row.cancel_gen);
            assert_eq!((action.cancel_key(), row.cancel_key), (key, None));
        }
    }
    let reports = W::ACTIONS.replace("action", "reconciliation");
    let count = if W::ACTIONS.contains('.') { "count(*)::text" } else { "count(*)" };
    assert_eq!(W::number(&mut conn, &format!("SELECT {count} FROM {reports}")).await, 6);
}

/// Checks that the trouble with a handler, which the first release wrote into `why`, is in its own columns.
fn handler(action: &Action, state: &str) {
    let tries = match state {
        state if !state.contains("handler failed") => 0,
        state if state.contains("three times") => 3,
        _ => 1,
    };
    let trouble = action.state.handler();
    assert_eq!(trouble.map_or(0, |trouble| trouble.tries), tries, "{state}");
    if let Some(trouble) = trouble {
        assert!(trouble.error.ends_with("no such column: paid_at"), "{}", trouble.error);
        assert!(!trouble.error.contains("handler failed"), "{}", trouble.error);
        assert_eq!((action.state.why(), action.state.row().asks), (None, 0));
    }
}

/// Returns a row in a form that is equal in both databases: without ids and times, of which only is kept whether they
/// are there. The version and the fence depend on how fast the program was.
fn comparable(row: Row) -> Row {
    let some = |at: Option<Stamp>| at.map(|_| Stamp::from_micros(0));
    let zero = Stamp::from_micros(0);
    Row {
        version: 0,
        fence: 0,
        first_sent_at: some(row.first_sent_at),
        quiet_until: some(row.quiet_until),
        send_by: some(row.send_by),
        owner: row.owner.map(|_| seawall_ledger::Owner(0)),
        leased_until: some(row.leased_until),
        begun_at: zero,
        next_at: zero,
        settle_by: some(row.settle_by),
        cancel_first_at: some(row.cancel_first_at),
        cancel_quiet_until: some(row.cancel_quiet_until),
        cancel_send_by: some(row.cancel_send_by),
        cancel_key_ends_at: some(row.cancel_key_ends_at),
        audit_at: some(row.audit_at),
        due_at: some(row.due_at),
        why: row.why.as_deref().map(without_id),
        ..row
    }
}

/// Returns a reason without the id of the reconciliation that it may name.
fn without_id(why: &str) -> String {
    why.split(' ').filter(|word| !word.starts_with("019b76d")).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_are_updated_to_the_same() {
    let (_folder, sqlite) = updated::<SqliteWorld>().await;
    let (_database, postgres) = updated::<PostgresWorld>().await;
    let there: BTreeMap<String, Action> =
        all(&postgres).await.into_iter().map(|action| (action.key.clone(), action)).collect();
    for action in all(&sqlite).await {
        let other = &there[&action.key];
        assert_eq!(comparable(action.state.row()), comparable(other.state.row()), "{}", action.key);
        assert_eq!((&action.scope, &action.request), (&other.scope, &other.request));
    }
}

pub(crate) async fn the_first_release_refuses_the_updated_tables<W: TwoVersions>() {
    let (world, store) = updated::<W>().await;
    // Its check was: the version that it found is above the two that it knows.
    let schema = W::ACTIONS.replace("action", "schema");
    let version = if W::ACTIONS.contains('.') { "max(version)::text" } else { "max(version)" };
    let mut conn = world.connect().await;
    assert_eq!(W::number(&mut conn, &format!("SELECT {version} FROM {schema}")).await, 6);
    // An update that was made is not made again.
    let before = all(&store).await;
    store.migrate().await.unwrap();
    world.open().await.migrate().await.unwrap();
    assert_eq!(all(&store).await, before);
}

/// Rules of an operation of `expected.json`, with times that a test can wait for.
fn rules(operation: &Value) -> Rules {
    let idempotency = match text(operation, "idempotency") {
        "keyed" => Idempotency::Keyed,
        "idempotent" => Idempotency::Idempotent,
        "safe" => Idempotency::Safe,
        _ => Idempotency::None,
    };
    let cancel = operation["cancel"].as_object().map(|cancel| CancelRules {
        kind: if cancel["kind"] == "state" { CancelKind::State } else { CancelKind::Additive },
        keyed: cancel["keyed"] == true,
        tombstone: cancel["tombstone"] == true,
        by_key: cancel["by_key"] == true,
        ..CancelRules::default()
    });
    let settle = operation["settle"]["explicit_s"].as_u64();
    let long = Duration::from_secs(20 * 365 * 24 * 3600);
    Rules {
        on_unknown: match text(operation, "on_unknown") {
            "confirm" => OnUnknown::Confirm,
            "repeat" => OnUnknown::Repeat,
            "cancel" => OnUnknown::Cancel,
            _ => OnUnknown::Hold,
        },
        settle: settle.map_or(SettleBy::Reply, |within| SettleBy::Explicit(Duration::from_secs(within))),
        confirm: (operation["confirm"] == true)
            .then(|| ConfirmRules { after: Duration::from_millis(20), ..ConfirmRules::default() }),
        cancel,
        keys: KeyRules::parse("A-Za-z0-9_-", 16, 64).unwrap(),
        give_up: long,
        limits: Limits { perform: 5, cancel: Some(20), confirm: Some(50) },
        ..quick(idempotency).remembered(Lifetime::For(long))
    }
}

/// The providers of all operations, by the name of the operation.
struct Providers(HashMap<String, Provider>);

impl Providers {
    /// Makes providers that have the effects that the rows imply. `alive` says whether the effects exist of which the
    /// rows do not know it.
    fn with_effects_of(expected: &Value, actions: &[Action], alive: bool) -> Providers {
        let operations = expected["operations"].as_array().unwrap();
        let each = operations.iter().map(|operation| {
            let provider = Provider::new();
            let honours = text(operation, "idempotency") != "none";
            let provider = if honours { provider.keyed() } else { provider };
            (text(operation, "operation").to_owned(), provider)
        });
        let providers = Providers(each.collect());
        let disputed = |action: &Action| {
            let lines = expected["actions"].as_array().unwrap();
            let line = lines.iter().find(|line| text(line, "key") == action.key).unwrap();
            ["contradicted", "listed as applied, to be asked"]
                .iter()
                .any(|word| text(line, "state").contains(word))
        };
        for action in actions {
            let exists = match action.state.known() {
                Known::Applied => true,
                Known::Unknown => alive,
                Known::Never | Known::NotApplied(_) => alive && disputed(action),
            };
            if exists {
                providers.of(action).has(&action.key);
            }
        }
        providers
    }

    fn of(&self, action: &Action) -> &Provider {
        &self.0[&action.operation]
    }
}

/// Waits until a worker has nothing more to do for an hour.
async fn at_rest<S: Store>(ledger: &Ledger<S>, count: usize) -> Vec<Action> {
    let end = Instant::now() + PATIENCE;
    loop {
        let actions = all(ledger.store()).await;
        assert_eq!(actions.len(), count, "no action is lost, and none is made");
        let later = ledger.store().clock().now().saturating_add(SECOND * 3600);
        let busy: Vec<_> =
            actions.iter().filter(|action| action.state.due_at().is_some_and(|due| due < later)).collect();
        if busy.is_empty() {
            return actions;
        }
        assert!(Instant::now() < end, "it stays like this: {busy:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn finishes<W: TwoVersions>(alive: bool) {
    let (_world, store) = updated::<W>().await;
    let expected = expected();
    let before = all(&store).await;
    let providers = Providers::with_effects_of(&expected, &before, alive);
    let mut builder = Ledger::builder(store);
    for operation in expected["operations"].as_array().unwrap() {
        let name = text(operation, "operation");
        let remote = Arc::new(providers.0[name].clone());
        builder =
            builder.operation(Operation::new(text(operation, "dependency"), name, rules(operation), remote));
    }
    let ledger = builder.build().unwrap();
    // The scopes that lack a member get it now.
    let mut members: BTreeMap<&str, Vec<&Action>> = BTreeMap::new();
    for action in &before {
        if let Some(scope) = &action.scope {
            members.entry(&scope.name).or_default().push(action);
        }
    }
    let mut count = before.len();
    for (scope, members) in members {
        let first = members[0];
        let size = first.scope.as_ref().unwrap().size;
        if members.len() < usize::try_from(size).unwrap() {
            let key = format!("late-member-of-{scope}");
            let new = NewAction::new(&*first.dependency, &*first.operation, key, b"{}".to_vec());
            ledger.record(&new.in_scope(scope, size)).await.unwrap();
            count += 1;
        }
    }
    let mut settings = soon();
    // These rows are older than rows become otherwise before they are deleted.
    settings.keep = SECOND * 20 * 365 * 24 * 3600;
    let worker = ledger.worker(settings);
    let after = at_rest(&ledger, count).await;
    assert_eq!(worker.drain(PATIENCE).await, 0);
    let before: HashMap<_, _> = before.into_iter().map(|action| (action.id, action)).collect();
    let mut again = 0;
    for action in &after {
        let effects = providers.of(action).effects(&action.key);
        match action.state.end() {
            Some(End::Done) => assert_eq!(effects, 1, "{action:#?}"),
            Some(End::Failed | End::Cancelled) => assert_eq!(effects, 0, "{action:#?}"),
            Some(End::Stuck) => {
                assert!(effects <= 1 && action.state.why().is_some(), "{action:#?}");
            }
            None => panic!("it is still open: {action:#?}"),
        }
        if let Some(before) = before.get(&action.id) {
            kept(before, action);
            again += u32::from(sent(before, action, providers.of(action)));
        }
    }
    assert!(again >= 8, "{again} cancels were sent again");
}

/// Checks that a row is still what it was: no end is turned into its opposite, and nothing of the record has changed.
fn kept(before: &Action, after: &Action) {
    assert_eq!(
        (&before.key, &before.request, &before.scope, before.created_at),
        (&after.key, &after.request, &after.scope, after.created_at)
    );
    if let Some(end @ (End::Done | End::Stuck)) = before.state.end() {
        assert_eq!(after.state.end(), Some(end), "{after:#?}");
    }
    assert!(after.state.version() >= before.state.version() && after.state.logged() >= before.state.logged());
    if before.state.goal() == Goal::Cancel {
        assert_eq!(after.state.goal(), Goal::Cancel);
    }
}

/// Checks the keys under which an action was sent. What the first release has sent keeps its keys. Returns whether a
/// cancel was sent again that the first release had sent without an answer.
fn sent(before: &Action, after: &Action, provider: &Provider) -> bool {
    let old = before.naming == Naming::FirstRelease;
    let performed = provider.sent_as(&before.key);
    let wanted = if old { before.key.as_str() } else { after.sent_key() };
    assert!(performed.iter().all(|key| key == wanted), "{}: {performed:?}", before.key);
    let fits =
        before.key.len() >= 16 && before.key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    assert_eq!(after.sent_key() == after.key, old || fits || after.naming == Naming::Open, "{after:#?}");
    let cancelled = provider.cancelled_as(&before.key);
    for key in &cancelled {
        assert_eq!(key.starts_with(&format!("{}:c:", before.key)), old, "{key}");
    }
    // A cancel without an answer is sent again under its own key. But after three of them the provider is asked first, and
    // as it says that the effect is still there, the next cancel has a new key.
    let row = before.state.row();
    let unanswered = row.cancel_open > 0 && row.effect == Effect::Applied && before.operation == "charge";
    let again = unanswered && row.cancel_open < 3 && row.ended.is_none();
    if again {
        assert_eq!(cancelled, [format!("{}:c:{}", before.key, row.cancel_gen)]);
    }
    again
}

pub(crate) async fn what_was_open_is_finished_if_its_effect_exists<W: TwoVersions>() {
    finishes::<W>(true).await;
}

pub(crate) async fn what_was_open_is_finished_if_its_effect_does_not_exist<W: TwoVersions>() {
    finishes::<W>(false).await;
}
