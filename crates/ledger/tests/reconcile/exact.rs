//! Ten thousand records with some differences of each kind. Exactly these differences are reported, whatever goes wrong
//! while asking.

use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::reconcile::tables::Tables;
use seawall_ledger::reconcile::{Amount, Difference, Listed, ListedState, Reconciler, Report, Status};
use seawall_ledger::store::Store;
use seawall_policy::Backoff;

use crate::partner::{Fault, Named, Partner, Row, action, count, minute, plant, record};
use crate::{day, ledger, settings};

const ALL: i64 = 10_000;

/// The provider's records, and the differences that must be found.
struct World {
    records: Vec<Listed>,
    wanted: Named,
    here: u64,
    there: u64,
    sum_here: i64,
    sum_there: i64,
}

/// Makes the rows and the records. Key `i` has the amount `100 + i`.
async fn world<S: Store>(store: &S, dependency: &str) -> World {
    let (mut rows, mut records, mut wanted) = (Vec::new(), Vec::new(), Named::new());
    let (mut here, mut there, mut sum_here, mut sum_there) = (0, 0, 0, 0);
    for i in 0..ALL {
        let key = format!("k{i}");
        let at = minute(1 + i % 1400);
        let amount = 100 + i;
        let mut row = Row::Done;
        let mut listed = vec![record(&key, at, amount, ListedState::Applied)];
        let mut recorded = Some(at);
        match i {
            0..37 => {
                listed.clear();
                count(&mut wanted, "only-here", &key);
            }
            100..123 => {
                recorded = None;
                count(&mut wanted, "only-there", &key);
            }
            150..161 => {
                recorded = None;
                listed[0].key = None;
                count(&mut wanted, "only-there", &format!("ch_{key}"));
            }
            200..217 => {
                listed[0].amount = Some(Amount::from(amount + 1));
                count(&mut wanted, "amount", &key);
            }
            300..305 => {
                listed[0].state = ListedState::Cancelled;
                count(&mut wanted, "state", &key);
            }
            305..309 => {
                row = Row::Failed;
                count(&mut wanted, "state", &key);
            }
            309..313 => {
                row = Row::Cancelled;
                count(&mut wanted, "state", &key);
            }
            400..407 => {
                listed.push(Listed { id: Some(format!("again_{key}")), ..listed[0].clone() });
                count(&mut wanted, "doubled", &key);
            }
            500..505 => {
                row = Row::Unknown;
                count(&mut wanted, "pending", &key);
            }
            505..509 => {
                row = Row::Unknown;
                listed.clear();
                count(&mut wanted, "pending", &key);
            }
            509..511 => {
                row = Row::Fresh;
                listed.clear();
                count(&mut wanted, "pending", &key);
            }
            // These are no differences: rows that were recorded before midnight with records dated after it, on both
            // ends of the day, and rows that failed and are not listed.
            600..605 => listed[0].at = Some(minute(24 * 60 + 1)),
            605..610 => recorded = Some(minute(-2)),
            610..615 => {
                row = Row::Failed;
                listed.clear();
            }
            615..618 => {
                row = Row::Cancelled;
                listed[0].state = ListedState::Cancelled;
            }
            // These belong to another day on both sides.
            618..620 => {
                recorded = Some(minute(-3 * 24 * 60));
                listed.clear();
            }
            _ => {}
        }
        let inside = |at: i64| (0..24 * 60).contains(&at);
        let minute_of =
            |at: seawall_ledger::Stamp| (at.as_micros() - minute(0).as_micros()).div_euclid(60_000_000);
        if let Some(recorded) = recorded {
            if matches!(row, Row::Done | Row::Fresh) && inside(minute_of(recorded)) {
                here += 1;
                sum_here += amount;
            }
            rows.push(action(dependency, &key, recorded, amount, row));
        }
        for one in listed {
            if one.state == ListedState::Applied && inside(minute_of(one.at.unwrap())) {
                there += 1;
                sum_there += one.amount.unwrap().to_string().parse::<i64>().unwrap();
            }
            records.push(one);
        }
    }
    // The same keys at another provider must not matter.
    rows.push(action("elsewhere", "k100", minute(5), 1, Row::Done));
    plant(store, rows).await;
    World { records, wanted, here, there, sum_here, sum_there }
}

