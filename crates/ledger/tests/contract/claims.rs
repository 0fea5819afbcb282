//! The claim of each store, which is written in SQL, against the machine's: rows of random walks go through both, and
//! every column is compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::machine;
use seawall_ledger::store::{Insert, Recorded, Store};
use seawall_ledger::{Action, ActionId, Owner, Stamp};

use crate::suite::{SECOND, charge, pay};
use crate::walker::{Walk, seeded};
use crate::world::World;

const ME: Owner = Owner(0xfeed);
const LEASE: Duration = Duration::from_secs(77);

/// Checks that a claimed row is as the machine claims the row `before`, also in the column `due_at`, which the store
/// does not read back.
async fn check<W: World>(world: &W, before: &Action, claimed: &Action) {
    let now = claimed.state.leased_until().unwrap().saturating_sub(LEASE);
    let wanted = machine::claim(&before.state, LEASE, ME, now).expect("the machine claims it, too");
    assert_eq!(claimed.state.row(), wanted.to().row());
    assert_eq!(Action { state: before.state.clone(), ..claimed.clone() }, *before);
    let mut conn = world.connect().await;
    let due = W::micros("due_at");
    let due = format!("SELECT {due} FROM {} WHERE id = '{}'", W::ACTIONS, claimed.id);
    assert_eq!(Some(W::number(&mut conn, &due).await), wanted.to().due_at().map(Stamp::as_micros));
}

pub(crate) async fn a_claim_does_what_the_machine_does<W: World>(world: W) {
    const ROWS: usize = 240;
    let store = world.open().await;
    let mut rng = seeded();
    let now = store.ask_time().await.unwrap().now().saturating_sub(SECOND * 90_000);
    let mut rows: HashMap<ActionId, Action> = HashMap::new();
    let mut records = Vec::new();
    for number in 0..ROWS {
        let key = format!("k{number}");
        let walk = Walk::new(&mut rng, &key, false, now).walks(&mut rng, 25);
        let action = Action::of(&charge(&key), walk.state, now);
        rows.insert(action.id, action.clone());
        let store = store.clone();
        records
            .push(tokio::spawn(async move { store.record(Insert { action, attempt: None }).await.unwrap() }));
    }
    for record in records {
        assert!(matches!(record.await.unwrap(), Recorded::New));
    }
    let world = Arc::new(world);
    let started = store.ask_time().await.unwrap().now();
    // Every third row alone, and the others by the scan.
    let (mut claimed, mut left) = (0, 0);
    for before in rows.values().take(ROWS / 3) {
        match store.claim_one(before.id, ME, LEASE).await.unwrap() {
            Some(action) => {
                claimed += 1;
                check(&*world, before, &action).await;
            }
            None => {
                left += 1;
                assert_eq!(machine::claim(&before.state, LEASE, ME, started), None);
            }
        }
    }
    loop {
        let some = store.claim(&pay(), ME, 50, LEASE).await.unwrap();
        if some.is_empty() {
            break;
        }
        for action in some {
            claimed += 1;
            check(&*world, &rows[&action.id], &action).await;
        }
    }
    for before in rows.values() {
        let found = store.load(before.id).await.unwrap().unwrap();
        if found == *before {
            assert_eq!(machine::claim(&before.state, LEASE, ME, started), None, "it was not claimed");
        } else {
            assert_eq!(found.state.owner(), Some(ME));
        }
    }
    println!("{claimed} claimed, {left} left alone");
    assert!(claimed > 20 && left > 5);
}
