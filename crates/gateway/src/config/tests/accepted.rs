use std::time::Duration;

use seawall_client::AnswerLimits;
use seawall_client::connect::HttpVersion;
use seawall_ledger::{Limits, OnUnknown, Rules, SettleBy};
use seawall_policy::{Idempotency, Otherwise, Scalar, WindowSpan};

use super::super::rows::Row;
use super::super::*;
use super::{CONTRACT, EVERYTHING, accept, dependency, operation};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_documented_example_is_accepted_and_says_what_it_documents() {
    let loaded = accept(CONTRACT);
    let pay = &loaded.settings.dependencies[0];
    assert_eq!(loaded.settings.gateway.listen, defaults::LISTEN);
    assert_eq!((pay.name.as_str(), pay.endpoints.len(), pay.listen.unwrap().port()), ("payments", 1, 8410));
    assert_eq!(pay.endpoints[0].headers[0].1, "Bearer sk_live_S3CRET");
    let charge = &pay.operations[0];
    assert_eq!(charge.idempotency, Idempotency::Keyed);
    assert_eq!((charge.timeout.connect, charge.timeout.read), (secs(3), secs(60)));
    assert_eq!((charge.timeout.total, pay.fallback.timeout.total), (Some(secs(90)), Some(secs(30))));
    assert_eq!(charge.refuses, [429]);
    let declined = &charge.answers.not_applied[0];
    assert_eq!(declined.statuses, [200]);
    assert_eq!(declined.fields[0].any_of, ["DECLINED", "LIMIT"].map(|it| Scalar::Text(it.into())));
    assert_eq!(charge.answers.otherwise, Some(Otherwise::Unknown));
    let durable = charge.durable.as_ref().unwrap();
    assert_eq!(durable.settle, SettleBy::Explicit(secs(180)));
    assert_eq!(durable.on_unknown, OnUnknown::Confirm);
    assert_eq!(
        charge.cancel.as_ref().unwrap().request.body().unwrap().to_string(),
        r#"{"charge": "{confirm:/id}"}"#
    );
    assert_eq!(pay.reconcile.as_ref().unwrap().zone, "Asia/Seoul");
}

#[test]
fn forms_and_headers_keep_the_order_of_the_file() {
    let cancel = "[dependency.pay.operation.cancel]\nrequest = \"POST /r\"\nheaders = { x-b = \"{key}\", x-a = \"1\" }\n\
                  [dependency.pay.operation.cancel.form]\nz = \"{key}\"\nb = -7\nc = true\na = \"\"\n";
    let loaded = accept(&operation(cancel));
    let request = &loaded.settings.dependencies[0].operations[0].cancel.as_ref().unwrap().request;
    let names: Vec<&str> = request.headers().iter().map(|header| header.name().as_str()).collect();
    assert_eq!(names, ["x-b", "x-a"]);
    assert_eq!(request.body().unwrap().to_string(), "z={key}&b=-7&c=true&a=");
}

#[test]
fn the_documented_defaults_are_the_built_in_ones() {
    let start = CONTRACT.find("[defaults]").unwrap();
    let end = CONTRACT.find("[dependency.payments]").unwrap();
    let silent = accept(&dependency(""));
    let spoken = accept(&format!("{}{}", &CONTRACT[start..end], dependency("")));
    assert_eq!(silent.settings, spoken.settings);
}

