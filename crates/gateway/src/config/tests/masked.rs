//! No report shows a secret, wherever in the file it stands.

use super::{CONTRACT, accept, dependency, read};
use crate::config::effective;

/// A secret that looks like the key of an API.
const SECRET: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

/// Returns everything that the report says about a text, which must be refused.
fn told(text: &str) -> String {
    let report = read(text).expect_err("the text is accepted");
    let lines: Vec<String> = report.lines().collect();
    format!("{}{}{}{report:?}", report.render(false), report.render(true), lines.join("\n"))
}

#[test]
fn secret_is_shown_nowhere() {
    let s = SECRET;
    let head = "[dependency.pay]\nurl = \"https://pay.example\"\n";
    let cases = [
        // The secret stands under a misspelt key, written in each of the ways that TOML has for it. Or it stands in a
        // table that does not exist.
        format!("{head}headerz = {{ authorization = \"Bearer {s}\" }}\n"),
        format!("{head}headerz.authorization = \"Bearer {s}\"\n"),
        format!("{head}[dependency.pay.headerz]\nauthorization = \"Bearer {s}\"\n"),
        format!("{head}token = \"{s}\"\n"),
        format!("{head}[auth]\npassword = \"{s}\"\n"),
        format!("{head}headers = {{ authorisation = [\"{s}\"] }}\n"),
        format!("{head}headers = [\"authorization\", \"Bearer {s}\"]\n"),
        format!("{head}headers = \"authorization: Bearer {s}\"\n"),
        format!("{head}tls = \"{s}\"\n"),
        // The secret stands as a key, and as the name of a variable.
        format!("{head}{s} = 1\n"),
        format!("{head}headers = {{ {s} = 7 }}\n"),
        format!("{head}headers = {{ {}-0 = 7 }}\n", &s[8..]),
        format!("{head}headers = {{ authorization = \"Bearer ${{env:{s}}}\" }}\n"),
        format!("{head}headers = {{ authorization = \"Bearer ${{{s}:x}}\" }}\n"),
        format!("{head}headers = {{ authorization = \"Bearer ${{{s}\" }}\n"),
        format!("{head}headers = {{ authorization = \"Bearer ${{file:/nonexistent/{s} x}}\" }}\n"),
        // The secret stands in URLs.
        format!("[dependency.pay]\nurl = \"https://user:{s}@pay.example\"\n"),
        format!("[dependency.pay]\nurl = \"https://pay.example?key={s}\"\n"),
        format!("[dependency.pay]\nurl = \"https://pay.example#{s}\"\n"),
        format!("[dependency.pay]\nurl = \"https://user:a/b?{s}@pay.example\"\n"),
        format!("[dependency.pay]\nurl = \"{s}://pay.example\"\n"),
        format!("[dependency.pay]\nurl = \"{s}\"\n"),
        format!("[ledger]\nurl = \"{s}\"\n{head}"),
        format!("{head}proxy = \"http://u:{s}@proxy.example\"\nx = 1\n"),
        format!("[ledger]\nurl = \"host=db password={s}\"\n{head}"),
        format!("[ledger]\nurl = \"mysql://u:{s}@db/x\"\n{head}"),
        format!("[ledger]\nurl = \"mysql://db/x?password={s}\"\n{head}"),
        // The secret stands in requests and bodies that the gateway sends by itself.
        format!("{head}health = \"POST /h?key={s}\"\n"),
        format!("{head}health = \"GET /h?{{{s}}}\"\n"),
        // These texts are not valid TOML. They have quotes and brackets that are not closed, strings of several lines,
        // bare words, or comments.
        format!("{head}headers = {{ authorization = \"Bearer {s}\n"),
        format!("{head}headers = {{ authorization = \"Bearer {s} }}\nworkers = 1\n"),
        format!("{head}headers = {{ authorization = \"Bearer\n{s}\" }}\n"),
        format!("{head}headers = {{ authorization = Bearer {s} }}\n"),
        format!("{head}headers = {{ authorization = \"\"\"Bearer\n{s}\n\"\"\" , x = }}\n"),
        format!("{head}headers = {{ authorization = '''Bearer\n{s}\n"),
        format!("{head}headers = {{ authorization = \"Bearer \\q{s}\" }}\n"),
        format!("{head}authorization: Bearer {s}\n"),
        format!("{head}{s}\n"),
        format!("{head}= \"{s}\"\n"),
        format!("{head}breaker = {{ min_calls = x }} # was {s}\n"),
        format!("{head}timeout = {{ read = \"\"\"\n{s}\n\"\"\" }}\n"),
        format!("{head}[dependency.\"{s} x\"]\nurl = 1\n"),
        format!("{head}headers = {{ authorization = \"{s}\", authorization = \"{s}\" }}\n"),
        format!("[gateway]\nhosts = [[\n{head}headers = {{ authorization = \"{s}\" }}\n"),
        format!("{head}keys = {s}\n"),
        format!("{head}keys = \"{s}\"\n"),
        format!("{head}timeout = {{ read = \"{s}\" }}\n"),
        format!("{head}breaker = {{ key = \"{s}\" }}\n"),
    ];
    for text in cases {
        let told = told(&text);
        for part in [SECRET, &SECRET[8..], &SECRET[8..20]] {
            assert!(!told.contains(part), "{text}\n{told}");
        }
    }
}

