//! Each model is one run; the checker repeats it in every order.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use seawall_policy::{
    After, Answer, Claim, Ending, GuardSettings, Guards, Idempotency, Keys, LimitSettings, Permit,
    QueueSettings, Report, Rules, Ticket, Time,
};

use crate::clock::Clock;
use crate::shared::{CallGuards, Shared};

const NOW: Time = Time::from_millis(1_000);
static NONE: Keys = Keys::NONE;

/// A limit of one, and a queue for one.
fn shared() -> Arc<Shared> {
    let queue = QueueSettings { length: 1, wait: Duration::from_secs(9) };
    Shared::new(GuardSettings { limit: LimitSettings::fixed(1), queue, ..GuardSettings::default() }, 1)
}

fn guards(shared: &Arc<Shared>) -> CallGuards<'_> {
    CallGuards::new(shared, &NONE, Clock)
}

fn report(flowing: bool) -> Report {
    let ending = Ending::Answered(Answer::of_status(200));
    let verdict = Rules::of(Idempotency::Safe).judge(&ending);
    Report { flowing, ..Report::of(&ending, &verdict, Duration::from_millis(1), Duration::from_secs(1)) }
}

fn settle(shared: &Arc<Shared>, permit: Permit) {
    assert!(in_flight(shared) <= 1, "never more than the limit");
    let _none = guards(shared).settle(permit, &report(false), After::Ends, NOW);
}

fn in_flight(shared: &Arc<Shared>) -> u32 {
    shared.with(|guards| guards.endpoint(0).expect("there is one").limit().in_flight())
}

/// Whoever is admitted gives the place back; at the end it is free, whoever came first.
pub fn permits_go_back_once() {
    let shared = shared();
    let others = Arc::clone(&shared);
    let other = thread::spawn(move || {
        let admitted = guards(&others).admit(0, NOW);
        admitted.map(|permit| settle(&others, permit)).is_ok()
    });
    let admitted = guards(&shared).admit(0, NOW);
    let mine = admitted.map(|permit| settle(&shared, permit)).is_ok();
    let theirs = other.join().expect("it ends");
    assert!(mine || theirs, "one of them had the place");
    assert_eq!(in_flight(&shared), 0);
}

/// The place of an answer whose body is under way is given back when the body is dropped, on whatever thread.
pub fn a_body_dropped_elsewhere_gives_its_place_back() {
    let shared = shared();
    let permit = guards(&shared).admit(0, NOW).expect("it is free");
    let mut answered = guards(&shared);
    let _none = answered.settle(permit, &report(true), After::Ends, NOW);
    let slot = answered.take_slot();
    assert!(slot.is_some());
    let body = thread::spawn(move || drop(slot));
    if let Ok(permit) = guards(&shared).admit(0, NOW) {
        settle(&shared, permit);
    }
    drop(answered);
    body.join().expect("it ends");
    assert_eq!(in_flight(&shared), 0);
}

/// Waits for its turn as a driver does.
fn wait(shared: &Arc<Shared>, ticket: Ticket) -> Permit {
    let mut ticket = ticket;
    loop {
        block_on(poll_fn(|cx| guards(shared).poll_turn(ticket, cx)));
        match guards(shared).claim(ticket, NOW) {
            Claim::Yours(permit) => return permit,
            Claim::Waits(again, _) => ticket = again,
            Claim::Refused(no) => panic!("refused: {no:?}"),
        }
    }
}

/// A place that comes free while somebody begins to wait for it is not lost: the waiter is woken.
pub fn no_turn_is_lost() {
    let shared = shared();
    let permit = guards(&shared).admit(0, NOW).expect("it is free");
    let (ticket, _) = guards(&shared).join(0, NOW).expect("there is room");
    let waits = Arc::clone(&shared);
    let waiter = thread::spawn(move || {
        let permit = wait(&waits, ticket);
        settle(&waits, permit);
    });
    settle(&shared, permit);
    waiter.join().expect("it had its turn");
    assert_eq!(in_flight(&shared), 0);
}

/// Who leaves as its turn comes passes the place on.
pub fn a_turn_that_nobody_takes_is_free_again() {
    let shared = shared();
    let permit = guards(&shared).admit(0, NOW).expect("it is free");
    let (ticket, _) = guards(&shared).join(0, NOW).expect("there is room");
    let leaves = Arc::clone(&shared);
    let leaver = thread::spawn(move || guards(&leaves).leave(ticket, NOW));
    settle(&shared, permit);
    leaver.join().expect("it ends");
    assert_eq!(in_flight(&shared), 0);
    settle(&shared, guards(&shared).admit(0, NOW).expect("it is free"));
}
