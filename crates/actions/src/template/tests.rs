use http::HeaderMap;
use seawall_ledger::Stamp;
use serde_json::json;

use super::*;

struct Values;

impl Fill for Values {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        let answer = br#"{"id":"ch 1/2","serial":12345678901234567890123,"part":{"n":1.10},"none":null}"#;
        match hole {
            Hole::Key => Some(Raw::string("order 7\"ä")),
            Hole::Confirm(pointer) | Hole::Answer(pointer) => Raw::at(answer, pointer),
            Hole::CancelKey
            | Hole::Request(_)
            | Hole::RequestHeader(_)
            | Hole::Sent(_)
            | Hole::From
            | Hole::To
            | Hole::Next => None,
        }
    }
}

#[test]
fn holes_are_parsed_and_shown_as_written() {
    let written = "GET /v1/{key}/x?a={request:/a~1b/0}&b={request-header:x-order}&c=1";
    let template = RequestTemplate::parse(written, Purpose::Confirm).unwrap();
    assert_eq!(template.to_string(), written);
    assert_eq!(template.holes().count(), 3);
    let dated = "GET /v1/{key}/{sent:%Y-%m-%d %H:%M@Asia/Seoul}";
    assert_eq!(RequestTemplate::parse(dated, Purpose::Confirm).unwrap().to_string(), dated);
    let braces = Template::parse("{{a}}{key}", Purpose::Confirm).unwrap();
    assert_eq!((braces.to_string().as_str(), braces.holes().count()), ("{{a}}{key}", 1));
}

#[test]
fn wrong_templates_are_refused_with_what_is_valid() {
    for bad in [
        "POST /{",
        "POST /}",
        "POST /{key",
        "POST /{k{ey}}",
        "POST /{key:/x}",
        "POST /{confirm}",
        "POST /{confirm:id}",
        "POST /{request:/a~2}",
        "POST /{request-header:a b}",
        "POST /{request-header:Authorization}",
        "POST /{}",
        "POST /{from}",
        "POST /a b",
        "POST v1",
        "POST",
        "TRACE /v1",
        "GTE /x",
        "GET /a#b",
        "POST /{Key}",
        "POST /{sent}",
        "POST /{sent:%Y}",
        "POST /{sent:%E@UTC}",
    ] {
        assert!(RequestTemplate::parse(bad, Purpose::Cancel).is_err(), "{bad}");
    }
    let said = |written, purpose| RequestTemplate::parse(written, purpose).unwrap_err().to_string();
    assert!(said("GET /{answer:/id}", Purpose::Confirm).contains("valid here: `{key}`"));
    assert!(said("GET /{kye}", Purpose::Confirm).contains("`{kye}` is not a placeholder"));
    assert!(said("DELETE /x", Purpose::Confirm).contains("`GET`, `HEAD`, `POST`"));
    assert!(RequestTemplate::parse("GET /{cancel_key}", Purpose::Confirm).is_err());
    assert!(said("GET /{kye}", Purpose::Confirm).contains("did you mean `{key}`?"));
    assert!(said("POST /{confrim:/id}", Purpose::Cancel).contains("did you mean `{confirm:/ptr}`?"));
    assert!(said("GET /{zebra}", Purpose::List).contains("valid here: `{from}`, `{to}`, `{next}`"));
    assert!(said("GET /{zebra}", Purpose::Health).contains("a health request has no placeholders"));
    assert!(!said("GET /{sk_4eC39HqLyjWDarjtT1zdp7}", Purpose::Confirm).contains("4eC39"));
}

#[test]
fn targets_are_percent_encoded() {
    let template = RequestTemplate::parse("GET /{confirm:/id}?key={key}", Purpose::Cancel).unwrap();
    let filled = template.fill(&Values).unwrap();
    assert_eq!(filled.target, "/ch%201%2F2?key=order%207%22%C3%A4");
    assert_eq!(filled.body, None);
}