#[test]
fn every_key_has_an_effect() {
    let Loaded { settings, .. } = accept(EVERYTHING);
    let (one, two) = (&settings.dependencies[0], &settings.dependencies[1]);
    assert_eq!(settings.gateway.hosts, ["seawall.internal"]);
    assert_eq!((settings.gateway.workers, settings.gateway.instances), (Some(3), 7));
    assert_eq!(settings.gateway.limits.body, Some(10_000_000));
    assert_eq!(settings.ledger.url.reveal(), "postgres://user:pg-S3CRET@db.internal/seawall");
    assert_eq!((one.http, two.http), (HttpVersion::Http2, HttpVersion::Http1));
    assert_eq!((one.proxy.is_none(), two.proxy.is_some()), (true, true));
    assert_eq!((one.bind, two.bind.unwrap().to_string().as_str()), (None, "10.0.0.7"));
    assert_eq!(one.breaker.settings.window, WindowSpan::Calls(100));
    assert_eq!(two.breaker.settings.window, WindowSpan::Time(secs(4)));
    assert_eq!(one.breaker.settings.failure_rate_ppm, 400_000);
    assert_eq!(one.concurrency.key, GuardKey::Path("tenant".into()));
    assert_eq!((one.concurrency.max_keys, one.breaker.max_keys), (64, 32));
    assert_eq!(one.concurrency.queue.wait, Duration::from_millis(100));
    assert_eq!((one.budget.burst_milli, one.budget.initial_milli), (6_000, 2_500));
    assert_eq!((one.fallback.retry.attempts, two.fallback.retry.attempts), (4, 3));
    assert_eq!(one.answer, AnswerLimits { header_bytes: 128 << 10, headers: 1000 }, "merged key by key");
    assert_eq!(two.answer, AnswerLimits { header_bytes: 128 << 10, headers: 90 });
    let charge = &one.operations[0];
    assert_eq!(charge.answers.otherwise, Some(Otherwise::Unknown));
    assert_eq!(one.operations[1].answers.otherwise, None);
    assert_eq!((charge.retry.attempts, charge.retry.attempts_in_force()), (4, 1));
    assert_eq!((one.breaker.settings.slow_call, charge.slow_call), (Some(secs(2)), None));
    assert_eq!(charge.answers.duplicate[0].statuses, [409]);
    let (confirm, cancel) = (charge.confirm.as_ref().unwrap(), charge.cancel.as_ref().unwrap());
    assert_eq!((confirm.partly.len(), confirm.absences), (1, Some(3)));
    let lists = [&cancel.done, &cancel.already, &cancel.not_found, &cancel.refused, &cancel.never];
    assert_eq!(lists.map(|list| list[0].statuses[0]), [200, 409, 404, 422, 410]);
    let durable = charge.durable.as_ref().unwrap();
    assert_eq!(durable.confirm.as_ref().unwrap().absences, 3);
    assert_eq!(durable.limits, Limits { perform: 7, cancel: Some(22), confirm: Some(52) });
    assert_eq!(durable.stuck_after, secs(36 * 3600));
    assert_eq!((durable.network, durable.pause), (secs(2), secs(1)));
}

#[test]
fn endpoints_have_the_headers_of_the_dependency_and_their_own() {
    let Loaded { settings, .. } = accept(EVERYTHING);
    let two = &settings.dependencies[1];
    let shown = |index: usize| -> Vec<(&str, &str)> {
        let headers = &two.endpoints[index].headers;
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    };
    assert_eq!(shown(0), [("x-common", "1"), ("authorization", "Bearer sk_live_S3CRET")]);
    assert_eq!(shown(1), [("x-common", "1"), ("authorization", "Basic abc")]);
}

#[test]
fn secrets_are_in_no_text_that_is_made() {
    for text in [CONTRACT, EVERYTHING] {
        let loaded = accept(text);
        let shown = format!("{:?} {}", loaded, effective(&loaded.settings));
        assert!(!shown.contains("S3CRET") && !shown.contains("Basic abc"), "{shown}");
        assert!(shown.contains("authorization: ***"));
    }
}

#[test]
fn a_changed_secret_is_a_changed_file() {
    let with = |secret: &'static str| parse("f", CONTRACT, &move |_| Some(secret.to_owned())).unwrap();
    assert_eq!(with("a").settings, with("a").settings);
    assert_ne!(with("a").settings, with("b").settings);
}

#[test]
fn a_particular_total_cuts_a_general_connect_timeout() {
    let text = operation("timeout = { read = \"500ms\", total = \"1s\" }");
    let Loaded { settings, .. } = accept(&format!("[defaults]\ntimeout = {{ connect = \"3s\" }}\n{text}"));
    assert_eq!(settings.dependencies[0].operations[0].timeout.connect, secs(1));
    assert_eq!(settings.dependencies[0].fallback.timeout.connect, secs(3));
}

#[test]
fn the_method_decides_where_nothing_is_declared() {
    for (method, expected) in [
        ("GET", Idempotency::Safe),
        ("PUT", Idempotency::Idempotent),
        ("DELETE", Idempotency::Idempotent),
        ("POST", Idempotency::None),
        ("PATCH", Idempotency::None),
    ] {
        let text =
            dependency(&format!("[[dependency.pay.operation]]\nname = \"a\"\nmatch = \"{method} /a\""));
        assert_eq!(accept(&text).settings.dependencies[0].operations[0].idempotency, expected, "{method}");
    }
}

