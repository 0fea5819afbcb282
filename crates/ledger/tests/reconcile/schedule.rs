//! The schedule makes one report for each window, whichever of many workers looks first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seawall_ledger::Stamp;
use seawall_ledger::reconcile::tables::Tables;
use seawall_ledger::reconcile::{ListedState, Reconciler, Settings, Status};
use seawall_ledger::store::Store;
use seawall_policy::Backoff;

use crate::partner::{Fault, Partner, minute, record};
use crate::{PATIENCE, day, ledger, settings};

fn scheduled(dependency: &str) -> Settings {
    settings(dependency)
}

/// There are eight workers, each with its own ledger on one store.
pub(crate) async fn many_workers_make_one_report_of_a_window<S: Store + Tables>(store: S) {
    let partner = Arc::new(Partner::new(Vec::new(), 10));
    let mut ticks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let ledger = ledger(&store, "bank", partner.clone());
        let reconciler = Reconciler::new(ledger, partner.clone(), scheduled("bank")).unwrap();
        ticks.spawn(async move { reconciler.tick().await.unwrap() });
    }
    let done: Vec<_> = ticks.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!((done[0].status, done[0].asked_by.as_str()), (Status::Complete, "schedule"));
    assert_eq!(partner.asked(), 1, "the list was asked for once");
    let seoul = done[0].window.zone().clone();
    let now = store.ask_time().await.unwrap().now();
    let horizon = Stamp::from_micros(now.as_micros() - 600_000_000);
    let yesterday = seawall_ledger::reconcile::Window::yesterday(&seoul, horizon).unwrap();
    assert_eq!(done[0].window, yesterday, "the last day that ended in Seoul");

    let ledger = ledger(&store, "bank", partner.clone());
    let reconciler = Reconciler::new(ledger, partner, scheduled("bank")).unwrap();
    assert_eq!(reconciler.tick().await.unwrap(), None);
    assert_eq!(reconciler.reports(None, 10).await.unwrap(), done);
}

/// The list is asked for again without a request, until the tries are used up.
pub(crate) async fn what_is_incomplete_is_asked_again_when_its_time_has_come<S: Store + Tables>(store: S) {
    let records = vec![record("a", minute(5), 1, ListedState::Applied)];
    let partner = Arc::new(Partner::new(records, 10));
    *partner.always.lock().unwrap() = Some(Fault::Garbage);
    let mut often = scheduled("bank");
    often.tries = 3;
    often.backoff = Backoff { base: Duration::from_millis(2), cap: Duration::from_millis(2) };
    let ledger = ledger(&store, "bank", partner.clone());
    let reconciler = Arc::new(Reconciler::new(ledger.clone(), partner.clone(), often.clone()).unwrap());

    let asked = reconciler.run(&day(), "anna", false).await.unwrap();
    assert_eq!((asked.status, asked.tries), (Status::Incomplete, 1));
    assert!(asked.next_at.is_some());

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let watching = tokio::spawn({
        let reconciler = reconciler.clone();
        async move {
            reconciler.watch(async { drop(stopped.await) }).await;
        }
    });
    let given_up = async {
        loop {
            let report = reconciler.report(asked.id).await.unwrap();
            if report.status == Status::Incomplete && report.next_at.is_none() {
                return report;
            }
            // The watch sleeps between two looks. So this test looks itself, as another worker would.
            reconciler.tick().await.unwrap();
        }
    };
    let report = tokio::time::timeout(PATIENCE, given_up).await.unwrap();
    assert_eq!(report.tries, 3);
    assert!(report.why.unwrap().contains("not JSON"));
    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, watching).await.unwrap().unwrap();

    // A person may still ask again. Then the report becomes complete.
    *partner.always.lock().unwrap() = None;
    let report = reconciler.again(asked.id).await.unwrap();
    assert_eq!((report.status, report.tries, report.why), (Status::Complete, 4, None));
    assert!(partner.asked.load(Ordering::SeqCst) >= 4);
}

/// Reports that are under way are not deleted.
pub(crate) async fn old_reports_are_forgotten_with_what_they_list<S: Store + Tables>(store: S) {
    let records: Vec<_> =
        (0..5).map(|i| record(&format!("a{i}"), minute(i), 1, ListedState::Applied)).collect();
    let partner = Arc::new(Partner::new(records, 2));
    let ledger = ledger(&store, "bank", partner.clone());
    let reconciler = Reconciler::new(ledger, partner.clone(), settings("bank")).unwrap();
    let old = reconciler.run(&day(), "anna", false).await.unwrap();
    partner.fault(1, Fault::Lost);
    let waiting = reconciler.run(&day(), "anna", false).await.unwrap();
    assert_eq!(waiting.status, Status::Incomplete);
    assert_eq!(reconciler.differences(old.id, None, "", 10).await.unwrap().len(), 5);

    let later = Stamp::from_micros(store.ask_time().await.unwrap().now().as_micros() + 1_000_000);
    assert_eq!(reconciler.forget(minute(0)).await.unwrap(), 0);
    assert_eq!(reconciler.forget(later).await.unwrap(), 1);
    let left: Vec<_> =
        reconciler.reports(None, 10).await.unwrap().into_iter().map(|report| report.id).collect();
    assert_eq!(left, [waiting.id]);
}
