//! Calls around any future: what a result means, what is repeated, and what the caller gets.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::time::Duration;

use seawall::{
    Breaker, Budget, Concurrency, Dependency, Dns, Effect, Fault, Idempotency, Meaning, Origin, Pool, Reason,
    Retry, Stopped, Timeouts, millis, secs,
};

fn dependency() -> Dependency {
    Dependency::builder("rates").build().expect("the defaults are good")
}

fn broken() -> io::Error {
    io::Error::other("it broke")
}

#[tokio::test(start_paused = true)]
async fn a_good_attempt_yields_its_value() {
    let value = dependency().call(Idempotency::None, |_| async { Ok::<_, io::Error>(7) }).await;
    assert_eq!(value.unwrap(), 7);
}

/// Each row: the first attempt's result, the number of attempts of a `none` call and of a `safe` call, and the effect
/// of the `none` call.
#[tokio::test(start_paused = true)]
async fn what_an_error_means_decides_about_repeats_and_effect() {
    type Make = fn() -> Fault;
    let rows: [(&str, Make, u32, u32, Effect); 5] = [
        ("plain", || broken().into(), 1, 2, Effect::Unknown),
        ("unsent", || Fault::unsent(broken()), 2, 2, Effect::NotApplied),
        ("unprocessed", || Fault::new(Meaning::unprocessed(), broken()), 2, 2, Effect::NotApplied),
        ("not applied", || Fault::not_applied(broken()), 1, 1, Effect::NotApplied),
        ("overloaded", || Fault::overloaded(broken(), None), 1, 2, Effect::Unknown),
    ];
    for (name, fault, none, safe, effect) in rows {
        for (idempotency, expected) in [(Idempotency::None, none), (Idempotency::Safe, safe)] {
            let made = Cell::new(0);
            let attempt = |_| {
                made.set(made.get() + 1);
                async { Err::<(), Fault>(fault()) }
            };
            let error = dependency().call(idempotency, attempt).await.unwrap_err();
            assert_eq!((made.get(), error.attempts()), (expected, expected), "{name} {idempotency}");
            let expected = if idempotency == Idempotency::Safe { Effect::NotApplied } else { effect };
            assert_eq!(error.effect(), expected, "{name} {idempotency}");
            assert_eq!((error.reason(), error.origin()), (None, Origin::Dependency));
            assert_eq!(error.downcast_ref::<io::Error>().unwrap().to_string(), "it broke");
            assert!(error.downcast::<io::Error>().is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn want_of_descriptors_is_our_own_and_the_breaker_does_not_hear_of_it() {
    let dependency = dependency();
    for _ in 0..100 {
        let attempt = |_| async { Err::<(), Fault>(Fault::new(Meaning::out_of_descriptors(), broken())) };
        let error = dependency.call(Idempotency::Safe, attempt).await.unwrap_err();
        assert_eq!((error.effect(), error.attempts(), error.stopped()), (Effect::NotApplied, 1, None));
        assert_eq!((error.reason(), error.origin()), (Some(Reason::OutOfDescriptors), Origin::Seawall));
        assert!(error.downcast_ref::<io::Error>().is_some());
    }
    let value = dependency.call(Idempotency::None, |_| async { Ok::<_, io::Error>(7) }).await;
    assert_eq!(value.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_closure_may_say_what_endings_mean() {
    let declined = |result: &Result<&str, io::Error>| match result {
        Ok("DECLINED") => Meaning::not_applied(),
        Ok(_) => Meaning::applied(),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Meaning::unsent(),
        Err(_) => Meaning::unknown(),
    };
    let payments = dependency();
    let refuse = |_| async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    let error = payments.call(Idempotency::None, refuse).classify(declined).await.unwrap_err();
    assert_eq!((error.effect(), error.attempts()), (Effect::NotApplied, 2));
    let value = payments.call(Idempotency::None, |_| async { Ok("DECLINED") }).classify(declined).await;
    assert_eq!(value.unwrap(), "DECLINED", "the caller reads the answer");
}

#[tokio::test(start_paused = true)]
async fn a_read_is_made_again_and_counts_its_attempts() {
    let attempt = |attempt: seawall::Attempt| async move {
        if attempt.number() == 1 { Err(broken()) } else { Ok(attempt.number()) }
    };
    assert_eq!(dependency().call(Idempotency::Safe, attempt).await.unwrap(), 2);
    let error = dependency().call(Idempotency::Safe, attempt).once().await.unwrap_err();
    assert_eq!((error.attempts(), error.stopped()), (1, Some(Stopped::Caller)));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_sees_its_deadline_and_is_cut_at_it() {
    let timeouts = Timeouts::default().connect(secs(1)).read(secs(2)).total(secs(3));
    let slow = Dependency::builder("slow").timeout(timeouts).build().unwrap();
    let began = tokio::time::Instant::now();
    let seen = Cell::new(None);
    let attempt = |attempt: seawall::Attempt| {
        seen.set(Some(attempt.deadline()));
        assert_eq!(attempt.remaining(), Some(secs(2)));
        pending::<Result<(), io::Error>>()
    };
    let error = slow.call(Idempotency::None, attempt).await.unwrap_err();
    assert_eq!(began.elapsed(), secs(2));
    assert_eq!(seen.get(), Some((began + secs(2)).into_std()));
    assert_eq!((error.effect(), error.reason()), (Effect::Unknown, Some(Reason::ReadTimeout)));
}

#[tokio::test(start_paused = true)]
async fn the_total_timeout_covers_all_attempts() {
    let timeouts = Timeouts::default().connect(secs(1)).read(secs(2)).total(secs(3));
    let slow = Dependency::builder("slow").timeout(timeouts).build().unwrap();
    let began = tokio::time::Instant::now();
    let error = slow.call(Idempotency::Safe, |_| pending::<Result<(), io::Error>>()).await.unwrap_err();
    assert_eq!((began.elapsed(), error.attempts()), (secs(3), 2));
    assert_eq!(error.reason(), Some(Reason::TotalTimeout));
    assert_eq!(error.effect(), Effect::NotApplied, "a read has none");
}

#[tokio::test(start_paused = true)]
async fn without_a_total_timeout_only_attempts_are_cut() {
    let timeouts = Timeouts::default().total(None);
    let endless = Dependency::builder("stream").timeout(timeouts).build().unwrap();
    let error = endless.call(Idempotency::None, |_| pending::<Result<(), io::Error>>()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ReadTimeout));
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_time_is_shorter_than_ours() {
    let began = tokio::time::Instant::now();
    let call = dependency();
    let error = call.call(Idempotency::Safe, |_| pending::<Result<(), io::Error>>()).within(millis(40));
    let error = error.await.unwrap_err();
    assert_eq!(began.elapsed(), millis(40));
    assert_eq!((error.reason(), error.attempts()), (Some(Reason::TotalTimeout), 1));
    let none = call.call(Idempotency::Safe, |_| async { Ok::<_, io::Error>(()) }).within(Duration::ZERO);
    assert_eq!(none.await.unwrap_err().reason(), Some(Reason::NoTimeLeft));
}

#[tokio::test(start_paused = true)]
async fn a_full_limit_refuses_at_once_and_a_dropped_call_makes_room() {
    let one = Dependency::builder("one").concurrency(Concurrency::fixed(1)).build().unwrap();
    let hangs = one.clone();
    let held =
        tokio::spawn(
            async move { hangs.call(Idempotency::None, |_| pending::<Result<(), io::Error>>()).await },
        );
    tokio::task::yield_now().await;
    let good = |_| async { Ok::<_, io::Error>(()) };
    let error = one.call(Idempotency::None, good).await.unwrap_err();
    assert_eq!((error.reason(), error.origin()), (Some(Reason::ConcurrencyLimit), Origin::Seawall));
    assert_eq!((error.effect(), error.attempts()), (Effect::NotApplied, 0));
    assert!(error.place().file().ends_with("any_future.rs"), "{}", error.place());
    assert!(error.to_string().contains("concurrency-limit (effect not-applied, not attempted)"), "{error}");
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    one.call(Idempotency::None, good).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_has_guards_of_its_own() {
    let shards = dependency();
    let dead = |_| async { Err::<(), _>(broken()) };
    for _ in 0..20 {
        let _ = shards.call(Idempotency::None, dead).key("shard-3").await;
    }
    let good = |_| async { Ok::<_, io::Error>(()) };
    let error = shards.call(Idempotency::None, good).key("shard-3").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::BreakerOpen));
    shards.call(Idempotency::None, good).key("shard-4").await.unwrap();
    shards.call(Idempotency::None, good).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queued_call_waits_its_turn_or_its_time() {
    let one = Concurrency::fixed(1).queue(1, millis(100));
    let queued = Dependency::builder("queued").concurrency(one).build().unwrap();
    let slow = |_| async {
        tokio::time::sleep(millis(60)).await;
        Ok::<_, io::Error>(())
    };
    let began = tokio::time::Instant::now();
    let calls = || queued.call(Idempotency::None, slow);
    let (first, second, third) = tokio::join!(calls(), calls(), calls());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(third.unwrap_err().reason(), Some(Reason::QueueFull));
    assert_eq!(began.elapsed(), millis(120));
    let hang = |_| pending::<Result<(), io::Error>>();
    let hung = queued.call(Idempotency::None, hang);
    let (_, late) = tokio::join!(hung, calls());
    assert_eq!(late.unwrap_err().reason(), Some(Reason::QueueTimeout));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_and_says_until_when() {
    let dead = dependency();
    let attempt = |_| async { Err::<(), _>(broken()) };
    for _ in 0..20 {
        let _ = dead.call(Idempotency::None, attempt).await;
    }
    let error = dead.call(Idempotency::None, attempt).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::BreakerOpen));
    let wait = error.retry_after().unwrap();
    assert!(wait > secs(2) && wait < secs(4), "{wait:?}");
    tokio::time::sleep(wait).await;
    dead.call(Idempotency::None, |_| async { Ok::<_, io::Error>(()) }).await.unwrap();
}

#[test]
fn settings_that_could_never_work_are_told_all_at_once() {
    let timeouts = Timeouts::default().connect(secs(0)).read(secs(30)).total(secs(10));
    let built =
        Dependency::builder("").timeout(timeouts).concurrency(Concurrency::fixed(0)).instances(0).build();
    let misuse = built.unwrap_err();
    assert_eq!(misuse.problems().count(), 5, "{misuse}");
    for (builder, says) in [
        (Dependency::builder("x").retry(Retry::default().attempts(11)), "retry: attempts 11"),
        (
            Dependency::builder("x").retry(Retry::default().backoff(secs(3), secs(2))),
            "base 3s is longer than cap 2s",
        ),
        (
            Dependency::builder("x").budget(Budget::default().initial(11)),
            "budget: `initial` is more than `burst`",
        ),
        (
            Dependency::builder("x").concurrency(Concurrency::fixed(1).queue(5, secs(0))),
            "`queue` has no effect",
        ),
        (Dependency::builder("x").breaker(Breaker::default().window_calls(10)), "min_calls 20 is more"),
        (Dependency::builder("x").breaker(Breaker::default().open_max(secs(1))), "shorter than `open_for`"),
        (Dependency::builder("x").breaker(Breaker::default().window_calls(100_001)), "from 1 to 100000"),
        (Dependency::builder("x").pool(Pool::default().max_age(secs(0))), "pool: `max_age` is zero"),
        (Dependency::builder("x").dns(Dns::default().refresh(secs(0))), "dns: `refresh` is zero"),
    ] {
        let misuse = builder.build().unwrap_err();
        assert!(misuse.problems().count() == 1 && misuse.to_string().contains(says), "{says}: {misuse}");
    }
    let unreadable = seawall::Tls::default().ca_file("/nonexistent/ca.pem");
    let built = Dependency::builder("x").endpoint("https://api.example").unwrap().tls(unreadable).build();
    assert!(built.unwrap_err().to_string().contains("/nonexistent/ca.pem"));
    for url in ["", "api.example", "ftp://api.example", "https://"] {
        let misuse = Dependency::builder("x").endpoint(url).unwrap_err();
        assert!(misuse.to_string().starts_with("endpoint: "), "{url}: {misuse}");
    }
    let secret = Dependency::builder("x").proxy("http://u:hunter2@proxy").unwrap_err();
    assert!(!secret.to_string().contains("hunter2"), "{secret}");
}

#[test]
fn a_call_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let rates = dependency();
    is_send(&rates.call(Idempotency::Safe, |_| async { Ok::<_, io::Error>(()) }));
}