#[test]
fn the_default_for_unknown_is_the_most_careful_that_is_declared() {
    let confirm = "confirm = { request = \"GET /c?key={key}\", applied = { status = 200 } }";
    let none = "durable = true\nidempotency = \"none\"";
    for (text, expected) in [
        (operation("durable = true"), OnUnknown::Hold),
        (operation("durable = true\nkey_lifetime = \"24h\""), OnUnknown::Repeat),
        (operation(&format!("durable = true\n{confirm}")), OnUnknown::Confirm),
        (
            operation(&format!("durable = true\nkey_lifetime = \"midnight Asia/Seoul\"\n{confirm}")),
            OnUnknown::Repeat,
        ),
        (operation(none).replace("idempotency = \"keyed\"\n", ""), OnUnknown::Hold),
        (
            operation(&format!("{none}\n{confirm}")).replace("idempotency = \"keyed\"\n", ""),
            OnUnknown::Confirm,
        ),
    ] {
        let loaded = accept(&text);
        let durable = loaded.settings.dependencies[0].operations[0].durable.clone().unwrap();
        assert_eq!(durable.on_unknown, expected, "{text}");
    }
}

#[test]
fn what_is_not_said_of_a_durable_operation_is_as_the_ledger_has_it() {
    let durable =
        |lines: &str| accept(&operation(lines)).settings.dependencies[0].operations[0].durable.clone();
    let silent = Rules::of(Idempotency::Keyed);
    assert_eq!(durable("durable = true"), Some(silent.clone()));
    let confirm = "confirm = { request = \"GET /c?key={key}\", applied = { status = 200 } }";
    let asked = durable(&format!("durable = true\n{confirm}")).unwrap().confirm.unwrap();
    assert_eq!((asked.after, asked.absences), (secs(2), 1));
    let cancel = "cancel = { request = \"POST /r/{key}\", kind = \"state\" }";
    let total = "timeout = { total = \"40s\" }";
    let explicit = durable(&format!("durable = true\nsettle = \"explicit\"\n{total}\n{cancel}")).unwrap();
    assert_eq!((explicit.settle, explicit.attempt), (SettleBy::Explicit(secs(70)), secs(40)));
    let documented =
        |key: &str| keys::operation_doc(key).rsplit_once("Default ").unwrap().1.trim_end_matches('.');
    for (key, default) in [
        ("give_up", silent.give_up),
        ("quiet", silent.quiet),
        ("audit_after", silent.audit_after),
        ("stuck_after", silent.stuck_after),
        ("network", silent.network),
        ("pause", silent.pause),
    ] {
        assert_eq!(documented(key), seawall_policy::show_time(default), "{key}");
    }
}

#[test]
fn notes_say_what_is_not_in_force_and_what_follows() {
    let loaded = accept(CONTRACT);
    let keys = ["`ledger`", "`durable`", "`breaker`", "`concurrency`", "`reconcile`", "`health`", "`cancel`"];
    for key in keys {
        let note = loaded.notes.iter().find(|note| note.text.starts_with(key));
        assert!(
            note.is_none_or(|note| note.place.is_some())
                && (note.is_some() || is_in_force(key.trim_matches('`')))
        );
    }
    let notes =
        |text: &str| accept(text).notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let plain = "[dependency.a]\nurl = \"http://a.example\"\nheaders = { authorization = \"x\" }\n";
    assert!(notes(plain).contains("line 2: headers go out unencrypted"), "{}", notes(plain));
    assert!(notes(&operation("quiet = \"1m\"")).contains("`quiet` has no effect"));
    let additive = operation("durable = true\ncancel = { request = \"POST /r/{key}\" }");
    assert!(
        notes(&additive).contains("line 8: a cancel whose answer is lost is not sent again"),
        "{}",
        notes(&additive)
    );
    assert!(notes(&dependency("dangerous = { retry_none = true }")).contains("dangerous"));
}

#[test]
fn the_check_says_in_words_what_follows() {
    let shown = effective(&accept(CONTRACT).settings);
    for sentence in [
        "operation charge: POST /v1/charges, keyed",
        "timeout      connect 3s, read 1m, total 90s",
        "a call makes one attempt, with its whole body",
        "plain POST, PATCH: sent once, again only if nothing was sent; unknown goes back to the caller as such",
        "cancelled unless the caller settles it within 3m",
        "if status 200, /code = \"DECLINED\" or \"LIMIT\"",
    ] {
        assert!(shown.contains(sentence), "{sentence}\n{shown}");
    }
}

