//! Rows of the ledger that somebody has damaged: the others go on, the gateway lives, and the damage is shown.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use support::charges::{
    BODY, FINE, Place, all, booked, charge, ended, headers, opened, send, until_in_flight,
};
use support::{Heard, harbor};

/// What somebody writes into a row by hand.
const DAMAGES: &[(&str, &str)] = &[
    ("effect", "UPDATE ACTION SET effect = 'nonsense' WHERE key = 'effect'"),
    ("goal", "UPDATE ACTION SET goal = '' WHERE key = 'goal'"),
    ("version", "UPDATE ACTION SET version = -1 WHERE key = 'version'"),
    ("attempts", "UPDATE ACTION SET attempts = -7, logged = -7 WHERE key = 'attempts'"),
    ("in_flight", "UPDATE ACTION SET in_flight = 77 WHERE key = 'in_flight'"),
    ("ended", "UPDATE ACTION SET ended = 'perhaps' WHERE key = 'ended'"),
    ("request", "UPDATE ACTION SET request = 'no request' WHERE key = 'request'"),
    ("owner", "UPDATE ACTION SET owner = NULL WHERE key = 'owner'"),
    ("quiet", "UPDATE ACTION SET first_sent_at = NULL, quiet_until = NULL WHERE key = 'quiet'"),
];

#[tokio::test]
async fn damaged_rows_stop_no_other_rows() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let mut one = opened(&place, &charge(address, "")).await;
        let good = ["good-1", "good-2", "good-3"];
        let keys: Vec<&str> = DAMAGES.iter().map(|(key, _)| *key).chain(good).collect();
        let calls = all(keys.iter().map(|key| send(&one, key, "delay=900ms")));
        let killing = async {
            until_in_flight(&books, keys.len() as u64).await;
            one.signal("KILL");
        };
        let _ = tokio::join!(calls, killing);
        one.until_exit().await;
        for (_, damage) in DAMAGES {
            place.sql(damage);
        }
        let two = opened(&place, &charge(address, "")).await;
        for key in good {
            let shown = ended(&two, key).await;
            assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
        }
        for (key, _) in DAMAGES {
            let shown = two.ask("GET", &format!("/-/actions?dependency=pay&key={key}"), &[], "").await;
            let again = send(&two, key, "delay=900ms").await;
            println!(
                "{key}: {:?} {}\n    again: {:?} {}",
                shown.status,
                brief(&shown),
                again.verdict(),
                brief(&again)
            );
            // Either the row can still be read, or this call is refused without being sent.
            let told = (again.status, again.header("seawall-effect"), again.header("seawall-reason"));
            let refused = (Some(503), Some("not-applied"), Some("ledger-unavailable"));
            assert!(told.1 != Some("not-applied") || told == refused, "{key}: {again:?}");
            assert_eq!(booked(&books, key), (1, 1), "{key}: nothing was sent again");
        }
        assert_eq!(send(&two, "after", FINE).await.status, Some(200));
        for line in two.said("ERROR").iter().chain(&two.said("WARN")) {
            println!("{line}");
        }
    }))
    .await;
}

fn brief(heard: &Heard) -> String {
    heard.text().chars().take(300).collect()
}

#[tokio::test]
async fn damaged_answer_of_an_ended_action_is_not_replayed() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let gateway = opened(&place, &charge(address, "")).await;
        for key in ["answer", "fine"] {
            assert_eq!(send(&gateway, key, FINE).await.status, Some(200));
        }
        place.sql("UPDATE ACTION SET answer = 'no answer' WHERE key = 'answer'");
        let again = gateway.ask("POST", "/pay/v1/charges", &headers("answer", FINE), BODY).await;
        assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
        assert_eq!(send(&gateway, "fine", FINE).await.header("seawall-replayed"), Some("true"));
        assert_eq!((booked(&books, "answer"), booked(&books, "fine")), ((1, 1), (1, 1)));
    }))
    .await;
}
