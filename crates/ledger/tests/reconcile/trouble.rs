//! What goes wrong during a comparison, and what must not happen because of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use seawall_ledger::machine::Observed;
use seawall_ledger::reconcile::tables::Tables;
use seawall_ledger::reconcile::{
    Compared, Corrections, Difference, Entry, Listed, ListedState, Reconciler, Report, Settings, Status,
};
use seawall_ledger::store::{Standing, Store};
use seawall_ledger::{By, CancelKind, CancelRules, End, Ledger, Operation};
use seawall_policy::Backoff;

use crate::partner::{Fault, Partner, Row, action, minute, plant, record, rules};
use crate::{PATIENCE, day, ledger, settings};

async fn entries<S: Store + Tables>(reconciler: &Reconciler<S>, report: &Report) -> Vec<Entry> {
    reconciler.differences(report.id, None, "", 1000).await.unwrap()
}

/// The scenario "reconcile-extra-external": somebody caused the effect without the ledger.
pub(crate) async fn an_effect_without_a_row_is_only_there_and_is_left_alone<S: Store + Tables>(store: S) {
    let orphan = record("by-hand", minute(700), 25, ListedState::Applied);
    let nameless = Listed { key: None, ..record("unnamed", minute(701), 3, ListedState::Applied) };
    let known = record("k", minute(702), 5, ListedState::Applied);
    let partner = Arc::new(Partner::new(vec![orphan, nameless, known], 2));
    plant(&store, vec![action("bank", "k", minute(702), 5, Row::Done)]).await;
    let all = Corrections::ALL;
    let compared = Compared::default().amount_at("/amount").allowing(all);
    let allowing = allowing("bank", compared);
    let ledger = ledger(&store, "bank", partner.clone());
    for (settings, fix) in [(settings("bank"), false), (settings("bank"), true), (allowing, true)] {
        let reconciler = Reconciler::new(ledger.clone(), partner.clone(), settings).unwrap();
        let report = reconciler.run(&day(), "anna", fix).await.unwrap();
        let found = entries(&reconciler, &report).await;
        assert_eq!(found.len(), 2, "{found:?}");
        for entry in &found {
            assert_eq!((entry.difference, entry.action), (Difference::OnlyThere, None));
            assert_eq!(entry.state_there, Some(ListedState::Applied));
            assert_eq!(entry.correction, None);
        }
        assert_eq!(found[0].key.as_deref(), Some("by-hand"));
        assert_eq!(found[1].id_there.as_deref(), Some("ch_unnamed"));
        assert_eq!(report.totals.unwrap().sum_only_there, Some(28.into()));
    }
    assert_eq!(partner.cancels.load(Ordering::SeqCst), 0, "nothing was undone");
    assert!(ledger.find("bank", "by-hand").await.is_err(), "nothing was recorded");
}

/// The list was read before the row changed.
pub(crate) async fn what_came_to_rest_after_the_asking_began_is_pending<S: Store + Tables>(store: S) {
    let row = action("bank", "k", minute(5), 5, Row::Unknown);
    let id = row.id;
    plant(&store, vec![row]).await;
    let listed = record("k", minute(5), 5, ListedState::Other);
    let partner = Arc::new(Partner::new(vec![listed], 2));
    let ledger = ledger(&store, "bank", partner.clone());
    // While the page is on its way, a webhook reports the outcome.
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let (told, tell) = std::sync::mpsc::channel::<()>();
    let tell = Mutex::new(tell);
    *partner.hook.lock().unwrap() = Some(Box::new(move |number| {
        if number == 1 {
            ask.send(()).unwrap();
            tell.lock().unwrap().recv().unwrap();
        }
    }));
    let webhook = tokio::spawn({
        let (ledger, mut asked) = (ledger.clone(), asked);
        async move {
            asked.recv().await.unwrap();
            let done =
                ledger.observe(id, Observed::Applied(None), &By::new("webhook", "paid")).await.unwrap();
            told.send(()).unwrap();
            done.state.end()
        }
    });
    let reconciler = Reconciler::new(ledger, partner, settings("bank")).unwrap();
    let report = tokio::task::spawn_blocking({
        let handle = tokio::runtime::Handle::current();
        move || handle.block_on(async { (reconciler.run(&day(), "anna", false).await.unwrap(), reconciler) })
    });
    let (report, reconciler) = tokio::time::timeout(PATIENCE, report).await.unwrap().unwrap();
    assert_eq!(webhook.await.unwrap(), Some(End::Done));
    let found = entries(&reconciler, &report).await;
    assert_eq!((found.len(), found[0].difference), (1, Difference::Pending), "{found:?}");
    assert_eq!(found[0].state_here, Some(Standing::Done));
    // The next comparison begins after that. What the provider then lists is a difference.
    let report = reconciler.run(&day(), "anna", false).await.unwrap();
    assert_eq!(entries(&reconciler, &report).await[0].difference, Difference::State);
}

