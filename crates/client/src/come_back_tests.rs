use super::*;

fn at(text: &str) -> SystemTime {
    httpdate::parse_http_date(text).unwrap()
}

/// Half a second before the year 2000.
fn now() -> SystemTime {
    at("Fri, 31 Dec 1999 23:59:59 GMT") + Duration::from_millis(500)
}

fn told(fields: &[(&'static str, &str)]) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    come_back(&headers, now())
}

fn millis(fields: &[(&'static str, &str)]) -> Option<u128> {
    told(fields).map(|wait| wait.as_millis())
}

#[test]
fn every_form_of_a_time_is_read() {
    let table = [
        ("120", Some(120_000)),
        ("0", Some(0)),
        ("1.5", Some(1_500)),
        (" 7 ", Some(7_000)),
        ("Sat, 01 Jan 2000 00:00:09 GMT", Some(9_500)),
        ("Fri, 31 Dec 1999 00:00:00 GMT", Some(0)),
        ("2000-01-01T00:00:02Z", Some(2_500)),
        ("2000-01-01T09:00:02.250+09:00", Some(2_750)),
        // Unix times, in seconds and in milliseconds.
        ("1000000000", Some(53_315_200_500)),
        ("1000000000000", Some(53_315_200_500)),
        ("12ms", Some(12)),
        ("1s", Some(1_000)),
        ("6m0s", Some(360_000)),
        ("1h2m3.5s", Some(3_723_500)),
        ("99999999999999999999999", Some(u128::from(u32::MAX) * 1_000 - 946_684_799_500)),
    ];
    for (text, wait) in table {
        assert_eq!(millis(&[("retry-after", text)]), wait, "{text:?}");
    }
}

#[test]
fn nonsense_is_no_time() {
    for text in ["", "-1", "soon", "1e3", ".5", "5.", "5 s", "5x", "s", "1s1m", "1s1s", "NaN", "inf", "+5"] {
        assert_eq!(told(&[("retry-after", text)]), None, "{text:?}");
        assert_eq!(told(&[("retry-after-ms", text)]), None, "{text:?}");
    }
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[("retry-after", "6m0s"), ("retry-after-ms", "")]), Some(Duration::from_secs(360)));
}

#[test]
fn the_most_exact_field_wins() {
    let all = [("retry-after", "2"), ("retry-after-ms", "1250"), ("x-ratelimit-reset-requests", "9s")];
    assert_eq!(millis(&all), Some(1_250));
    assert_eq!(millis(&[all[0], all[2]]), Some(2_000));
    assert_eq!(millis(&[all[2]]), Some(9_000));
}

#[test]
fn a_reset_counts_where_its_limit_is_used_up_and_the_longest_is_told() {
    let requests = ("x-ratelimit-reset-requests", "12ms");
    let tokens = ("x-ratelimit-reset-tokens", "6m0s");
    assert_eq!(millis(&[requests, tokens]), Some(360_000), "nobody says which");
    let left = ("x-ratelimit-remaining-tokens", "149000");
    assert_eq!(millis(&[requests, tokens, left]), Some(12));
    let none = ("x-ratelimit-remaining-requests", "0");
    assert_eq!(millis(&[requests, tokens, left, none]), Some(12));
    assert_eq!(millis(&[tokens, left]), None);
}

#[test]
fn other_names_of_resets_are_known() {
    for (reset, remaining) in [
        ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
        ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
        ("x-ratelimit-reset", "x-ratelimit-remaining"),
        ("x-rate-limit-reset", "x-rate-limit-remaining"),
        ("ratelimit-reset", "ratelimit-remaining"),
    ] {
        let time = (reset, "2000-01-01T00:00:02Z");
        assert_eq!(millis(&[time]), Some(2_500), "{reset}");
        assert_eq!(millis(&[time, (remaining, "0")]), Some(2_500), "{reset}");
        assert_eq!(millis(&[time, (remaining, "3")]), None, "{reset}");
    }
    assert_eq!(told(&[("anthropic-ratelimit-requests-limit", "50")]), None);
}
