//! A path is sent on as it came, and is judged as servers read it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Gateway, Multiplexed, dependency};

/// Paths that most servers read as `/v1/charges`.
const DETOURS: [&str; 10] = [
    "/v1/./charges",
    "/v1/x/../charges",
    "/v1/%2e/charges",
    "/v1/x/%2E%2e/charges",
    "/v1//charges",
    "//v1/charges",
    "/v1/%63harges",
    "/v1%2fcharges",
    "/v1/charges;x=1",
    "/v1/x/..;/charges",
];

const CHARGE: &str = "[[dependency.up.operation]]\nname = \"charge\"\nmatch = \"POST /v1/charges\"\n";

#[tokio::test]
async fn a_detour_has_the_operations_answers_and_goes_out_as_it_came() {
    let rogue = Rogue::builder().answer(Answer::ok(r#"{"code":"DECLINED"}"#)).bind().unwrap();
    let lines = format!(
        "{CHARGE}answers.not_applied = [ {{ status = 200, json = {{ \"/code\" = \"DECLINED\" }} }} ]\n"
    );
    let gateway = Gateway::start(&dependency("up", rogue.address(), &lines)).await;
    for path in ["/v1/charges", "/v1/charges?a=//b"].into_iter().chain(DETOURS) {
        let heard = gateway.ask("POST", &format!("/up{path}"), &[], "a").await;
        assert_eq!(heard.verdict(), (200, "not-applied", "1", ""), "{path}");
        assert_eq!(rogue.read(|counts| counts.heard.last().unwrap().target.clone()), path);
        let mut caller = Multiplexed::connect(gateway.address()).await;
        let heard = caller.ask("POST", &format!("/up{path}"), &[], "a").await;
        assert_eq!(heard.verdict(), (200, "not-applied", "1", ""), "{path} over HTTP/2");
        assert_eq!(rogue.read(|counts| counts.heard.last().unwrap().target.clone()), path);
    }
    for path in ["/v1/charges/", "/v1/charge", "/v1/charges/x", "/V1/charges", "/v1/%2563harges"] {
        let heard = gateway.ask("POST", &format!("/up{path}"), &[], "a").await;
        assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{path} is another path");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_belongs_where_the_pattern_says_so() {
    let rogue = Rogue::builder().answer(Answer::ok(r#"{"code":"DECLINED"}"#)).bind().unwrap();
    let lines = "[[dependency.up.operation]]\nname = \"charge\"\nmatch = \"POST /v1/charges{/}\"\n\
                 answers.not_applied = [ { status = 200, json = { \"/code\" = \"DECLINED\" } } ]\n\
                 [[dependency.up.operation]]\nname = \"other\"\nmatch = \"POST /v1/refunds/{id}{/}\"\n\
                 answers.not_applied = [ { status = 200, json = { \"/code\" = \"DECLINED\" } } ]\n";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for path in ["/v1/charges", "/v1/charges/", "/v1/charges//", "/v1/charges/.", "/v1/refunds/1/"] {
        let heard = gateway.ask("POST", &format!("/up{path}"), &[], "a").await;
        assert_eq!(heard.verdict(), (200, "not-applied", "1", ""), "{path}");
    }
}

#[tokio::test]
async fn a_detour_is_repeated_no_more_than_its_method_may_be() {
    for idempotency in ["keyed", "safe", "idempotent"] {
        let lines = format!("{CHARGE}idempotency = \"{idempotency}\"\n");
        let start = async || {
            let acts = [Act::Close, Answer::ok("fine").into()];
            let rogue = Rogue::builder().acts(acts).bind().unwrap();
            let gateway = Gateway::start(&dependency("up", rogue.address(), &lines)).await;
            (rogue, gateway)
        };
        let (rogue, gateway) = start().await;
        let heard = gateway.ask("POST", "/up/v1/charges", &[], "a").await;
        assert_eq!((heard.verdict().0, rogue.read(|counts| counts.requests)), (200, 2), "{idempotency}");
        for path in ["/v1//charges", "/v1%2fcharges"] {
            let (rogue, gateway) = start().await;
            let heard = gateway.ask("POST", &format!("/up{path}"), &[], "a").await;
            assert_eq!(heard.verdict(), (502, "unknown", "1", "connection-lost"), "{idempotency}: {path}");
            assert_eq!(rogue.read(|counts| counts.requests), 1, "{idempotency}: {path}");
        }
    }
}

#[tokio::test]
async fn what_leads_above_the_endpoints_base_is_refused() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let text = format!(
        "[dependency.up]\nurl = \"http://{0}/base\"\n[dependency.plain]\nurl = \"http://{0}\"\nlisten = \"127.0.0.1:0\"\n",
        rogue.address()
    );
    let gateway = Gateway::start(&text).await;
    let outside = [
        "/..",
        "/../x",
        "/a/../../x",
        "/%2e%2E/x",
        "/..%2fx",
        "/..\\x",
        "/a//../../x",
        "/..;/x",
        "/a/..%5C..%5Cx",
    ];
    for path in outside {
        for name in ["up", "plain"] {
            let heard = gateway.ask("GET", &format!("/{name}{path}"), &[], "").await;
            assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "/{name}{path}");
            assert!(heard.text().contains("above its beginning"), "{}", heard.text());
            let mut caller = Multiplexed::connect(gateway.address()).await;
            let heard = caller.ask("GET", &format!("/{name}{path}"), &[], "").await;
            assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "/{name}{path}");
        }
        let mut own = support::Caller::connect(gateway.own_address("plain")).await;
        assert_eq!(own.ask("GET", path, &[], "").await.verdict().0, 400, "{path} on a listener of its own");
    }
    assert_eq!(rogue.read(|counts| counts.requests), 0);
    for path in ["/a/../x", "/a/b/../..", "/group%2Fproject", "/...", "/a//b", "/.x", "/%252e%252e/x"] {
        let heard = gateway.ask("GET", &format!("/up{path}"), &[], "").await;
        assert_eq!(heard.status, Some(200), "{path}");
        let target = rogue.read(|counts| counts.heard.last().unwrap().target.clone());
        assert_eq!(target, format!("/base{path}"));
    }
}

#[tokio::test]
async fn a_dependencys_name_is_compared_byte_for_byte() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for path in ["//up/x", "/./up/x", "/%75p/x", "/UP/x", "/x/../up/x", "/up%2fx", "/up;a/x"] {
        let heard = gateway.ask("GET", path, &[], "").await;
        assert_eq!(heard.verdict(), (404, "not-applied", "0", "unknown-dependency"), "{path}");
    }
    let heard = gateway.ask("GET", "/up/..//up/x", &[], "").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    assert_eq!(rogue.read(|counts| counts.requests), 0);
}

#[tokio::test]
async fn a_target_with_a_fragment_is_refused() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for target in ["/up/x#y", "/up/x?a=1#y", "/up/#", "http://localhost/up/x#y"] {
        let heard = gateway.ask("GET", target, &[], "").await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{target}");
        assert!(heard.text().contains("fragment"), "{}", heard.text());
    }
    let heard = gateway.ask("GET", "/up/x", &[("x-note", "a#b")], "").await;
    assert_eq!(heard.status, Some(200));
    assert_eq!(rogue.read(|counts| counts.requests), 1);
}