/// For each way in which a list can fail to be whole, no difference is shown, and the report says why.
pub(crate) async fn a_list_that_is_not_understood_or_does_not_end_is_incomplete<S: Store + Tables>(store: S) {
    plant(&store, vec![action("bank", "k", minute(5), 5, Row::Done)]).await;
    let good = || record("a", minute(5), 5, ListedState::Applied);
    let ledger = ledger(&store, "bank", Arc::new(Partner::new(Vec::new(), 1)));
    let nameless = Listed { key: None, id: None, ..good() };
    let long = Listed { key: Some("k".repeat(2000)), ..good() };
    let zero = Listed { id: Some("a\0b".into()), ..good() };
    let cases: [(Option<Fault>, Listed, &str); 7] = [
        (Some(Fault::Garbage), good(), "not JSON"),
        (Some(Fault::Lost), good(), "connection reset"),
        (Some(Fault::Silent), good(), "no answer in time"),
        (Some(Fault::Stuck), good(), "does not end"),
        (None, nameless, "neither key nor id"),
        (None, long, "too long"),
        (None, zero, "zero byte"),
    ];
    for (fault, record, why) in cases {
        let partner = Arc::new(Partner::new(vec![record], 1));
        *partner.always.lock().unwrap() = fault;
        let mut settings = settings("bank");
        settings.page = Duration::from_millis(if fault == Some(Fault::Silent) { 20 } else { 30_000 });
        let reconciler = Reconciler::new(ledger.clone(), partner.clone(), settings).unwrap();
        let report = reconciler.run(&day(), "anna", true).await.unwrap();
        assert_eq!((report.status, &report.totals), (Status::Incomplete, &None), "{why}");
        assert!(report.why.as_ref().unwrap().contains(why), "{why}: {report:?}");
        assert!(entries(&reconciler, &report).await.is_empty(), "{why}");
        assert!(partner.asked() <= 4, "{why}: asked {} times", partner.asked());
    }
}

/// Settings that compare one operation in this way.
fn allowing(dependency: &str, compared: Compared) -> Settings {
    let mut settings = settings(dependency);
    settings.operations = [("charge".into(), compared)].into();
    settings
}

fn hasty(dependency: &str) -> Settings {
    let mut hasty = settings(dependency);
    (hasty.page, hasty.lease) = (Duration::from_millis(400), Duration::from_millis(500));
    hasty.page_backoff = Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) };
    hasty
}

/// A worker is gone in the middle of a list. Another one goes on asking, with the stored cursor.
pub(crate) async fn a_lost_report_goes_on_where_its_last_page_was_stored<S: Store + Tables>(store: S) {
    let keys: Vec<String> = (0..20).map(|i| format!("k{i:02}")).collect();
    let records = keys.iter().map(|key| record(key, minute(7), 5, ListedState::Applied)).collect();
    let partner = Arc::new(Partner::new(records, 2));
    plant(&store, keys[1..].iter().map(|key| action("bank", key, minute(7), 5, Row::Done)).collect()).await;
    // This worker is dropped while it waits for the sixth page.
    partner.fault(6, Fault::Silent);
    let mut waits = settings("bank");
    (waits.page, waits.lease) = (Duration::from_secs(300), Duration::from_secs(600));
    let first =
        Arc::new(Reconciler::new(ledger(&store, "bank", partner.clone()), partner.clone(), waits).unwrap());
    let running = tokio::spawn({
        let first = first.clone();
        async move { first.run(&day(), "anna", false).await }
    });
    let sixth = async {
        while partner.asked() < 6 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sixth).await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let id = first.reports(None, 1).await.unwrap()[0].id;
    assert_eq!(first.report(id).await.unwrap().status, Status::Running);

    // The lease has not ended, so no other worker can take the report.
    let second =
        Reconciler::new(ledger(&store, "bank", partner.clone()), partner.clone(), hasty("bank")).unwrap();
    assert_eq!(second.again(id).await.unwrap().status, Status::Running);
    assert_eq!(partner.asked(), 6);
    end_lease(&store, id).await;
    let report = second.again(id).await.unwrap();
    assert_eq!((report.status, report.tries), (Status::Complete, 1));
    assert_eq!(partner.asked(), 11, "pages 6 to 10 and no other");
    let found = entries(&second, &report).await;
    assert_eq!((found.len(), found[0].difference), (1, Difference::OnlyThere), "{found:?}");
}

