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
