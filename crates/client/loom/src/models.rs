//! Each function is one run of a model. The checker repeats the run in every order of its threads' steps.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use seawall_policy::{
    After, Answer, Ending, GuardSettings, Guards, Idempotency, Keys, LimitSettings, Permit, QueueSettings,
    QueueTurn, Report, Rules, Ticket, Time,
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

/// Every call that is admitted gives its slot back. At the end the slot is free, whichever call came first.
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

/// The slot of an answer whose body is under way is given back when the body is dropped, on whatever thread.
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
        match guards(shared).take_turn(ticket, NOW) {
            QueueTurn::Yours(permit) => return permit,
            QueueTurn::Waits(again, _) => ticket = again,
            QueueTurn::Refused(no) => panic!("refused: {no:?}"),
        }
    }
}

/// A call begins to wait for a slot in the moment in which the slot comes free. It is woken all the same.
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

/// A call that leaves just when its turn comes passes the slot on.
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