#[test]
fn bodies_keep_the_type_and_the_digits_of_what_fills_them() {
    let body = json!({
        "charge": "{confirm:/id}",
        "serial": "{answer:/serial}",
        "note": "for {key}: {confirm:/part/n}",
        "part": "{confirm:/part}",
        "list": [1, true, null, "{key}"],
    });
    let mut template = RequestTemplate::parse("POST /v1/refunds", Purpose::Cancel).unwrap();
    template.set_body(Body::Json(JsonTemplate::parse(&body, Purpose::Cancel).unwrap())).unwrap();
    let filled = String::from_utf8(template.fill(&Values).unwrap().body.unwrap()).unwrap();
    assert!(filled.contains(r#""serial":12345678901234567890123"#), "{filled}");
    assert!(filled.contains(r#""note":"for order 7\"ä: 1.10""#), "{filled}");
    assert!(filled.contains(r#""part":{"n":1.10}"#), "{filled}");
    let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
    assert_eq!(read["charge"], "ch 1/2");
    assert_eq!(read["list"], json!([1, true, null, "order 7\"ä"]));
}

#[test]
fn what_is_not_there_is_said() {
    let fill = |written| {
        let template = RequestTemplate::parse(written, Purpose::Cancel).unwrap();
        template.fill(&Values).unwrap_err().to_string()
    };
    assert_eq!(fill("POST /{confirm:/none}"), "there is nothing to fill `{confirm:/none}` with");
    assert_eq!(fill("POST /{confirm:/id/x}"), "there is nothing to fill `{confirm:/id/x}` with");
    assert_eq!(fill("POST /{confirm:/part}"), "there is nothing to fill `{confirm:/part}` with");
    assert_eq!(fill("POST /{request:/a}"), "there is nothing to fill `{request:/a}` with");
}

/// Fills each hole with the text in this value. Only `{sent:…}` is filled with a fixed moment.
struct Only(&'static str);

impl Fill for Only {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        match hole {
            Hole::Sent(format) => {
                format.show(Stamp::from_micros(1_795_678_200_000_000)).as_deref().map(Raw::string)
            }
            Hole::Key
            | Hole::CancelKey
            | Hole::Request(_)
            | Hole::RequestHeader(_)
            | Hole::Confirm(_)
            | Hole::Answer(_)
            | Hole::From
            | Hole::To
            | Hole::Next => Some(Raw::string(self.0)),
        }
    }
}

fn with_body(body: Body) -> RequestTemplate {
    let mut template = RequestTemplate::parse("POST /v1/refunds", Purpose::Cancel).unwrap();
    template.set_body(body).unwrap();
    template
}

fn form(fields: &[(&str, &str)]) -> RequestTemplate {
    with_body(Body::Form(FormTemplate::parse(fields.iter().copied(), Purpose::Cancel).unwrap()))
}

fn with_header(value: &str) -> RequestTemplate {
    let mut template = RequestTemplate::parse("POST /v1/refunds", Purpose::Cancel).unwrap();
    let name = stored_header("x-merchant").unwrap();
    template.add_header(HeaderTemplate::parse(name, value, Purpose::Cancel).unwrap()).unwrap();
    template
}

/// Texts that fill a hole. Each row has the text itself, its escaped form in a target and in a form, and its escaped
/// form in a JSON body.
const ESCAPED: &[(&str, &str, &str)] = &[
    ("plain-._~7", "plain-._~7", "\"plain-._~7\""),
    ("a b", "a%20b", "\"a b\""),
    ("a+b", "a%2Bb", "\"a+b\""),
    ("\"'\\", "%22%27%5C", "\"\\\"'\\\\\""),
    ("\r\nx-evil: 1", "%0D%0Ax-evil%3A%201", "\"\\r\\nx-evil: 1\""),
    ("&amount=1", "%26amount%3D1", "\"&amount=1\""),
    ("100%25", "100%2525", "\"100%25\""),
    ("a\0b", "a%00b", "\"a\\u0000b\""),
    ("주문", "%EC%A3%BC%EB%AC%B8", "\"주문\""),
    ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d", "\"a/../b?c#d\""),
    ("{key}", "%7Bkey%7D", "\"{key}\""),
];

#[test]
fn each_place_escapes_in_its_own_way() {
    let target = RequestTemplate::parse("GET /v1/{key}?k={key}", Purpose::Confirm).unwrap();
    let in_form = form(&[("orderId", "{key}"), ("memo", "for {key}"), ("a b&", "=")]);
    let in_json =
        with_body(Body::Json(JsonTemplate::parse(&json!({ "k": "{key}" }), Purpose::Cancel).unwrap()));
    let body = |template: &RequestTemplate, text| {
        String::from_utf8(template.fill(&Only(text)).unwrap().body.unwrap()).unwrap()
    };
    for &(text, encoded, quoted) in ESCAPED {
        assert_eq!(
            target.fill(&Only(text)).unwrap().target,
            format!("/v1/{encoded}?k={encoded}"),
            "{text:?}"
        );
        assert_eq!(
            body(&in_form, text),
            format!("orderId={encoded}&memo=for%20{encoded}&a%20b%26=%3D"),
            "{text:?}"
        );
        assert_eq!(body(&in_json, text), format!("{{\"k\":{quoted}}}"), "{text:?}");
    }
}

#[test]
fn headers_are_sent_as_they_are_or_not_at_all() {
    let template = with_header("m-{request-header:x-merchant}");
    for fine in ["7", "a b", "\"'\\", "a&b=c%25;d", "{key}", ""] {
        let filled = template.fill(&Only(fine)).unwrap();
        assert_eq!(filled.headers["x-merchant"], format!("m-{fine}"));
        assert_eq!(filled.headers.len(), 1, "there is no body, so there is no content-type");
    }
    for bad in ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "주문", "é", "\u{7f}", "a "] {
        let why = template.fill(&Only(bad)).unwrap_err();
        assert_eq!(
            why.to_string(),
            "the header `x-merchant` would be filled with what no header carries",
            "{bad:?}"
        );
    }
    assert!(with_header("{key}").fill(&Only(" a")).is_err());
    assert!(with_header("{key}").fill(&Only("\ta")).is_err());
}

#[test]
fn a_header_that_could_never_be_sent_is_refused_when_it_is_declared() {
    let parse = |value| HeaderTemplate::parse(stored_header("x-a").unwrap(), value, Purpose::Cancel);
    for bad in ["a\nb", "주문 {key}", " {key}", "{key}\t", "{key", "{from}"] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
    for name in ["Authorization", "cookie", "host", "content-length", "seawall-x", "a b", ""] {
        assert!(stored_header(name).is_err(), "{name}");
    }
    let mut template = with_header("{key}");
    let again = HeaderTemplate::parse(stored_header("X-Merchant").unwrap(), "7", Purpose::Cancel).unwrap();
    assert_eq!(template.add_header(again).unwrap_err().message, "the header `x-merchant` is given twice");
}

#[test]
fn values_that_lead_to_another_path_are_not_filled_in() {
    let fill = |written, text| {
        RequestTemplate::parse(written, Purpose::Confirm)
            .unwrap()
            .fill(&Only(text))
            .map(|filled| filled.target)
    };
    for bad in ["", ".", ".."] {
        for written in ["GET /v1/{key}", "GET /v1/{key}/x?a=b", "GET /{key}?a"] {
            assert_eq!(fill(written, bad), Err(Unfilled::Path), "{written} {bad}");
        }
        assert_eq!(fill("GET /v1/a-{key}/", bad).unwrap(), format!("/v1/a-{bad}/"));
        assert_eq!(fill("GET /v1//x?k={key}", bad).unwrap(), format!("/v1//x?k={bad}"));
    }
    assert_eq!(fill("GET /v1/{key}{key}", "."), Err(Unfilled::Path), "two dots of two holes");
    assert_eq!(fill("GET /v1/{key}", "...").unwrap(), "/v1/...");
    let list = RequestTemplate::parse("GET /v1/pages/{next}", Purpose::List).unwrap();
    assert_eq!(list.fill(&Only("")).unwrap().target, "/v1/pages/", "the first page has no cursor");
    assert_eq!(list.fill(&Only("..")), Err(Unfilled::Path));
}

#[test]
fn the_first_send_is_shown_in_every_place() {
    let mut template =
        RequestTemplate::parse("POST /v1/{sent:%Y%m%d@Asia/Seoul}?at={sent:%H:%M@UTC}", Purpose::Cancel)
            .unwrap();
    let name = stored_header("x-day").unwrap();
    template.add_header(HeaderTemplate::parse(name, "{sent:%F %T@UTC}", Purpose::Cancel).unwrap()).unwrap();
    let fields = [("day", "{sent:%Y%m%d@Asia/Seoul}"), ("at", "{sent:%F %T@UTC}")];
    template.set_body(Body::Form(FormTemplate::parse(fields, Purpose::Cancel).unwrap())).unwrap();
    let filled = template.fill(&Only("")).unwrap();
    assert_eq!(filled.target, "/v1/20261126?at=07%3A30");
    assert_eq!(filled.headers["x-day"], "2026-11-26 07:30:00");
    assert_eq!(filled.body.unwrap(), b"day=20261126&at=2026-11-26%2007%3A30%3A00");
    let unsent = template.fill(&Values).unwrap_err();
    assert_eq!(unsent.to_string(), "there is nothing to fill `{sent:%Y%m%d@Asia/Seoul}` with");
    for purpose in [Purpose::Perform, Purpose::List, Purpose::Health] {
        let method = purpose.methods()[0];
        assert!(
            RequestTemplate::parse(&format!("{method} /{{sent:%Y@UTC}}"), purpose).is_err(),
            "{purpose:?}"
        );
    }
}

#[test]
fn a_body_has_its_content_type_unless_another_one_is_declared() {
    let content_type = |headers: &HeaderMap| headers["content-type"].to_str().unwrap().to_owned();
    let mut form = form(&[("b", "1"), ("a", "{key}"), ("c", "")]);
    let filled = form.fill(&Only("2")).unwrap();
    assert_eq!(content_type(&filled.headers), "application/x-www-form-urlencoded");
    assert_eq!(filled.body.unwrap(), b"b=1&a=2&c=", "in the order in which the fields were declared");
    let json = Body::Json(JsonTemplate::parse(&json!({}), Purpose::Cancel).unwrap());
    assert_eq!(content_type(&with_body(json.clone()).fill(&Values).unwrap().headers), "application/json");
    let name = stored_header("Content-Type").unwrap();
    let other = HeaderTemplate::parse(name, "text/x-form", Purpose::Cancel).unwrap();
    form.add_header(other).unwrap();
    assert_eq!(content_type(&form.fill(&Only("2")).unwrap().headers), "text/x-form");
    let both = form.set_body(json).unwrap_err().to_string();
    assert!(both.contains("`json` and `form` are both given"), "{both}");
    assert!(FormTemplate::parse([("", "1")], Purpose::Cancel).is_err());
    assert!(FormTemplate::parse([("a", "{kye}")], Purpose::Cancel).is_err());
}

#[test]
fn lists_and_objects_have_no_place_in_a_form_or_a_header() {
    assert!(form(&[("part", "{confirm:/part}")]).fill(&Values).is_err());
    assert!(with_header("{confirm:/part}").fill(&Values).is_err());
    let digits = form(&[("serial", "{confirm:/serial}"), ("n", "{confirm:/part/n}")]).fill(&Values).unwrap();
    assert_eq!(digits.body.unwrap(), b"serial=12345678901234567890123&n=1.10", "every digit is kept");
}
