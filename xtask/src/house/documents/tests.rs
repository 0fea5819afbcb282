//! Tests with a small tree whose pages are right, and with variants of this tree that each contain one mistake.

use serde_json::{Value, json};

use super::*;

const CLI: &str = "#[derive(Subcommand)]\nenum Command { Check, Explain { reason: Vec<String> }, Lab { #[command(subcommand)] command: Lab }, \
                   Status { #[arg(long)] json: bool, #[arg(long = \"admin\")] url: String } }\n\
                   #[derive(Subcommand)]\nenum Lab { SlowHarbor }\n";

/// Returns a schema with two settings: `drain` in `[gateway]`, and `read` in `[dependency.NAME.timeout]`.
fn schema() -> Value {
    let table = |keys: Value| json!({ "type": "object", "properties": keys });
    let timeout = table(json!({ "read": { "type": "string" } }));
    let dependency = table(json!({ "timeout": timeout }));
    table(json!({
        "gateway": table(json!({ "drain": { "type": "string" } })),
        "dependency": { "type": "object", "additionalProperties": dependency },
    }))
}

/// Returns what all checks of the documents find in `files`, the check of the settings included.
fn faults(files: &[Source]) -> Vec<String> {
    [findings(files), unknown_settings(files, &schema())].concat()
}

const CONFIGURATION: &str = "# Configuration\n\n## `[gateway]`\n\n| key | what |\n| --- | --- |\n| `drain` | how long |\n\n\
                             ## `[dependency.NAME]`\n\n| key | what |\n| --- | --- |\n| `timeout` | times |\n\n\
                             ### `timeout`\n\n| key | what |\n| --- | --- |\n| `read` | quiet |\n";

const ARCHITECTURE: &str = "# Map\n\n### crates/gateway\n\n| file | what |\n| --- | --- |\n| `cli/`, `config/` | all of it |\n\n\
     ### crates/policy\n\nOf `crates/policy` `call.rs` decides: `Call::begin`, `Effect::Unknown`, `call::Step`.\n\n### xtask\n\n`xtask/src` has the tasks.\n";

const README: &str = "# It\n\nSee [the map](ARCHITECTURE.md#map) and `docs/configuration.md`; `timeout.read` and `[gateway]`.\n\n\
                      `seawall explain read-timeout`, `GET /api/dependencies`, `seawall-reason: read-timeout`, `other.thing`, \
                      `application/json`, `Duration::MAX`, `cargo test -p seawall-policy`.\n\n\
                      ```sh\nseawall status --json --admin URL   # what it sees\nseawall lab slow-harbor\ncargo xtask test --only policy\n```\n\n\
                      ```toml\n[dependency.pay.timeout]\nread = \"1s\"\n```\n";

/// Returns the files of a small repository whose pages are right. `text` is added at the end of the file `page`; if no
/// file has this name, nothing is added.
fn tree(page: &str, text: &str) -> Vec<Source> {
    let files = [
        ("README.md", README),
        ("ARCHITECTURE.md", ARCHITECTURE),
        ("CHANGELOG.md", "# Changes\n\n## Unreleased\n\n- `call.rs`.\n\n## 0.1\n\n- `gone.rs` came.\n"),
        ("docs/configuration.md", CONFIGURATION),
        ("docs/reasons/read-timeout.md", "# read-timeout\n"),
        ("crates/policy/Cargo.toml", "[package]\nname = \"seawall-policy\"\n"),
        ("crates/policy/src/lib.rs", "mod call;\n"),
        (
            "crates/policy/src/call.rs",
            "pub struct Call;\nimpl Call { pub fn begin() {} }\npub enum Effect { Unknown }\npub enum Step {}\n",
        ),
        ("crates/gateway/src/cli/mod.rs", CLI),
        ("crates/gateway/src/config/routes.rs", "fn f() { route(\"/api/dependencies\"); }"),
        (
            "xtask/src/main.rs",
            "#[derive(Subcommand)]\nenum Task { Test(Options) }\n#[derive(clap::Args)]\nstruct Options { #[arg(long)] only: String }",
        ),
    ];
    let with = |path: &str, own: &str| if path == page { format!("{own}{text}") } else { own.to_owned() };
    files.iter().map(|(path, own)| Source { path: (*path).to_owned(), text: Some(with(path, own)) }).collect()
}