/// Moves the end of the report's lease into the past, as if that much time had passed on the database's clock.
async fn end_lease<S: Store + Tables>(store: &S, id: seawall_ledger::reconcile::ReportId) {
    use seawall_ledger::reconcile::tables::{Dialect, Statement};
    let (table, long_ago) = match store.dialect() {
        Dialect::Sqlite => ("seawall_reconciliation", "1"),
        Dialect::Postgres => ("seawall.reconciliation", "timestamptz 'epoch'"),
    };
    let text = format!("UPDATE {table} SET lease_until = {long_ago} WHERE id = $1");
    assert!(store.transact(vec![Statement { text, values: vec![id.to_string().into()] }]).await.unwrap());
}

/// A worker is stopped while it holds a page, as by SIGSTOP. It goes on after another worker has finished the report.
pub(crate) async fn a_worker_that_wakes_up_late_changes_nothing<S: Store + Tables>(store: S) {
    let partner = Arc::new(Partner::new(vec![record("k", minute(7), 5, ListedState::Applied)], 2));
    let sleeper = Arc::new(Partner::new(vec![record("wrong", minute(7), 5, ListedState::Applied)], 2));
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let asleep = Arc::new(AtomicBool::new(false));
    *sleeper.hook.lock().unwrap() = Some(Box::new({
        let (gate, asleep) = (gate.clone(), asleep.clone());
        move |_| {
            asleep.store(true, Ordering::SeqCst);
            let open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(open, |open| !*open).unwrap());
        }
    }));
    let first = Reconciler::new(ledger(&store, "bank", sleeper.clone()), sleeper, hasty("bank")).unwrap();
    let first = Arc::new(first);
    // The remote blocks its thread, so this runs on a thread of its own.
    let stopped = tokio::task::spawn_blocking({
        let (first, handle) = (first.clone(), tokio::runtime::Handle::current());
        move || handle.block_on(first.run(&day(), "anna", false)).unwrap()
    });
    let second =
        Reconciler::new(ledger(&store, "bank", partner.clone()), partner.clone(), settings("bank")).unwrap();
    let taken_over = async {
        while !asleep.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let id = second.reports(None, 1).await.unwrap()[0].id;
        end_lease(&store, id).await;
        second.again(id).await.unwrap()
    };
    let report = tokio::time::timeout(PATIENCE, taken_over).await.unwrap();
    assert_eq!(report.status, Status::Complete);
    let found = entries(&second, &report).await;
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let late = tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert_eq!(late, report, "it shows what the other one found");
    assert_eq!(entries(&second, &report).await, found);
    assert_eq!(found.iter().map(|entry| entry.key.as_deref()).collect::<Vec<_>>(), [Some("k")]);
}

