//! Small random worlds. They are compared with a model that holds everything in memory and says in one page what a
//! report must say.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use seawall_ledger::reconcile::tables::Tables;
use seawall_ledger::reconcile::{Amount, Listed, ListedState, Reconciler, Status};
use seawall_ledger::store::Store;
use seawall_ledger::{Action, Stamp};

use crate::partner::{Fault, Named, Partner, Row, action, count, minute, plant, record};
use crate::{day, ledger, settings};

/// A row: its key, the minute at which it was recorded, its amount, and its state.
type ARow = (u8, i64, i64, Row);
/// A record: its key if it has one, its id if it has one, its minute, its amount if it has one, and its state.
type ARecord = (Option<u8>, Option<u8>, i64, Option<i64>, ListedState);

#[derive(Clone, Debug)]
struct Plan {
    rows: Vec<ARow>,
    records: Vec<ARecord>,
    page: usize,
    batch: u32,
    repeated: Vec<usize>,
    lost: Option<usize>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let minutes = || prop_oneof![8 => 0..1440_i64, 1 => -15..0_i64, 1 => 1430..1455_i64, 1 => 5000..5010_i64];
    let states = prop_oneof![
        4 => Just(ListedState::Applied),
        1 => Just(ListedState::Cancelled),
        1 => Just(ListedState::Other),
    ];
    let standings = prop_oneof![
        6 => Just(Row::Done),
        1 => Just(Row::Failed),
        1 => Just(Row::Cancelled),
        1 => Just(Row::Unknown),
        1 => Just(Row::Fresh),
        1 => Just(Row::Stuck),
    ];
    let rows = proptest::collection::vec((0..24_u8, minutes(), 1..3_i64, standings), 0..24);
    let key = prop_oneof![9 => (0..24_u8).prop_map(Some), 1 => Just(None)];
    let id = prop_oneof![9 => (0..40_u8).prop_map(Some), 1 => Just(None)];
    let amount = prop_oneof![9 => (1..3_i64).prop_map(Some), 1 => Just(None)];
    let one = (key, id, minutes(), amount, states);
    let records = proptest::collection::vec(one, 0..30);
    let repeated = proptest::collection::vec(1..12_usize, 0..3);
    (rows, records, 1..6_usize, 1..7_u32, repeated, proptest::option::of(1..10_usize)).prop_map(
        |(rows, records, page, batch, repeated, lost)| Plan { rows, records, page, batch, repeated, lost },
    )
}

fn listed(one: &ARecord) -> Option<Listed> {
    let (key, id, at, amount, state) = one;
    if key.is_none() && id.is_none() {
        return None;
    }
    let listed = record("x", minute(*at), 0, *state);
    Some(Listed {
        key: key.map(|key| format!("k{key}")),
        id: id.map(|id| format!("i{id}")),
        amount: amount.map(Amount::from),
        ..listed
    })
}

fn name(record: &Listed) -> String {
    match (&record.id, &record.key) {
        (Some(id), _) => format!("id:{id}"),
        (None, Some(key)) => format!("key:{key}"),
        (None, None) => unreachable!("left out before"),
    }
}

fn amount(action: &Action) -> i64 {
    let text = String::from_utf8(action.request.clone()).unwrap();
    text.trim_start_matches("{\"amount\": ").trim_end_matches('}').parse().unwrap()
}

/// How a row and a record of one key differ, in the words of the page on reconciliation.
fn differ(action: &Action, row: Row, record: Option<&Listed>) -> Option<&'static str> {
    let state = record.map(|record| record.state);
    let other_amount =
        record.and_then(|record| record.amount).is_some_and(|theirs| theirs != Amount::from(amount(action)));
    match (row, state) {
        (Row::Done, None) => Some("only-here"),
        (Row::Done, Some(ListedState::Applied)) => other_amount.then_some("amount"),
        (Row::Done, Some(_)) => Some("state"),
        (Row::Failed | Row::Cancelled, Some(ListedState::Applied)) => Some("state"),
        (Row::Failed | Row::Cancelled, _) => None,
        (Row::Fresh, Some(ListedState::Applied)) if !other_amount => None,
        (Row::Fresh | Row::Unknown | Row::Stuck, _) => Some("pending"),
    }
}

