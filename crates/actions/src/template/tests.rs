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
    template.set_body(JsonTemplate::parse(&body, Purpose::Cancel).unwrap());
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
