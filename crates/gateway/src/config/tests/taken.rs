//! What is taken over from the request of a durable operation's caller: the key, some headers, and no credentials.

use super::super::*;
use super::{accept, dependency, operation, refuse};

fn durable(lines: &str) -> String {
    operation(&format!("durable = true\n{lines}"))
}

fn taken(text: &str) -> Taken {
    accept(text).settings.dependencies[0].operations[0].taken.clone()
}

fn headers(text: &str) -> String {
    taken(text).headers.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

fn notes(text: &str) -> String {
    accept(text).notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn key_is_that_of_the_header_unless_the_file_says_otherwise() {
    assert_eq!(taken(&durable("")).key.to_string(), "{request-header:idempotency-key}");
    for key in ["{request:/reference_id}", "{request-header:x-shop}-{request:/order}", "generate"] {
        assert_eq!(taken(&durable(&format!("key = \"{key}\""))).key.to_string(), key);
    }
}

#[test]
fn recorded_headers_are_the_listed_ones_and_those_that_something_is_filled_from() {
    assert_eq!(headers(&durable("")), "content-type content-encoding accept accept-language");
    assert_eq!(headers(&durable("keep_headers = []")), "content-type content-encoding");
    assert_eq!(
        headers(&durable("keep_headers = [\"X-Merchant\", \"accept\", \"content-type\"]")),
        "content-type content-encoding x-merchant accept"
    );
    let confirm = "confirm = { request = \"GET /c\", applied = { status = 200 }, headers = { x-m = \"{request-header:x-m}\" } }";
    let cancel = "cancel = { request = \"POST /r/{request-header:x-order}\", kind = \"state\" }";
    assert_eq!(
        headers(&durable(&format!("keep_headers = []\n{confirm}\n{cancel}"))),
        "content-type content-encoding x-m x-order"
    );
    let parts = "keep_headers = []\nkey = \"{request-header:x-shop}-{request:/order}\"";
    assert_eq!(headers(&durable(parts)), "content-type content-encoding x-shop", "a part of the key");
    let alone = "keep_headers = []\nkey = \"{request-header:x-order}\"";
    assert_eq!(headers(&durable(alone)), "content-type content-encoding", "it is sent as the key");
    let unkeyed = durable(alone).replace("\"keyed\"", "\"none\"");
    assert_eq!(headers(&unkeyed), "content-type content-encoding x-order", "no key is sent");
}

#[test]
fn credentials_are_those_of_the_first_endpoint() {
    let bare = |lines: &str, operation: &str| {
        format!(
            "[dependency.pay]\n{lines}\n[[dependency.pay.operation]]\nname = \"a\"\nmatch = \"POST /a\"\n\
             durable = true\nkeep_headers = []\n{operation}\n"
        )
    };
    let url = "url = \"https://pay.example\"";
    let two = |first: &str, second: &str| {
        format!(
            "endpoint = [{{ url = \"https://a.example\"{first} }}, {{ url = \"https://b.example\"{second} }}]"
        )
    };
    let header = ", headers = { authorization = \"x\" }";
    let certificate = "tls = { client_cert = \"/etc/passwd\", client_key = \"/etc/passwd\" }";
    for lines in [
        format!("{url}\nheaders = {{ x-key = \"x\" }}"),
        format!("{url}\n{certificate}"),
        two(header, ""),
        format!("headers = {{ x-key = \"x\" }}\n{}", two("", "")),
    ] {
        accept(&bare(&lines, ""));
    }
    for lines in [url.to_owned(), format!("{url}\ntls = {{}}"), two("", header), two(", headers = {}", "")] {
        let told = refuse(&bare(&lines, ""));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("needs credentials from this file"), "{told:?}");
        assert!(refuse(&bare(&lines, "credentials = \"configured\""))[0].1.contains("needs credentials"));
        accept(&bare(&lines, "credentials = \"none\""));
        accept(&bare(&lines, "").replace("durable = true", ""));
    }
}

/// Callers have names only if they have tokens. So by default each caller has keys of its own if there are tokens, and
/// otherwise all callers share them.
#[test]
fn callers_have_keys_of_their_own_where_they_have_names() {
    let file = |clients: &str, scope: &str| {
        let durable =
            durable("").replacen("https://pay.example\"", &format!("https://pay.example\"{scope}"), 1);
        format!("[gateway]\n{clients}\n{durable}")
    };
    let scope = |clients: &str, scope: &str| accept(&file(clients, scope)).settings.dependencies[0].key_scope;
    let (tokens, authorities) =
        ("clients = { tokens_file = \"/etc/passwd\" }", "clients = { ca_file = \"/etc/passwd\" }");
    let (client, shared) = ("\nkey_scope = \"client\"", "\nkey_scope = \"shared\"");
    assert_eq!(scope("", ""), KeyScope::Shared);
    assert_eq!(scope(authorities, ""), KeyScope::Shared);
    assert_eq!(scope(tokens, ""), KeyScope::Client);
    assert_eq!(scope(tokens, client), KeyScope::Client);
    assert_eq!(scope(tokens, shared), KeyScope::Shared);
    for clients in ["", authorities] {
        let told = refuse(&file(clients, client));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].0 == 5 && told[0].1.contains("callers have no names"), "{told:?}");
    }
    for broken in
        ["cleints = { tokens_file = \"/etc/passwd\" }", "clients = { token_file = \"/etc/passwd\" }"]
    {
        assert_eq!(refuse(&file(broken, client)).len(), 1, "one mistake is one report: {broken}");
    }
    let idle = notes(&dependency("key_scope = \"shared\""));
    assert!(idle.contains("line 3: `key_scope` has no effect"), "{idle}");
    assert!(!notes(&file(tokens, shared)).contains("key_scope"));
}

