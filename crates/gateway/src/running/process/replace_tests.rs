use super::*;

fn settings(text: &str) -> config::Settings {
    config::parse("test", text, &|_| None).expect("it is well-formed").settings
}

fn limit(running: &Running) -> u32 {
    let compiled = running.compiled.load();
    let (_, dependency) = compiled.by_name("a").expect("it is there");
    dependency.shared.with(|guards| guards.endpoint(0).expect("it has one").limit().limit())
}

#[test]
fn what_is_refused_leaves_the_guards_as_they_were() {
    let a =
        |max: u32| format!("[dependency.a]\nurl = \"http://a.example\"\nconcurrency = {{ max = {max} }}\n");
    let running = Running::new(settings(&a(5)), 1).expect("it compiles");
    assert_eq!(limit(&running), 5);

    let mut broken = settings(&format!("{}[dependency.b]\nurl = \"https://b.example\"\n", a(7)));
    broken.dependencies[1].tls.ca_file = Some("/nonexistent/ca.pem".into());
    let refused = running.replace(broken).expect_err("the file is not there");
    assert!(refused.starts_with("dependency.b: "), "{refused}");
    assert_eq!(limit(&running), 5, "not even a part of it is taken");

    running.replace(settings(&a(7))).expect("it compiles");
    assert_eq!(limit(&running), 7);
}

/// If each caller is to have keys of its own, every caller needs a name. Two callers without names that used the same
/// key would share one action.
#[test]
fn a_caller_without_a_name_is_refused_where_callers_have_keys_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let clients = format!("[gateway]\nclients = {{ tokens_file = \"{}\" }}\n", path.display());
    let file = |scope: &str, durable: bool| {
        format!(
            "{clients}[dependency.a]\nurl = \"http://a.example\"\n{scope}\n\
             operation = [{{ name = \"o\", match = \"POST /o\", durable = {durable}, credentials = \"none\" }}]\n"
        )
    };
    let shared = "key_scope = \"shared\"";
    write("# callers\nana sixteen-and-more\n\nanother-of-sixteen\n");
    let refused = Running::new(settings(&file("", true)), 1).expect_err("the second token has no name");
    assert!(refused.starts_with("gateway.clients.tokens_file: "), "{refused}");
    assert!(
        refused.contains("line 4: this token has no name") && refused.contains("NAME TOKEN"),
        "{refused}"
    );
    assert!(!refused.contains("another-of"), "{refused}");
    let running = Running::new(settings(&file(shared, true)), 1).expect("callers share the keys");
    let name = |shown: &str| running.clients_tokens().unwrap().holder(shown.as_bytes()).map(|it| it.name);
    running.replace(settings(&file("", false))).expect("no operation is durable");
    let refused = running.replace(settings(&file("", true))).expect_err("the token still has no name");
    assert!(refused.contains("line 4: this token has no name"), "{refused}");
    assert_eq!(name("another-of-sixteen"), Some(None));

    write("ana sixteen-and-more\nbob another-of-sixteen\n");
    running.replace(settings(&file("", true))).expect("every token has a name");
    assert_eq!(name("another-of-sixteen"), Some(Some("bob".into())));
    write("ana sixteen-and-more\na-third-of-sixteen\n");
    let refused = running.replace(settings(&file("", true))).expect_err("a token has no name");
    assert!(refused.contains("line 2: this token has no name"), "{refused}");
    assert_eq!((name("another-of-sixteen"), name("a-third-of-sixteen")), (Some(Some("bob".into())), None));
}

/// The file of the callers' tokens is opened only at a start. So a reload that adds this file does not give the callers
/// names, and is refused, because the keys of the dependency would need the names. A start with the file is accepted.
#[test]
fn callers_get_names_at_a_start_and_not_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "ana sixteen-and-more\n").unwrap();
    let text = "[dependency.a]\nurl = \"http://a.example\"\n\
                operation = [{ name = \"o\", match = \"POST /o\", durable = true, credentials = \"none\" }]\n";
    let clients = format!("[gateway]\nclients = {{ tokens_file = \"{}\" }}\n", path.display());
    let running = Running::new(settings(text), 1).expect("all callers share the keys");
    let refused = running.replace(settings(&format!("{clients}{text}"))).expect_err("no caller has a name");
    assert!(
        refused.contains("dependency.a: `key_scope` is client") && refused.contains("next start"),
        "{refused}"
    );
    Running::new(settings(&format!("{clients}{text}")), 1).expect("every caller has a name");
}
