//! Reads what answers say: the field `Keep-Alive`, and JSON bodies.

use std::time::Duration;

use http::HeaderValue;
use seawall_policy::{KnownBody, Scalar};
use serde_json::Value;

/// UTF-8's byte order mark. Some servers begin a JSON text with it, and RFC 8259, section 8.1, lets a reader skip it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the idle lifetime that a server announces, such as 5 s for `Keep-Alive: timeout=5`; `None` if the field
/// names none.
pub fn keep_alive(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    text.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| Duration::from_secs(seconds))
    })
}

/// Returns the body without the byte order mark that it may begin with.
#[must_use]
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Returns what is known of a body that was read whole. The body counts as JSON only if it is one complete JSON text in
/// UTF-8. An HTML page, another charset, an incomplete text and an empty body are not JSON.
#[must_use]
pub fn known(body: &[u8]) -> KnownBody<impl Fn(&str) -> Option<Scalar> + use<>> {
    match serde_json::from_slice::<Value>(without_mark(body)) {
        Ok(json) => KnownBody::Json(move |pointer: &str| scalar(&json, pointer)),
        Err(_) => KnownBody::NotJson,
    }
}

/// Returns the scalar at a JSON pointer; `None` if the pointer leads nowhere, or to an object or array.
pub fn scalar(value: &Value, pointer: &str) -> Option<Scalar> {
    Some(match value.pointer(pointer)? {
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::String(s) => Scalar::Text(s.clone()),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Scalar::Integer(i),
            (None, Some(f)) => Scalar::Float(f),
            (None, None) => return None,
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_names_a_timeout() {
        for (text, seconds) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout=65", Some(65)),
            ("timeout=\"7\"", Some(7)),
            ("max=3", None),
            ("timeout=x", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(keep_alive(&value), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn only_a_whole_json_text_in_utf_8_can_be_asked_for_fields() {
        let code = r#"{"code":"OK"}"#;
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let marked = format!("\u{feff}{code}");
        for read in [code.as_bytes(), marked.as_bytes(), b" {\"code\": \"OK\"}\r\n"] {
            let KnownBody::Json(look_up) = known(read) else { panic!("{read:?}") };
            assert_eq!((look_up("/code"), look_up("/no")), (Some(Scalar::Text("OK".into())), None));
        }
        for unread in [
            b"".as_slice(),
            b"<html>502</html>",
            &code.as_bytes()[..9],
            b"{\"code\":\"OK\"}{}",
            b"{\"code\":\"\xe4\"}",
            &wide(code),
            &wide(&marked),
            &[marked.as_bytes(), code.as_bytes()].concat(),
            &["[".repeat(1000), "]".repeat(1000)].concat().into_bytes(),
        ] {
            assert!(matches!(known(unread), KnownBody::NotJson), "{}", String::from_utf8_lossy(unread));
        }
    }

    #[test]
    fn json_pointers_find_scalars_only() {
        let body = serde_json::json!({"code": "NO", "n": 7, "big": u64::MAX, "o": {"x": null, "y": [true]}});
        assert_eq!(scalar(&body, "/code"), Some(Scalar::Text("NO".into())));
        assert_eq!(scalar(&body, "/n"), Some(Scalar::Integer(7)));
        assert_eq!(scalar(&body, "/o/x"), Some(Scalar::Null));
        assert_eq!(scalar(&body, "/o/y/0"), Some(Scalar::Bool(true)));
        assert_eq!(scalar(&body, "/o"), None);
        assert_eq!(scalar(&body, "/none"), None);
        assert!(matches!(scalar(&body, "/big"), Some(Scalar::Float(_))));
    }
}