/// Roles are a list, or a table that has a caller for each role. If each caller has keys of its own, each role needs a
/// caller.
#[test]
fn roles_of_the_database_act_for_callers() {
    let file = |scope: &str, lines: &str, own: &str| {
        let durable =
            durable(own).replacen("https://pay.example\"", &format!("https://pay.example\"\n{lines}"), 1);
        let scope = format!("key_scope = \"{scope}\"\n");
        let durable = durable.replacen("url = ", &format!("{scope}url = "), 1);
        let ledger = "[ledger]\nurl = \"postgres://ledger.example/shop\"\n";
        format!("{ledger}[gateway]\nclients = {{ tokens_file = \"/etc/passwd\" }}\n{durable}")
    };
    let read = |text: &str| {
        let mut settings = accept(text).settings;
        settings.dependencies.remove(0).operations.remove(0).taken.sql_roles
    };
    let roles = |all: &[(&str, Option<&str>)]| -> SqlRoles {
        all.iter().map(|(role, caller)| ((*role).to_owned(), caller.map(str::to_owned))).collect()
    };
    let list = "sql_roles = [\"shop\", \"Till 2\"]";
    let table = "sql_roles = { shop = \"web\" }";
    assert_eq!(read(&file("shared", "", "")), None);
    assert_eq!(read(&file("shared", list, "")), Some(roles(&[("shop", None), ("Till 2", None)])));
    assert_eq!(read(&file("client", table, "")), Some(roles(&[("shop", Some("web"))])));
    assert_eq!(read(&file("shared", list, table)), Some(roles(&[("shop", Some("web"))])), "its own");
    assert_eq!(read(&file("client", table, "sql_roles = []")), Some(roles(&[])));
    for (text, told) in [
        (file("client", list, ""), "each caller has keys of its own"),
        (file("client", table, list), "each caller has keys of its own"),
        (file("shared", "sql_roles = \"shop\"", ""), "a list or a table of roles"),
        (file("shared", "sql_roles = [\"a\", \"a\"]", ""), "given twice"),
        (file("shared", "sql_roles = [\"\"]", ""), "1 to 63 bytes"),
        (file("shared", "sql_roles = { shop = \"a b\" }", ""), "a name is 1 to 64"),
    ] {
        let refused = refuse(&text);
        assert!(refused.len() == 1 && refused[0].1.contains(told), "{text}: {refused:?}");
    }
    let sqlite = file("shared", list, "").replace("postgres://ledger.example/shop", "sqlite:ledger.db");
    assert!(
        notes(&sqlite).contains("`sql_roles` has no effect: the ledger is in SQLite"),
        "{}",
        notes(&sqlite)
    );
    let shown = effective(&accept(&file("client", table, "")).settings);
    assert!(shown.contains("shop as web"), "{shown}");
}

