//! What the shop declares about its payment provider. This is all the code that the shop needs for lost replies and
//! crashes.

use std::time::Duration;

use seawall::ledger::{Cancel, Confirm, Durable, DurableBuilder, OnUnknown};
use seawall::{Dependency, Effect, Idempotency, Misuse, Timeouts, When, millis};
use serde_json::json;

/// The provider's name in the ledger.
pub(crate) const PROVIDER: &str = "harbor";

/// The longest time of one attempt.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(1);
/// For how long the claims of a worker that died keep other workers from its actions.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// The quiet time: for this long after the last possible send, "no such charge" is not believed.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// For how long the harbor remembers a key. A provider says so on its page.
const KEYS: Duration = Duration::from_secs(24 * 3600);
/// The time within which the shop must settle a charge that was made before its order was committed.
pub(crate) const SETTLE: Duration = Duration::from_secs(6);

/// The two operations of the shop: the same charge, settled in two ways.
pub(crate) struct Charges {
    /// The charge is made after the order was committed. The provider's answer settles it.
    pub(crate) after: Durable,
    /// The charge is made before the order is committed. The order's transaction settles it; otherwise it is cancelled.
    pub(crate) before: Durable,
}

impl Charges {
    /// Declares both. The times are short, so that a story ends soon. A real shop should keep the more cautious
    /// defaults.
    pub(crate) fn at(url: &str) -> Result<Charges, Misuse> {
        let provider = Dependency::builder(PROVIDER)
            .endpoint(url)?
            .timeout(Timeouts::default().connect(millis(300)).read(millis(700)).total(Some(ATTEMPT)))
            .build()?;
        let declare = |name: &str| -> Result<DurableBuilder, Misuse> {
            let charge = provider.operation(name).idempotency(Idempotency::Keyed);
            let charge = charge
                .answers(Effect::Applied, When::status(200).field("/code", ["OK"]))
                .answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED"]))
                .otherwise(Effect::Unknown)
                .build()?;
            Ok(charge
                .durable("POST /v1/charges")
                .key_lifetime(KEYS)
                .on_unknown(OnUnknown::Confirm)
                .confirm(
                    Confirm::by("GET /v1/charges?key={key}")
                        .after(millis(200))
                        .applied(When::status(200).field("/status", ["succeeded"]))
                        .cancelled(When::status(200).field("/status", ["refunded"]))
                        .absent(When::status(404).field("/error/code", [404]))
                        .id("/id"),
                )
                .cancel(
                    Cancel::by("POST /v1/refunds")
                        .json(json!({ "charge": "{answer:/id}" }))
                        .sets_a_state()
                        .not_found(When::status(404)),
                )
                .quiet(QUIET)
                .lease(LEASE)
                .network(millis(200))
                .pause(millis(200))
                .backoff(millis(100), millis(500)))
        };
        Ok(Charges {
            after: declare("charge")?.build()?,
            before: declare("charge-first")?.settle_within(SETTLE).build()?,
        })
    }
}
