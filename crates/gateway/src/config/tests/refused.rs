use super::{CONTRACT, MISTAKES, accept, dependency, operation, read, refuse};

#[test]
fn ten_mistakes_give_ten_reports_at_their_lines() {
    let found = refuse(MISTAKES);
    let expected = [
        (2, "a data listener off loopback needs `clients`"),
        (3, "`lissten` is not known in [gateway]"),
        (6, "`read`: this is not a length of time"),
        (7, "`attempts`: this number must lie between 1 and 10"),
        (10, "`url`: `ftp` is not a scheme that is spoken here"),
        (11, "the environment variable `MISSING` is not set"),
        (15, "`match`: `PSOT` is not a method that is passed on"),
        (16, "read 90s is not below total 90s"),
        (19, "the operation `charge` stands twice in this dependency"),
        (21, "`refuses`: an HTTP status lies between 100 and 599"),
        (22, "`not_applied`: the JSON pointer `code` does not begin with `/`"),
        (23, "`idempotency`: `kyed` is not known here"),
        (25, "the name of a dependency is 1 to 64 lowercase letters, digits, - and _"),
    ];
    let found: Vec<(usize, &str)> = found.iter().map(|(line, message)| (*line, message.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_report_shows_file_line_column_the_line_and_the_nearest_name() {
    let report = read(MISTAKES).unwrap_err();
    let shown = report.render(false);
    assert!(shown.contains("seawall.toml:3:1"), "{shown}");
    assert!(shown.contains("lissten = \"***.*.*.***\""), "{shown}");
    assert!(shown.contains("did you mean `listen`?"), "{shown}");
    assert!(shown.contains("did you mean `keyed`?"), "{shown}");
    assert!(shown.contains("did you mean `POST`?"), "{shown}");
    assert!(shown.ends_with("13 mistakes\n"), "{shown}");
    assert!(shown.contains("\"****** *** ${env:MISSING}\""), "what headers carry is starred out: {shown}");
}

#[test]
fn columns_are_right_after_characters_of_several_bytes() {
    let text = dependency("headers = { x-a = \"日本語ö\", \"X-ß\" = \"1\" }");
    let report = read(&text).unwrap_err();
    let places: Vec<String> = report.mistakes().iter().map(|it| it.place.unwrap().to_string()).collect();
    // The value of a header may have characters outside ASCII, but the name of a header may not.
    assert_eq!(places, ["3:27"], "{report}");
    let report = read("# 日本\n\"ключ\" = 1\n[gateway]\n  workers = 0 # ö\n").unwrap_err();
    let places: Vec<String> = report.mistakes().iter().map(|it| it.place.unwrap().to_string()).collect();
    assert_eq!(places, ["2:1", "4:13"], "{report}");
}

#[test]
fn what_is_not_toml_is_reported_beside_the_rest() {
    let text = "[gateway]\nworkers = \nlissten = 1\n[dependency.a]\nurl = \"https://a.example\n[defaults]\nhtpp = 1\n";
    let found = refuse(text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 5, 7], "{found:?}");
    let twice = refuse("[gateway]\nworkers = 1\nworkers = 2\n");
    assert_eq!((twice.len(), twice[0].0), (1, 3), "{twice:?}");
}

#[test]
fn a_bracket_or_quote_that_is_not_closed_is_one_report_and_hides_no_other() {
    let text = "[gateway]\nlimits = { headers = 5\nworkers = 0\nhosts = [\"a\nlissten = 1\n[dependency.a\nurl = \"ftp://a\"\n";
    let found = refuse(text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7], "{found:?}");
    assert_eq!(found[0].1, "this `{` is not closed");
    let report =
        read("[dependency.a]\nurl = \"https://a.example\"\nheaders = { authorization = \"Bearer S3CRET\"\n")
            .unwrap_err();
    assert!(!report.to_string().contains("S3CRET"), "{report}");
    assert_eq!(report.mistakes()[0].place.unwrap().to_string(), "3:11");
}

#[test]
fn one_mistake_is_one_report() {
    let cases = [
        // A misspelt or malformed value does not lead to reports on the values beside it.
        dependency("timeout = { read = \"60s\", totl = \"90s\" }"),
        dependency("timeout = { read = \"60s\", total = \"90x\" }"),
        dependency("").replace("url", "ulr"),
        operation("").replace("name =", "nmae ="),
        operation(
            "durable = true\non_unknown = \"confirm\"\nconfrim = { request = \"GET /\", applied = { status = 200 } }",
        ),
        operation("durable = true\nsettle = \"explicit\"\ncancle = { request = \"POST /\" }"),
        // A mistake in `[defaults]` is reported only once, although the dependency and the operation inherit it.
        operation("")
            .replace("[dependency.pay]\n", "[defaults]\ntimeout = { read = \"40s\" }\n[dependency.pay]\n"),
    ];
    for text in cases {
        assert_eq!(refuse(&text).len(), 1, "{text}\n{:?}", refuse(&text));
    }
}

/// Each case is a text with one mistake, the number of the line at which the mistake is reported, and words of the
/// message.
#[test]
fn every_rule_is_checked() {
    let reconcile = |list: &str, more: &str| {
        dependency(&format!(
            "[dependency.pay.reconcile]\nlist = \"{list}\"\nitems = \"/d\"\nkey = \"/k\"\nstate = {{ pointer = \"/s\", applied = [\"a\"] }}\n{more}"
        ))
    };
    let cases: Vec<(String, usize, &str)> = vec![
        (dependency("timeout = { read = \"30s\" }"), 3, "read 30s is not below total 30s"),
        (dependency("timeout = { total = \"5s\" }"), 3, "read 10s is not below total 5s; `read` has its default"),
        (dependency("timeout = { connect = \"5s\", read = \"1s\", total = \"4s\" }"), 3, "connect 5s is longer"),
        (dependency("timeout = { connect = \"0s\" }"), 3, "must be above 0"),
        (dependency("timeout = { connect = \"off\" }"), 3, "not a length of time"),
        (dependency("timeout = { connect = 3 }"), 3, "not a length of time"),
        (dependency("timeout = \"3s\""), 3, "expected a table"),
        (dependency("retry = { attempts = 0 }"), 3, "between 1 and 10"),
        (dependency("retry = { base = \"3s\" }"), 3, "base 3s is longer than cap 2s"),
        (dependency("retry = { buffer = \"64kb\" }"), 3, "size has no known unit"),
        (dependency("retry = { enabled = \"no\" }"), 3, "expected true or false"),
        (dependency("budget = { per_success = 1.5 }"), 3, "between 0 and 1"),
        (dependency("budget = { initial = 11 }"), 3, "more than `burst`"),
        (dependency("breaker = { failure_rate = 0 }"), 3, "above 0"),
        (dependency("breaker = { window = \"5s\", window_calls = 50 }"), 3, "both given"),
        (dependency("breaker = { window_calls = 10 }"), 3, "min_calls 20 is more"),
        (dependency("breaker = { open_max = \"1s\" }"), 3, "shorter than `open_for`"),
        (dependency("breaker = { key = \"tenant\" }"), 3, "not something to keep a guard for"),
        (dependency("concurrency = { key = \"path:{tenant}\" }"), 3, "no operation's path has a part `{tenant}`"),
        (dependency("breaker = { key = \"header:Authorization\" }"), 3, "`authorization` carries secrets"),
        (dependency("concurrency = { max = 0 }"), 3, "between 1 and"),
        (dependency("concurrency = { queue = 5 }"), 3, "`queue` has no effect: `queue_wait` is 0s"),
        (dependency("breaker = { window_calls = 100001 }"), 3, "between 1 and 100000"),
        (dependency("concurrency = { fleet = { max = 1 } }"), 3, "`fleet` is not known in `concurrency`"),
        (dependency("http = \"3\""), 3, "not a version of HTTP"),
        (dependency("proxy = \"https://p.example\""), 3, "not a scheme"),
        (dependency("bind = \"10.0.0.1:80\""), 3, "not an IP address"),
        (dependency("deadline_header = \"a b\""), 3, "not a header name"),
        (dependency("headers = { host = \"x\" }"), 3, "set by Seawall"),
        (dependency("headers = { x-a = \"1\", X-A = \"2\" }"), 3, "given twice"),
        (dependency("headers = { x-a = \"${file:/nonexistent/x}\" }"), 3, "cannot be read"),
        (dependency("headers = { x-a = \"a\\nb\" }"), 3, "character that no header carries"),
        (dependency("health = \"POST /health\""), 3, "not sent with `POST`"),
        (dependency("health = \"GET /{key}\""), 3, "a health request cannot be filled"),
        (dependency("tls = { client_cert = \"/etc/passwd\" }"), 3, "needs `client_key`"),
        (dependency("tls = { ca_file = \"none.pem\" }"), 3, "cannot be read"),
        (dependency("dangerous = { retry_all = true }"), 3, "`retry_all` is not known"),
        (dependency("listen = \"127.0.0.1:8400\""), 3, "taken by `listen` of [gateway]"),
        (dependency("listen = \"localhost:80\""), 3, "not an address"),
        (dependency("listen = \"0.0.0.0:9000\""), 3, "off loopback needs `clients`"),
        (format!("{}[dependency.b]\nurl = \"http://b.example\"\nlisten = \"127.0.0.1:9000\"\n", dependency("listen = \"127.0.0.1:9000\"")), 6, "taken by `listen` of [dependency.pay]"),
        ("[gateway]\nlisten = \"127.0.0.1:8401\"\n".into(), 2, "taken by `admin`"),
        ("[gateway]\nadmin = \"10.0.0.1:8401\"\n".into(), 2, "needs `admin_token_file`"),
        ("[gateway]\nclients = {}\n".into(), 2, "lets nobody in"),
        (
            "[gateway]\nlisten = \"0.0.0.0:8400\"\nclients = { ca_file = \"/etc/passwd\" }\n".into(),
            2,
            "needs `clients.tokens_file`",
        ),
        ("[gateway]\nhosts = [\"http://a\"]\n".into(), 2, "not a host name"),
        ("[gateway]\nlimits = { body = \"1x\" }\n".into(), 2, "size has no known unit"),
        ("[ledger]\nurl = \"mysql://a\"\n".into(), 2, "no known scheme"),
        ("[ledger]\nurl = \"${env:PAY_KEY}\"\n".into(), 2, "no known scheme"),
        ("[ledger]\nurl = \"postgres://me:pw@a,,b/db\"\n".into(), 2, "server 2 of 3 has no name"),
        ("[ledger]\nurl = \"postgres://me:pw@a:1,b:x/db\"\n".into(), 2, "the port of server 2 of 2 is not a number"),
        ("[dependency.-a]\nurl = \"https://a.example\"\n".into(), 1, "does not begin with -"),
        ("[dependency.a]\n".into(), 1, "neither `url` nor `endpoint`"),
        ("dependency = 1\n".into(), 1, "expected a table"),
        ("[dependency.a]\nurl = \"https://u:p@a.example\"\n".into(), 2, "no user and password"),
        ("[dependency.a]\nurl = \"https://a.example\"\n[[dependency.a.endpoint]]\nurl = \"https://b.example\"\n".into(), 2, "both given"),
        ("[dependency.a]\nendpoint = []\n".into(), 2, "`endpoint` is empty"),
        ("[[dependency.a.endpoint]]\nurl = \"https://b.example\"\n[[dependency.a.endpoint]]\nurl = \"https://b.example\"\n".into(), 4, "two endpoints"),
        ("[[dependency.a.endpoint]]\nheaders = { x = \"1\" }\n".into(), 1, "`url` is missing"),
        (operation("match2 = 1"), 7, "`match2` is not known"),
        (operation("[[dependency.pay.operation]]\nname = \"b\"\nmatch = \"POST /{x}\"\n[[dependency.pay.operation]]\nname = \"c\"\nmatch = \"POST /{y}\""), 12, "match the same requests"),
        (operation("refuses = [600]"), 7, "between 100 and 599"),
        (operation("answers.applid = []"), 7, "`applid` is not known"),
        (operation("answers.otherwise = \"not_applied\""), 7, "a 2xx that fits no declared answer cannot mean `not_applied`"),
        (operation("answers.otherwise = true"), 7, "expected a string"),
        (operation("answers.othewise = \"unknown\""), 7, "`othewise` is not known"),
        (dependency("answer = { header_bytes = \"1000B\" }"), 3, "`header_bytes`: this size must lie between 1KiB and 1MiB"),
        (dependency("answer = { header_bytes = 1048577 }"), 3, "`header_bytes`: this size must lie between 1KiB and 1MiB"),
        (dependency("answer = { headers = 0 }"), 3, "`headers`: this number must lie between 1 and 1000"),
        (dependency("answer = { headers = 1001 }"), 3, "`headers`: this number must lie between 1 and 1000"),
        (operation("answer = { headers = 5 }"), 7, "`answer` is not known"),
        (operation("answers.applied = [{}]"), 7, "match every answer"),
        (operation("slow_call = \"0s\""), 7, "above 0"),
        (operation("breaker = { enabled = false }"), 7, "`breaker` is not known"),
        (operation("confirm = { request = \"GET /c\" }"), 7, "`applied` is missing"),
        (operation("cancel = { request = \"POST /r\", json = { a = 2020-01-01 } }"), 7, "JSON has no dates"),
        (operation("cancel = { request = \"POST /r\", form = { a = 1.10 } }"), 7, "a form keeps no float"),
        (operation("cancel = { request = \"POST /r\", form = { a = [\"b\"] } }"), 7, "expected a string, a whole number"),
        (operation("cancel = { request = \"POST /r\", form = \"a={key}\" }"), 7, "expected a table of fields"),
        (operation("cancel = { request = \"POST /r\", headers = { x-a = 1 } }"), 7, "expected a string"),
        (operation("cancel = { request = \"POST /r\", headers = [] }"), 7, "expected a table of headers"),
        (operation("cancel = { request = \"POST /r\", header = { x-a = \"1\" } }"), 7, "`header` is not known in `cancel`"),
        (reconcile("GET /l?from={from}&to={to}", "headers = { x-a = \"{key}\" }"), 8, "a list cannot be filled"),
        (reconcile("GET /l?from={from}&to={to}", "headers = { cookie = \"a\" }"), 8, "carries credentials"),
        (reconcile("GET /l?from={from}&to={to}&c={next}", ""), 4, "`next` is missing"),
        (reconcile("GET /l?from={from}&to={to}", "next = \"/n\""), 8, "every page would be the first"),
        (reconcile("GET /l?from={from}&to={to}", "zone = \"Seoul\""), 8, "not the name of a time zone"),
        (reconcile("GET /l?k={key}", ""), 4, "a list cannot be filled"),
        (reconcile("GET /l?from={from}", ""), 4, "every window would be the whole list"),
        (reconcile("GET /l?from={from}&to={to}", "").replace("[\"a\"]", "[]"), 7, "no state would mean"),
        (reconcile("GET /l?from={from}&to={to}", "amount = \"a\""), 8, "does not begin with `/`"),
    ];
    for (text, line, words) in cases {
        let found = refuse(&text);
        assert_eq!(found.len(), 1, "{text}\n{found:?}");
        assert!(
            found[0].0 == line && found[0].1.contains(words),
            "{text}\nexpected {line}: {words}\n{found:?}"
        );
    }
}

#[test]
fn what_can_be_filled_in_every_case_is_accepted() {
    let confirm = "confirm = { request = \"GET /c?k={key}\", applied = { status = 200 }, id = \"/id\" }";
    let cancel = |hole: &str| format!("cancel = {{ request = \"POST /r/{hole}\" }}");
    let none = |lines: &str| operation(lines).replace("\"keyed\"", "\"none\"");
    accept(&none(&format!("{confirm}\n{}", cancel("{answer:/id}"))));
    accept(&none(&format!("{confirm}\n{}", cancel("{confirm:/x}"))));
    accept(&operation(&cancel("{answer:/id}")));
    accept(&none(&cancel("{key}/{request:/id}/{request-header:x-order}/{cancel_key}")));
    accept(&operation("cancel = { request = \"POST /r/{key}\", tombstone = true }"));
    accept(&none(
        "cancel = { request = \"POST /r\", tombstone = true, headers = { x-day = \"{sent:%F@UTC}\" }, \
         form = { day = \"{sent:%Y%m%d@Asia/Seoul}\", id = \"{request:/id}\" } }",
    ));
}

#[test]
fn a_listener_off_loopback_is_accepted_with_somebody_who_checks() {
    let with = |gateway: &str| accept(&format!("{gateway}{}", dependency("")));
    with(
        "[gateway]\nlisten = \"0.0.0.0:8400\"\nadmin = \"0.0.0.0:8401\"\nclients = { tokens_file = \"/etc/passwd\" }\nadmin_token_file = \"/etc/passwd\"\n",
    );
    with("[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
}

#[test]
fn file_without_a_dependency_is_refused() {
    for text in
        ["", "\n", "# [dependency.a]\n", "[gateway]\nworkers = 2\n", "[dependency]\n", "dependency = {}\n"]
    {
        let found = refuse(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].1.contains("no dependency is declared"), "{text}: {found:?}");
    }
    assert_eq!(refuse("[gateway]\nlissten = 1\n").len(), 1, "where something else is wrong, that is said");
}

#[test]
fn removing_any_one_closing_mark_is_refused_somewhere() {
    for (at, _) in CONTRACT.match_indices(['"', ']', '}']) {
        if CONTRACT[..at].rsplit('\n').next().is_some_and(|line| line.contains('#')) {
            continue;
        }
        let mut text = CONTRACT.to_owned();
        text.remove(at);
        assert!(read(&text).is_err(), "without byte {at}");
    }
}