#[test]
fn check_says_what_is_taken_over_and_what_is_not() {
    let two = durable("").replacen(
        "url = \"https://pay.example\"",
        "endpoint = [{ url = \"https://a.example\" }, { url = \"https://b.example\" }]",
        1,
    );
    assert!(
        notes(&two).contains("line 7: a durable operation uses the first endpoint only"),
        "{}",
        notes(&two)
    );
    assert!(!notes(&durable("")).contains("endpoint"));
    let request = "request = \"POST /c\"";
    let plain = format!(
        "{}\n[dependency.pay.key]\nmax = 64\n[ledger]\nlease = \"3m\"\n",
        operation(&format!(
            "confirm = {{ {request}, applied = {{ status = 200 }} }}\ncancel = {{ {request} }}"
        ))
    );
    for says in [
        "`ledger` has no effect: no operation is durable",
        "`key` has no effect: no operation of this dependency is durable",
        "`confirm` has no effect, except that an answer of 202 is unknown: the operation is not durable",
        "`cancel` has no effect: the operation is not durable",
    ] {
        assert!(notes(&plain).contains(says), "{says}\n{}", notes(&plain));
        let durable = plain.replace("\nconfirm", "\ndurable = true\nconfirm");
        assert!(!notes(&durable).contains(says), "{says}\n{}", notes(&durable));
    }
    let plain = operation("key = \"generate\"\nkeep_headers = []\ncredentials = \"none\"");
    for key in ["key", "keep_headers", "credentials"] {
        assert!(notes(&plain).contains(&format!("`{key}` has no effect: the operation is not durable")));
    }
    let shown = |text: &str| effective(&accept(text).settings);
    for (text, sentence) in [
        (&two, "so           only endpoint 0 is used"),
        (&two, "key_scope    shared: all callers share the keys"),
        (&two, "key          {request-header:idempotency-key}\n"),
        (&two, "keep_headers content-type, content-encoding, accept, accept-language\n"),
        (&two, "credentials  those of this file"),
        (&two, "bounds       request_max 1MiB, answer_max 256KiB, waiters 1000, undeclared_after 24h"),
        (&durable("key = \"generate\"\ncredentials = \"none\""), "key          made for each request"),
        (&durable("key = \"generate\"\ncredentials = \"none\""), "credentials  none;"),
    ] {
        assert!(shown(text).contains(sentence), "{sentence}\n{}", shown(text));
    }
    assert!(!shown(&operation("")).contains("key_scope"));
}

/// In this configuration, the provider knows the action by an id in the request's body. A `confirm` with `{key}` could
/// ask the provider for another id. The provider would answer "not found", and this would be believed. So the check of
/// the configuration notes such a `confirm`.
#[test]
fn confirm_by_the_key_is_noted_where_the_body_has_another_one() {
    let confirm = |hole: &str| {
        format!(
            "confirm = {{ request = \"GET /c?id={hole}\", applied = {{ status = 200 }} }}\nkey = \"{{request:/id}}\""
        )
    };
    let rules = "[dependency.pay.key]\nmax = 64\n";
    let says = "`{key}` may differ from the body's `{request:/id}`";
    let tokens = "[gateway]\nclients = { tokens_file = \"/etc/passwd\" }\n";
    let by_key = durable(&confirm("{key}"));
    for (text, noted) in [
        (format!("{by_key}{rules}"), true),
        (format!("{tokens}{by_key}"), true),
        (by_key.clone(), false),
        (format!("{}{rules}", durable(&confirm("{request:/id}"))), false),
        (format!("{}{rules}", durable(&confirm("{key}")).replace("key = \"{request:/id}\"", "")), false),
    ] {
        assert_eq!(notes(&text).contains(says), noted, "{text}\n{}", notes(&text));
    }
}