#[test]
fn what_is_harmless_is_shown() {
    let text = dependency("timeout = { raed = \"4s\", connect = \"10\" }\nbreaker = { min_calls = 0 }");
    let shown = read(&text).unwrap_err().render(false);
    assert!(shown.contains("timeout = { raed = \"**\", connect = \"10\" }"), "{shown}");
    assert!(shown.contains("breaker = { min_calls = 0 }"), "{shown}");
    let text = "[dependency.pay-2]\nurl = \"ftp://user@pay.example/base\"\nheaders = { x-api-version = 7, authorization = \"a ${env:NONE}\" }\n";
    let shown = read(text).unwrap_err().render(false);
    assert!(shown.contains("url = \"ftp://*****pay.example/base\""), "{shown}");
    assert!(shown.contains("x-api-version = *, authorization = \"* ${env:NONE}\""), "{shown}");
}

#[test]
fn each_line_of_a_good_file_with_a_slip_shows_its_words() {
    // The key has a letter too many. The rest of the line is shown as it is, except for the values in headers and
    // queries.
    let text = CONTRACT.replace("idempotency = ", "idempotencyy = ");
    assert!(text != CONTRACT);
    let shown = read(&text).unwrap_err().render(false);
    assert!(shown.contains("idempotencyy") && shown.contains("did you mean `idempotency`?"), "{shown}");
}

#[test]
fn settings_in_force_show_no_query() {
    let text = dependency(&format!(
        "health = \"GET /health?key={SECRET}&x\"\n[[dependency.pay.operation]]\nname = \"charge\"\nmatch = \"POST /c\"\n\
         idempotency = \"keyed\"\nconfirm = {{ request = \"GET /c?k={{key}}&token={SECRET}\", applied = {{ status = 200 }} }}\n\
         cancel = {{ request = \"POST /r\", json = {{ secret = \"{SECRET}\" }} }}\n\
         [[dependency.pay.operation]]\nname = \"payout\"\nmatch = \"POST /p\"\nidempotency = \"keyed\"\n\
         cancel = {{ request = \"POST /n\", headers = {{ x-id = \"{SECRET}\" }}, form = {{ secret = \"{SECRET}\" }} }}\n"
    ));
    let shown = effective(&accept(&text).settings);
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(
        shown.contains("GET /health?key=***&***") && shown.contains("GET /c?k={key}&token=***"),
        "{shown}"
    );
    assert!(
        shown.contains("POST /r with a JSON body, ") && shown.contains("POST /n with x-id: ***, a form, "),
        "{shown}"
    );
}

#[test]
fn reports_show_the_names_and_placeholders_of_headers_and_forms_and_no_values() {
    let text = dependency(&format!(
        "[[dependency.pay.operation]]\nname = \"charge\"\nmatch = \"POST /c\"\ncancel = {{ request = \"POST /r\", keyed = 1, \
         headers = {{ x-id = \"{SECRET}{{key}}\" }}, form = {{ day = \"{{sent:%F@UTC}}{SECRET}\" }} }}\n"
    ));
    let shown = read(&text).unwrap_err().render(false);
    assert!(!shown.contains(SECRET), "{shown}");
    for word in ["x-id", "{key}", "day", "{sent:%F@UTC}"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}