#[test]
fn pages_that_are_right_are_left_alone() {
    assert_eq!(faults(&tree("", "")), Vec::<String>::new());
}

#[test]
fn each_planted_fault_is_found_where_it_stands() {
    let planted = [
        (
            "README.md",
            "\n`crates/policy/src/gone.rs`\n",
            "README.md:18: there is no `crates/policy/src/gone.rs`",
        ),
        ("README.md", "\n`docs/gone/`\n", "README.md:18: there is no `docs/gone/`"),
        ("README.md", "\n[x](docs/gone.md)\n", "README.md:18: the link to docs/gone.md leads nowhere"),
        (
            "README.md",
            "\n[x](ARCHITECTURE.md#gone)\n",
            "README.md:18: the link to ARCHITECTURE.md#gone leads nowhere",
        ),
        ("README.md", "\nand\n`seawall gone`\n", "README.md:19: `seawall gone`: there is no command `gone`"),
        (
            "README.md",
            "\n`seawall status --gone`\n",
            "README.md:18: `seawall status --gone`: there is no flag --gone",
        ),
        (
            "README.md",
            "\n`seawall lab gone`\n",
            "README.md:18: `seawall lab gone`: there is no command `gone`",
        ),
        (
            "README.md",
            "\n```sh\ncargo xtask gone\n```\n",
            "README.md:19: `cargo xtask gone`: there is no command `gone`",
        ),
        ("README.md", "\n`cargo run -p gone`\n", "README.md:18: `cargo run -p gone`: there is no -p gone"),
        ("README.md", "\n`timeout.gone`\n", "README.md:18: there is no setting `timeout.gone`"),
        ("README.md", "\n`[gateway.gone]`\n", "README.md:18: there is no setting `[gateway.gone]`"),
        (
            "README.md",
            "\n```toml\n[dependency.pay.gone]\n```\n",
            "README.md:19: there is no table [dependency.pay.gone]",
        ),
        ("README.md", "\n`seawall explain gone`\n", "README.md:18: nothing explains `gone`"),
        ("README.md", "\n`seawall-reason: gone`\n", "README.md:18: nothing explains `gone`"),
        ("README.md", "\n`GET /api/gone?key=K`\n", "README.md:18: the gateway serves no /api/gone"),
        ("README.md", "\n`Call::gone(now)`\n", "README.md:18: `Call::gone`: `Call` has no `gone`"),
        ("README.md", "\n`call::Gone`\n", "README.md:18: `call::Gone`: `call` has no `Gone`"),
        (
            "docs/configuration.md",
            "| `gone` | x |\n",
            "docs/configuration.md:20: there is no setting `gone` here",
        ),
    ];
    for (page, text, fault) in planted {
        assert_eq!(faults(&tree(page, text)), [fault], "{text}");
    }
}

#[test]
fn of_the_change_log_only_what_is_unreleased_is_held_to_the_code() {
    let mut files = tree("", "");
    let log = files.iter_mut().find(|file| file.path == "CHANGELOG.md").unwrap();
    log.text = Some(log.text.take().unwrap().replace("`call.rs`", "`gone.rs`"));
    assert_eq!(faults(&files), ["CHANGELOG.md:5: there is no `gone.rs`"]);
}

#[test]
fn a_source_file_without_a_row_is_found() {
    let mut files = tree("", "");
    files.push(Source { path: "crates/policy/src/new.rs".to_owned(), text: Some(String::new()) });
    files.push(Source { path: "crates/policy/src/new_tests.rs".to_owned(), text: Some(String::new()) });
    let fault = "crates/policy/src/new.rs: stands in no row of ARCHITECTURE.md, nor does its folder";
    assert_eq!(faults(&files), [fault]);
}