/// All corrections go through the protocol. An unknown effect that is listed is adopted, a failed one that is listed is
/// cancelled at the provider, and all others are noted.
pub(crate) async fn corrections_are_made_where_the_operation_allows_them_and_only_there<S: Store + Tables>(
    store: S,
) {
    let rows = [
        ("unknown", Row::Unknown),
        ("stuck", Row::Stuck),
        ("failed", Row::Failed),
        ("refunded", Row::Done),
        ("lost", Row::Done),
    ];
    plant(&store, rows.iter().map(|(key, row)| action("bank", key, minute(9), 5, *row)).collect()).await;
    let state = |key: &str| if key == "refunded" { ListedState::Cancelled } else { ListedState::Applied };
    let listed = rows.iter().filter(|(key, _)| *key != "lost");
    let records = listed.map(|(key, _)| record(key, minute(9), 5, state(key))).collect();
    let partner = Arc::new(Partner::new(records, 10));
    let undoes = CancelRules { kind: CancelKind::State, keyed: true, by_key: true, ..CancelRules::default() };
    let mut rules = rules();
    rules.cancel = Some(undoes);
    let followed = Arc::new(Mutex::new(Vec::new()));
    let operation = Operation::new("bank", "charge", rules, partner.clone()).on_settled({
        let followed = followed.clone();
        move |_, action| {
            followed.lock().unwrap().push(action.key.clone());
            Box::pin(std::future::ready(Ok(())))
        }
    });
    let ledger = Ledger::builder(store.clone()).operation(operation).build().unwrap();
    let version = |key: &'static str| {
        let ledger = ledger.clone();
        async move { ledger.find("bank", key).await.unwrap().state.version() }
    };

    // First, corrections are asked for, but none is allowed. Then they are allowed, but not asked for.
    let compared = Compared::default().amount_at("/amount");
    let all = Corrections::ALL;
    let with = |compared| allowing("bank", compared);
    for (settings, fix) in [(with(compared.clone()), true), (with(compared.clone().allowing(all)), false)] {
        let reconciler = Reconciler::new(ledger.clone(), partner.clone(), settings).unwrap();
        let report = reconciler.run(&day(), "anna", fix).await.unwrap();
        let found = entries(&reconciler, &report).await;
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.iter().all(|entry| entry.correction.is_none()), "{found:?}");
        for (key, _) in rows {
            assert_eq!(version(key).await, 1, "{key} was left alone");
        }
    }

    let reconciler = Reconciler::new(ledger.clone(), partner.clone(), with(compared.allowing(all))).unwrap();
    let report = reconciler.run(&day(), "anna", true).await.unwrap();
    let found = entries(&reconciler, &report).await;
    let what = |key: &str| {
        let entry = found.iter().find(|entry| entry.key.as_deref() == Some(key)).unwrap();
        entry.correction.clone().unwrap()
    };
    assert_eq!(what("unknown"), "adopted for anna");
    assert_eq!(what("stuck"), "adopted for anna");
    assert_eq!(what("failed"), "to be cancelled there for anna");
    assert_eq!(what("refunded"), "marked for anna");
    assert_eq!(what("lost"), "marked for anna");
    for (key, _) in rows {
        let story = ledger.story(ledger.find("bank", key).await.unwrap().id).await.unwrap();
        let mark = story.marks.last().unwrap_or_else(|| panic!("{key} has no mark"));
        assert_eq!(mark.who, "anna");
        assert!(mark.why.contains(&report.id.to_string()), "{mark:?}");
        let end = match key {
            "failed" => None,
            _ => Some(End::Done),
        };
        assert_eq!(story.action.state.end(), end, "{key}");
    }
    let mut paid = followed.lock().unwrap().clone();
    paid.sort();
    assert_eq!(
        paid,
        ["stuck", "unknown"],
        "what the application does at an end is done in the same transaction"
    );
    // After that, a worker cancels the unwanted effect at the provider.
    let orphan = ledger.find("bank", "failed").await.unwrap();
    let undone = ledger.run_within(orphan.id, PATIENCE).await.unwrap();
    assert_eq!(undone.state.end(), Some(End::Cancelled), "{undone:?}");
    assert_eq!(partner.cancels.load(Ordering::SeqCst), 1);
    let left = reconciler.run(&day(), "anna", false).await.unwrap();
    let left: Vec<_> =
        entries(&reconciler, &left).await.into_iter().map(|entry| entry.key.unwrap()).collect();
    assert_eq!(left, ["lost", "refunded"], "what nobody can correct stays in the report");
    let name = &entries(&reconciler, &report).await[0].name;
    reconciler.mark(report.id, name, &By::new("bert", "called them")).await.unwrap();
    let marked = entries(&reconciler, &report).await[0].correction.clone();
    assert_eq!(marked.as_deref(), Some("marked by bert: called them"));
}