#[test]
fn the_check_says_what_declared_answers_lead_to() {
    let confirm = |absent: &str| {
        format!(
            "confirm = {{ request = \"GET /c?key={{key}}\", applied = {{ status = 200 }}, absent = {absent} }}\n"
        )
    };
    let with_code = confirm("{ status = 404, json = { \"/code\" = \"NONE\" } }");
    let (page, one) = (confirm("{ status = 404 }"), confirm("{ status = 404 }, absences = 1"));
    let partly = page
        .replace("{ status = 200 }", "{ status = 200, json = { \"/s\" = 1 } }, partly = { status = 206 }");
    let coded = "answers.not_applied = { status = 402 }\n";
    let duplicate = "duplicate = { status = 409 }\n";
    let cancel =
        |more: &str| format!("cancel = {{ request = \"POST /r/{{key}}\", kind = \"state\"{more} }}\n");
    let refused = cancel(", refused = { status = 200, json = { \"/code\" = \"NO\" } }");
    let note_page = "a status alone means \"not found\", so it is believed only after two answers, 2m apart";
    for (lines, sentences, notes) in [
        (String::new(), vec![], vec!["every 4xx means \"not done\""]),
        (coded.to_owned(), vec![], vec![]),
        ("refuses = [429]\n".to_owned(), vec![], vec![]),
        (
            duplicate.to_owned(),
            vec!["if status 409", "an earlier request arrived: it waits for a person"],
            vec!["after such an answer a person decides"],
        ),
        (
            format!("{duplicate}{with_code}"),
            vec!["an earlier request arrived: the provider is asked"],
            vec![],
        ),
        (
            format!("{coded}{page}"),
            vec!["and only if it is said again one quiet time later"],
            vec![note_page],
        ),
        (
            format!("{coded}{one}"),
            vec!["after the last possible send\n"],
            vec!["one such answer is believed"],
        ),
        (format!("{coded}{partly}"), vec!["partly cancelled counts as applied"], vec![note_page]),
        (
            format!("{coded}{}", cancel("")),
            vec!["every 2xx answer to a cancel means \"undone\""],
            vec!["every 2xx answer to the cancel that fits no declared answer means \"undone\""],
        ),
        (format!("{coded}{refused}"), vec!["a cancel is done only by an answer that is declared so"], vec![]),
    ] {
        let loaded = accept(&operation(&format!("durable = true\non_unknown = \"hold\"\n{lines}")).replace(
            if lines.contains("confirm") { "on_unknown = \"hold\"" } else { "no such line" },
            "on_unknown = \"confirm\"",
        ));
        let shown = effective(&loaded.settings);
        for sentence in sentences {
            assert!(shown.contains(sentence), "{sentence}\n{shown}");
        }
        let told: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), notes.len(), "{lines}\n{told:#?}");
        assert!(notes.iter().all(|says| told.iter().any(|note| note.contains(says))), "{notes:?}\n{told:#?}");
    }
}

#[test]
fn the_check_says_what_follows_from_keys_and_windows() {
    let confirm = |until: &str| {
        format!("confirm = {{ request = \"GET /c\", applied = {{ status = 200 }}, until = \"{until}\" }}")
    };
    let durable = |lines: &str| operation(&format!("durable = true\n{lines}"));
    let key = "key = { chars = \"A-Za-z0-9-_\", min = 16, max = 256 }";
    for (text, sentence) in [
        (dependency(key), "16 to 256 bytes of -0-9A-Z_a-z; an action's key that does not fit is sent as one"),
        (durable("key_lifetime = \"3h\""), "key_lifetime 3h,"),
        (durable("key_lifetime = \"3h\""), "unknown: the same request is sent again, for at most 3h"),
        (
            durable(&format!("key_lifetime = \"3h\"\non_unknown = \"repeat\"\n{}", confirm("same-day UTC"))),
            "after the last possible send; then the same request is sent again, for at most 3h",
        ),
        (durable(&confirm("same-day UTC")), "have brought nothing for 24h, a person must look at it"),
        (
            durable("key_lifetime = \"midnight Asia/Seoul\""),
            "as long as it arrives before midnight Asia/Seoul",
        ),
        (durable(""), "key_lifetime not declared"),
        (
            durable(""),
            "nothing is sent again after a doubt: nobody said how long the provider remembers a key",
        ),
        (
            operation("key_lifetime = \"midnight Asia/Seoul\""),
            "after a doubt it is sent again only if that surely arrives before midnight Asia/Seoul",
        ),
        (durable(&confirm("next-day Asia/Seoul")), "after 2s, until next-day Asia/Seoul"),
        (
            durable(&confirm("next-day Asia/Seoul")),
            "asked until the end of the day after the first send in Asia/Seoul; what is unknown then waits for a person",
        ),
        (
            durable("cancel = { request = \"POST /r/{key}\", kind = \"state\", until = \"1h\" }"),
            "undone until 1h after the first send; later a cancel ends with a person",
        ),
        (
            durable("amount = { value = \"/amount\", currency = \"USD\", minor = 2 }"),
            "amount       /amount (USD)",
        ),
    ] {
        let shown = effective(&accept(&text).settings);
        assert!(shown.contains(sentence), "{sentence}\n{shown}");
    }
    let notes =
        |text: &str| accept(text).notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let today = notes(&durable(&confirm("same-day Asia/Seoul")));
    assert!(today.contains("the day ends before the first question is answered"), "{today}");
    let idle = "`key_lifetime` has no effect: the operation is not durable";
    assert!(notes(&operation("key_lifetime = \"3h\"")).contains(idle));
    assert!(!notes(&operation("key_lifetime = \"midnight UTC\"")).contains(idle));
    let few = notes(&dependency("key = { chars = \"0-9\", max = 24 }"));
    assert!(few.contains("a mapped key has only 73 bits of its hash"), "{few}");
}

