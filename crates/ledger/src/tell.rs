//! Tells somebody of stuck actions: a webhook, or code of the application.
//!
//! A person must look at a stuck action, so a person must learn of it. The obvious way is to call the webhook where an action
//! becomes stuck. Then a slow receiver would hold up the work, and what a dead receiver did not hear would be forgotten with
//! the process. So the worker has a loop of its own for it. The loop reads from the ledger which stuck actions were not told
//! yet, and writes what was told. It goes on after failures, restarts, and in another process.
//!
//! An action is told at least once each time that it becomes stuck. It is told twice if a process ends after the receiver has
//! taken the news and before that is written. An action that is no longer stuck when its turn comes is not told.

use std::sync::Arc;
use std::time::Duration;

use crate::action::ActionId;
use crate::error::StoreError;
use crate::inner::{Inner, Stopped};
use crate::machine::Stamp;
use crate::on_stuck::{OnStuck, StuckNews};
use crate::store::{COUNTED, Store};

/// The maximum number of actions that are told together.
const PAGE: u32 = 50;

/// How much longer than the receiver's time a process has the right to tell. In this time it notes what was told.
const NOTING: Duration = Duration::from_secs(10);

/// The wait after the first failure. It doubles with each further one.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(300);

/// Tells of stuck actions until the worker is stopped or dropped. Looks for them about once in the time `every`.
pub(crate) async fn run<S: Store>(inner: Arc<Inner<S>>, every: Duration, mut stopped: Stopped) {
    let Some(receiver) = inner.on_stuck.clone() else { return };
    loop {
        // What has begun goes on in a task of its own when the worker is stopped. If it were dropped, it might already be
        // told, and would be told again.
        let looking = tokio::spawn(look(inner.clone(), receiver.clone()));
        let wait = tokio::select! {
            looked = looking => match looked {
                Ok(Ok(true)) => Duration::ZERO,
                Ok(Ok(false)) => every.mul_f64(0.75 + fastrand::f64() / 2.0),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the ledger could not be asked for stuck actions");
                    every * 2
                }
                Err(_) => every * 2,
            },
            _ = stopped.changed() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Looks once for stuck actions that were not told, and tells them. Returns whether there may be more.
async fn look<S: Store>(inner: Arc<Inner<S>>, receiver: OnStuck) -> Result<bool, StoreError> {
    let store = &inner.store;
    // Nearly always there is nothing to tell, and then nothing is written.
    if store.untold(1).await?.is_empty() {
        return Ok(false);
    }
    let Some(tries) = store.take_telling(inner.owner, receiver.longest() + NOTING).await? else {
        return Ok(false);
    };
    // Another process may have told them meanwhile, so they are read again.
    let actions = store.untold(PAGE).await?;
    let told: Vec<(ActionId, Stamp)> = actions.iter().map(|action| (action.id, action.stuck_at)).collect();
    if told.is_empty() {
        store.told(inner.owner, &told).await?;
        return Ok(false);
    }
    let stuck = store.stuck_counts().await?.iter().map(|of| of.number).sum::<u64>().min(COUNTED.into());
    match receiver.tell(StuckNews { actions, stuck }).await {
        Ok(()) => {
            crate::failpoint::point("told").await;
            store.told(inner.owner, &told).await?;
            tracing::info!(actions = told.len(), "stuck actions were told");
            Ok(true)
        }
        Err(why) => {
            let tries = tries.saturating_add(1);
            let again = after(tries);
            store.not_told(inner.owner, tries, again).await?;
            tracing::warn!(
                actions = told.len(),
                tries,
                why,
                "stuck actions could not be told; again in {again:?}"
            );
            Ok(false)
        }
    }
}

/// Returns the wait after this number of failures.
fn after(tries: u32) -> Duration {
    AGAIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<u64> = [0, 1, 2, 3, 9, 10, u32::MAX].map(|tries| after(tries).as_secs()).to_vec();
        assert_eq!(waits, [1, 1, 2, 4, 256, 300, 300]);
    }
}