/// The whole comparison, with maps in memory.
fn model(rows: &BTreeMap<String, (Action, Row)>, records: &[Listed]) -> Named {
    let window = (minute(0), minute(24 * 60));
    let inside = |at: Stamp| window.0 <= at && at < window.1;
    let skew = 10;
    // If several records have the same name, the last one in the list counts.
    let named = |which: &dyn Fn(Stamp) -> bool| -> BTreeMap<String, Listed> {
        let listed = records.iter().filter(|record| which(record.at.unwrap()));
        listed.map(|record| (name(record), record.clone())).collect()
    };
    let mine = named(&inside);
    let has = |listed: &BTreeMap<String, Listed>, key: &String| {
        listed.values().any(|r| r.key.as_ref() == Some(key))
    };
    let ours = || rows.values().filter(|(action, _)| inside(action.created_at));
    let missed: Vec<_> = ours()
        .filter(|(action, row)| *row == Row::Done && !has(&mine, &action.key))
        .map(|(action, _)| action.state.quiet_until().unwrap())
        .collect();
    let mut all = mine.clone();
    if let Some(latest) = missed.iter().max() {
        let end = (*latest).max(window.1).as_micros() + skew * 60_000_000;
        let edges = named(&|at| !inside(at) && at >= minute(-skew) && at.as_micros() < end);
        for (name, record) in edges {
            all.entry(name).or_insert(record);
        }
    }

    let mut found = Named::new();
    for (name, record) in &mine {
        let known = |record: &Listed| record.key.clone().or(record.id.clone()).unwrap();
        let rival = |other: &(&String, &Listed)| {
            let same = record.key.is_some() && other.1.key == record.key;
            same && (other.1.state.as_str(), other.0) < (record.state.as_str(), name)
        };
        if all.iter().any(|other| rival(&other)) {
            if record.state == ListedState::Applied {
                count(&mut found, "doubled", &known(record));
            }
            continue;
        }
        let kind = match record.key.as_ref().and_then(|key| rows.get(key)) {
            None => Some("only-there"),
            Some((action, row)) => differ(action, *row, Some(record)),
        };
        kind.into_iter().for_each(|kind| count(&mut found, kind, &known(record)));
    }
    for (action, row) in ours().filter(|(action, _)| !has(&all, &action.key)) {
        let kind = differ(action, *row, None);
        kind.into_iter().for_each(|kind| count(&mut found, kind, &action.key));
    }
    found
}

async fn found<S: Store + Tables>(store: &S, dependency: &str, plan: &Plan) -> (Named, Named) {
    let mut rows = BTreeMap::new();
    for (key, at, amount, row) in &plan.rows {
        let key = format!("k{key}");
        rows.entry(key.clone())
            .or_insert_with(|| (action(dependency, &key, minute(*at), *amount, *row), *row));
    }
    plant(store, rows.values().map(|(action, _)| action.clone()).collect()).await;
    // An id names one record, so a further record with the same name is left out.
    let mut records: Vec<Listed> = Vec::new();
    for record in plan.records.iter().filter_map(listed) {
        if !records.iter().any(|before| name(before) == name(&record)) {
            records.push(record);
        }
    }
    let partner = Arc::new(Partner::new(records.clone(), plan.page));
    plan.repeated.iter().for_each(|n| partner.fault(*n, Fault::Repeated));
    plan.lost.iter().for_each(|n| partner.fault(*n, Fault::Lost));
    let mut settings = settings(dependency);
    settings.batch = plan.batch;
    let reconciler =
        Reconciler::new(ledger(store, dependency, partner.clone()), partner.clone(), settings).unwrap();
    let mut report = reconciler.run(&day(), "the model", false).await.unwrap();
    if report.status == Status::Incomplete {
        assert!(plan.lost.is_some(), "{report:?}");
        report = reconciler.again(report.id).await.unwrap();
    }
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let mut seen = Named::new();
    let mut after = String::new();
    loop {
        let page = reconciler.differences(report.id, None, &after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.name);
        for entry in &page {
            let name = entry.key.as_ref().or(entry.id_there.as_ref()).unwrap();
            count(&mut seen, entry.difference.as_str(), name);
        }
    }
    (seen, model(&rows, &records))
}

/// If a world fails, its seed is printed, and stored beside the test's source if that can be written.
pub(crate) async fn small_worlds_agree_with_a_naive_comparison<S: Store + Tables>(store: S) {
    let handle = tokio::runtime::Handle::current();
    let checked = tokio::task::spawn_blocking(move || {
        let mut case = 0;
        let mut runner =
            TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        let cell = std::cell::RefCell::new(&mut case);
        runner
            .run(&plan(), |plan| {
                let number = {
                    let mut case = cell.borrow_mut();
                    **case += 1;
                    **case
                };
                let (seen, wanted) = handle.block_on(found(&store, &format!("p{number}"), &plan));
                prop_assert_eq!(seen, wanted);
                Ok(())
            })
            .map_err(|e| e.to_string())
    });
    checked.await.unwrap().unwrap_or_else(|e| panic!("{e}"));
}
