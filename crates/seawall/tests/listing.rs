//! The provider's list, read page by page over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use seawall::ledger::protocol::Stamp;
use seawall::ledger::reconcile::{ListAsk, ListedState, NoPage, Window, Zone};
use seawall::ledger::stored::StoredRequest;
use seawall::ledger::{Listing, recorded_amount};
use seawall::{Dependency, Idempotency};
use seawall_lab::harbor::Harbor;

fn listing() -> Listing {
    Listing::by("GET /v1/charges?from={from}&to={to}&cursor={next}&limit=2")
        .items("/data")
        .next("/next")
        .key("/metadata/key")
        .id("/id")
        .amount("/amount")
        .state("/status", ["succeeded"], ["refunded"])
}

fn whole_time() -> Window {
    let far = Stamp::from_micros(4_000_000_000_000_000);
    Window::new(&Zone::utc(), Stamp::from_micros(1_000_000_000_000_000), far).unwrap()
}

#[tokio::test]
async fn every_page_is_asked_for_and_read() {
    let harbor = Harbor::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (address, faults) = (harbor.address(), harbor.faults());
    let serving = tokio::spawn(harbor.run());
    let payments = Dependency::builder("payments").endpoint(format!("http://{address}").as_str()).unwrap();
    let payments = payments.build().unwrap();
    for at in 0..5 {
        let charge = serde_json::json!({ "amount": 100 + at });
        let request = payments.http().post("/v1/charges").idempotency_key(format!("k{at}")).json(&charge);
        request.send().await.unwrap();
    }
    let list = payments.listing(listing()).unwrap();
    let mut ask = ListAsk { dependency: "payments".to_owned(), window: whole_time(), cursor: None };
    let mut seen = Vec::new();
    loop {
        let page = list.list(&ask).await.unwrap();
        assert!(page.records.len() <= 2);
        seen.extend(page.records);
        match page.next {
            Some(next) => ask.cursor = Some(next),
            None => break,
        }
    }
    let keys: Vec<&str> = seen.iter().filter_map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4"]);
    assert!(seen.iter().all(|record| record.state == ListedState::Applied));
    assert_eq!(seen[4].amount.unwrap().to_string(), "104");

    faults.set(Some("[[fault]]\nfault = 'status=500'".parse().unwrap()));
    assert!(matches!(list.list(&ask).await, Err(NoPage::Unavailable(_))), "no page is not an empty one");
    serving.abort();
}

#[tokio::test]
async fn list_that_could_not_be_walked_is_refused() {
    let payments = Dependency::builder("payments").endpoint("http://127.0.0.1:9").unwrap().build().unwrap();
    let said = |listing: Listing| payments.listing(listing).err().unwrap().to_string();
    let endless =
        Listing::by("GET /v1/charges?from={from}&to={to}").key("/key").state("/status", ["ok"], [""; 0]);
    assert!(payments.listing(endless.clone()).is_ok());
    assert!(said(endless.clone().next("/next")).contains("every page would be the first"));
    assert!(said(listing().key("key")).contains("does not begin with `/`"));
    assert!(said(listing().state("/status", [""; 0], [""; 0])).contains("no state would mean"));
    let all = Listing::by("GET /v1/charges").key("/key").state("/status", ["ok"], [""; 0]);
    assert!(said(all).contains("every window would be the whole list"));
    assert!(said(Listing::by("GET /v1/{key}")).contains("a list cannot be filled with `{key}`"));
}

#[test]
fn amount_is_read_from_the_body_of_what_was_recorded() {
    let payments = Dependency::builder("payments").endpoint("http://127.0.0.1:9").unwrap().build().unwrap();
    let charge = payments.operation("charge").idempotency(Idempotency::Keyed).build().unwrap();
    assert!(charge.durable("POST /v1/charges").build().is_ok());
    let line = Some((http::Method::POST, "/v1/charges".to_owned()));
    let body = b"{\"amount\":9007199254740993}".to_vec();
    let recorded = StoredRequest { line, headers: http::HeaderMap::new(), body }.encode();
    let read = recorded_amount("/amount");
    assert_eq!(read(&recorded).unwrap().to_string(), "9007199254740993");
    assert_eq!(read(b"{\"amount\":7}").unwrap().to_string(), "7", "a body alone, as SQL records it");
}