/// The differences that a report names, read page by page.
async fn named<S: Store + Tables>(reconciler: &Reconciler<S>, report: &Report) -> Named {
    let mut found = Named::new();
    let mut after = String::new();
    loop {
        let page = reconciler.differences(report.id, None, &after, 50).await.unwrap();
        let Some(last) = page.last() else { return found };
        after.clone_from(&last.name);
        for entry in &page {
            let name = entry.key.as_ref().or(entry.id_there.as_ref()).unwrap();
            count(&mut found, entry.difference.as_str(), name);
        }
    }
}

async fn check<S: Store + Tables>(reconciler: &Reconciler<S>, report: &Report, world: &World, how: &str) {
    assert_eq!(report.status, Status::Complete, "{how}: {report:?}");
    let found = named(reconciler, report).await;
    let missed: Vec<_> = world.wanted.iter().filter(|(name, _)| !found.contains_key(*name)).collect();
    let invented: Vec<_> = found.iter().filter(|(name, _)| !world.wanted.contains_key(*name)).collect();
    assert!(missed.is_empty() && invented.is_empty(), "{how}: missed {missed:?}, invented {invented:?}");
    assert_eq!(found, world.wanted, "{how}");
    let totals = report.totals.clone().unwrap();
    for kind in Difference::ALL {
        let of_kind = |(name, times): (&(String, String), &u32)| {
            if name.0 == kind.as_str() { u64::from(*times) } else { 0 }
        };
        assert_eq!(totals.of(kind), world.wanted.iter().map(of_kind).sum::<u64>(), "{how}: {kind:?}");
    }
    assert_eq!((totals.here, totals.there), (world.here, world.there), "{how}");
    assert_eq!(totals.sum_here, Some(Amount::from(world.sum_here)), "{how}");
    assert_eq!(totals.sum_there, Some(Amount::from(world.sum_there)), "{how}");
    assert_eq!(totals.uncompared, 0, "{how}");
}

/// Asks in four ways, one after the other, on one ledger: the plain list, repeated pages, another order, and a list
/// that breaks off.
pub(crate) async fn ten_thousand_records_are_reported_exactly<S: Store + Tables>(store: S) {
    let world = world(&store, "bank").await;
    let ledger = ledger(&store, "bank", Arc::new(Partner::new(Vec::new(), 1)));
    let mut settings = settings("bank");
    settings.page_tries = 2;
    settings.page_backoff = Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(2) };

    for how in ["plain", "repeated", "reordered", "torn"] {
        let mut records = world.records.clone();
        if how == "reordered" {
            records.reverse();
            fastrand::Rng::with_seed(5).shuffle(&mut records);
        }
        let partner = Arc::new(Partner::new(records, 250));
        match how {
            "repeated" => [3, 4, 11, 30].into_iter().for_each(|n| partner.fault(n, Fault::Repeated)),
            // After the fifth answer is lost, asking again for its page helps. The 17th and the 18th answer are lost
            // for the same page, so the list is broken off there.
            "torn" => {
                [5, 17, 18].into_iter().for_each(|n| partner.fault(n, Fault::Lost));
            }
            _ => {}
        }
        let reconciler = Reconciler::new(ledger.clone(), partner.clone(), settings.clone()).unwrap();
        let mut report = reconciler.run(&day(), "anna", false).await.unwrap();
        if how == "torn" {
            assert_eq!(report.status, Status::Incomplete, "{report:?}");
            assert!(report.why.clone().unwrap().contains("connection reset"), "{report:?}");
            assert_eq!(report.totals, None);
            assert!(named(&reconciler, &report).await.is_empty(), "half a list is no evidence");
            report = reconciler.again(report.id).await.unwrap();
            assert_eq!((report.tries, partner.firsts.load(std::sync::atomic::Ordering::SeqCst)), (2, 4));
        }
        check(&reconciler, &report, &world, how).await;
        assert_eq!(report.asked_by, "anna");
        // A page has at most this many records, and the list was asked for page by page.
        assert_eq!(partner.largest.load(std::sync::atomic::Ordering::SeqCst), 250);
        assert!(partner.asked() >= 40, "{how}: {}", partner.asked());
    }
}