#[test]
fn the_check_says_what_counts_as_applied() {
    let coded = "answers.not_applied = { status = 200, json = { \"/code\" = \"NO\" } }\n";
    let applied = "answers.applied = { status = 200, json = { \"/code\" = \"OK\" } }\n";
    for (lines, sentence) in [
        (
            format!("{coded}{applied}answers.otherwise = \"unknown\""),
            "unknown (safe: only what is declared counts as applied)",
        ),
        (
            format!("{coded}answers.otherwise = \"applied\""),
            "applied, for every 2xx whose body was read, even if it is no JSON",
        ),
        (coded.to_owned(), "as the status says; a 2xx whose body should decide and is no JSON is unknown"),
        ("answers.not_applied = { status = 409 }".to_owned(), "as the status says\n"),
    ] {
        let loaded = accept(&operation(&lines));
        let shown = effective(&loaded.settings);
        assert!(shown.contains(&format!("otherwise    {sentence}")), "{lines}\n{shown}");
        assert_eq!(loaded.notes.len(), 0, "{:?}", loaded.notes);
    }
    assert!(!effective(&accept(&operation("")).settings).contains("otherwise"));
    let note = accept(&operation("answers.otherwise = \"unknown\"")).notes[0].to_string();
    assert!(note.contains("line 7") && note.contains("no call will ever count as applied"), "{note}");
}

#[test]
fn a_file_is_loaded_with_paths_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "abc\n").unwrap();
    let path = dir.path().join("seawall.toml");
    std::fs::write(&path, format!("\u{feff}{}", dependency("headers = { x-token = \"${file:token}\" }")))
        .unwrap();
    let loaded = load(&path, &|_| None).unwrap();
    assert_eq!(loaded.settings.dependencies[0].endpoints[0].headers[0].1, "abc");
    let report = load(&dir.path().join("none.toml"), &|_| None).unwrap_err();
    assert!(
        report.to_string().contains("none.toml") && report.to_string().contains("cannot be read"),
        "{report}"
    );
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert!(load(&path, &|_| None).unwrap_err().to_string().contains("1:6"));
}

/// Checks the documentation of the keys, which editors show. If the documentation of a key names a default, this must
/// be the default in the code.
#[test]
fn what_is_said_of_a_default_is_the_default() {
    fn look<S: Clone>(rows: &[Row<S>], silent: &S) {
        for row in rows {
            let Some(field) = row.field else { continue };
            let (name, doc) = (row.key.name, row.key.doc);
            let said = doc.split_once("Default ").map(|(_, said)| said.split([';', ' ']).next().unwrap());
            let shown = field.show(&mut silent.clone());
            let Some(said) = said.map(|said| said.trim_end_matches('.')) else {
                assert_eq!(shown, None, "`{name}` does not say its default: {doc}");
                continue;
            };
            let text = [format!("v = {said}"), format!("v = \"{said}\"")];
            let read = text.iter().find_map(|text| {
                let mut read = silent.clone();
                let table = toml::de::DeTable::parse(text).ok()?;
                field.read(table.get_ref().get("v")?.get_ref(), &mut read).ok()?;
                Some(field.show(&mut read))
            });
            assert_eq!(read.expect("it can be read"), shown, "`{name}`: {doc}");
        }
    }
    look(keys::TIMEOUT, &Default::default());
    look(keys::RETRY, &Retry::default());
    look(keys::BUDGET, &Default::default());
    look(keys::CONCURRENCY, &Concurrency::default());
    look(keys::BREAKER, &Breaker::default());
    look(keys::POOL, &Default::default());
    look(keys::ANSWER, &Default::default());
    look(keys::DNS, &Default::default());
}
