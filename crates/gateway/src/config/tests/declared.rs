//! Tests that wrong declarations of durable operations are refused. The declarations stand in the table
//! `wrong_declarations.toml`, by which the library's builders are tested, too.

use serde::Deserialize;

use super::read;

#[derive(Deserialize)]
struct Table {
    wrong: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    lines: String,
    #[serde(default)]
    ledger: String,
    #[serde(default)]
    dependency: String,
    /// The expected problems: for each, the setting that it names, and words of its message.
    problems: Vec<(String, String)>,
}

impl Row {
    fn file(&self) -> String {
        let Row { lines, ledger, dependency, .. } = self;
        let missing =
            |key: &str, line: &str| if lines.contains(key) { String::new() } else { format!("{line}\n") };
        let keyed = missing("idempotency", "idempotency = 'keyed'");
        let durable = missing("durable", "durable = true");
        let credentials = match dependency.contains("headers") {
            true => "",
            false => "headers = { authorization = 'Bearer x' }",
        };
        format!(
            "[ledger]\n{ledger}\n[dependency.pay]\nurl = 'https://pay.example'\n{dependency}\n{credentials}\n[[dependency.pay.operation]]\n\
             name = 'charge'\nmatch = 'POST /v1/charges'\n{durable}{keyed}{lines}\n"
        )
    }
}

/// Returns the key at which a problem of a setting is reported.
fn key(setting: &str) -> &str {
    match setting {
        "lease" | "timeout.total" => "durable",
        other => other.rsplit('.').next().unwrap_or(other),
    }
}

#[test]
fn the_file_finds_the_problems_of_the_table_at_their_places() {
    let table: Table =
        toml::from_str(include_str!("../../../../actions/tests/wrong_declarations.toml")).unwrap();
    assert!(table.wrong.len() > 20, "{}", table.wrong.len());
    for row in table.wrong {
        let file = row.file();
        let report = read(&file).err().unwrap_or_else(|| panic!("accepted:\n{file}"));
        let told: Vec<String> = report.lines().collect();
        assert_eq!(told.len(), row.problems.len(), "{file}\n{told:#?}");
        for (setting, says) in &row.problems {
            let found = report.mistakes().iter().zip(&told).find(|(_, line)| line.contains(says.as_str()));
            let (mistake, _) = found.unwrap_or_else(|| panic!("{setting}: {says}\n{file}\n{told:#?}"));
            let line = file.lines().nth(mistake.place.unwrap().line - 1).unwrap();
            // If the setting is not in the file, its problem is reported where the operation begins.
            let key = if file.contains(key(setting)) { key(setting) } else { "operation" };
            assert!(line.contains(key), "{setting} is told at `{line}`\n{file}");
        }
    }
}
