//! Judges each value of the file by itself: what each kind of value must look like. A file is read in two passes:
//! `walk` judges each key and value by itself, and `read` makes the settings. This module also has the functions with
//! which both passes read values.

use std::borrow::Cow;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use seawall_actions::nearest::advice;
use seawall_actions::shown::quoted;
use seawall_actions::template::{
    FormTemplate, HeaderTemplate, JsonTemplate, Pointer, Purpose, RequestTemplate, Template, header_name,
    stored_header,
};
use seawall_actions::{CurrencyAt, KeySource};
use seawall_ledger::keys::KeyChars;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::action::SqlRoles;
use super::keys::Kind;
use super::pattern::Pattern;
use super::predicate::{self, Misplaced};
use super::settings::GuardKey;
use super::values::{self, Value, Wrong};

/// Returns the mistakes in a value; empty if there are none. For a table whose keys the module `keys` lists, this
/// function checks only that the value is a table. The keys of that table are judged one by one in the first pass
/// (`walk`).
pub(super) fn judge(kind: &Kind, value: &Value<'_>) -> Vec<Misplaced> {
    let found = value.get_ref();
    let one =
        |outcome: Result<(), Wrong>| outcome.err().map(|wrong| (value.span(), wrong)).into_iter().collect();
    match kind {
        Kind::Table(_) | Kind::Named(_) => one(match found {
            DeValue::Table(_) => Ok(()),
            _ => Err(values::wrong_kind("a table", found)),
        }),
        Kind::Tables(_) => one(match found {
            DeValue::Array(_) => Ok(()),
            _ => Err(values::wrong_kind("a list of tables", found)
                .help("a list of tables is written with double brackets, [[…]]")),
        }),
        Kind::Headers => headers(value),
        Kind::HeaderTemplates(purpose) => header_templates(value, *purpose).1,
        Kind::Json(purpose) => json(value, *purpose).1,
        Kind::Form(purpose) => form(value, *purpose).1,
        Kind::Predicates => predicate::predicates(value).1,
        Kind::Statuses => {
            let mut wrong = Vec::new();
            predicate::statuses(value, &mut wrong);
            wrong
        }
        Kind::Failures => list_of("a list of statuses", value, |item| values::failure(item).map(drop)),
        Kind::HostNames => list(value, host_name),
        Kind::StoredHeaders => stored_headers(value).1,
        Kind::SqlRoles => sql_roles(value).1,
        Kind::Texts => {
            list(value, |text| if text.is_empty() { Err(Wrong::new("this is empty")) } else { Ok(()) })
        }
        _ => one(judge_scalar(kind, found)),
    }
}

fn judge_scalar(kind: &Kind, found: &DeValue<'_>) -> Result<(), Wrong> {
    let text = || values::text(found);
    match kind {
        Kind::Flag => values::flag(found).map(drop),
        Kind::Whole { min, max } => match values::whole(found)? {
            number if (*min..=*max).contains(&number) => Ok(()),
            _ => Err(Wrong::new(format!("this number must lie between {min} and {max}"))),
        },
        Kind::Tokens => values::thousandths(found).map(drop),
        Kind::Ratio { zero } => match values::ratio_ppm(found)? {
            0 if !zero => Err(Wrong::new("this ratio must be above 0")),
            _ => Ok(()),
        },
        Kind::Time { zero } => match values::time(found)? {
            time if time.is_zero() && !zero => Err(Wrong::new("this length of time must be above 0")),
            _ => Ok(()),
        },
        Kind::TimeOrOff => match values::time_or_off(found)? {
            Some(time) if time.is_zero() => {
                Err(Wrong::new("this length of time must be above 0").help("\"off\" turns it off"))
            }
            _ => Ok(()),
        },
        Kind::Size => values::size(found).map(drop),
        Kind::SizeWithin { min, max } => match values::size(found)? {
            bytes if (*min..=*max).contains(&bytes) => Ok(()),
            _ => {
                let (min, max) = (values::show_size(*min), values::show_size(*max));
                Err(Wrong::new(format!("this size must lie between {min} and {max}")))
            }
        },
        Kind::SizeOrOff => values::size_or_off(found).map(drop),
        Kind::Choice(words) => values::choice(found, words).map(drop),
        Kind::Otherwise => predicate::otherwise(found).map(drop),
        Kind::HttpVersion => values::http_version(found).map(drop),
        Kind::Socket => values::socket(found).map(drop),
        Kind::IpOrOff => values::ip_or_off(found).map(drop),
        Kind::EndpointUrl => values::endpoint_url(found).map(drop),
        Kind::ProxyUrl => values::proxy_url(found).map(drop),
        Kind::LedgerUrl => url_with_secrets(text()?, &["sqlite:", "postgres://", "postgresql://"]),
        Kind::HeaderName => values::header_name(found).map(drop),
        Kind::File => text()
            .and_then(|path| if path.is_empty() { Err(Wrong::new("this path is empty")) } else { Ok(()) }),
        Kind::Pattern => Pattern::parse(text()?).map(drop),
        Kind::Request(purpose) => RequestTemplate::parse(text()?, *purpose).map(drop),
        Kind::Pointer => Pointer::parse(text()?).map(drop),
        Kind::GuardKey => guard_key(text()?).map(drop),
        Kind::Zone => zone(text()?),
        Kind::Lifetime => values::lifetime(found).map(drop),
        Kind::Window => values::window(found).map(drop),
        Kind::KeyChars => KeyChars::parse(text()?).map(drop),
        Kind::KeySource => KeySource::parse(text()?).map(drop),
        Kind::Currency => CurrencyAt::parse(text()?).map(drop),
        Kind::Name => label(text()?),
        Kind::Table(_)
        | Kind::Tables(_)
        | Kind::Named(_)
        | Kind::Headers
        | Kind::HeaderTemplates(_)
        | Kind::Json(_)
        | Kind::Form(_)
        | Kind::Predicates
        | Kind::Statuses
        | Kind::Failures
        | Kind::HostNames
        | Kind::StoredHeaders
        | Kind::SqlRoles
        | Kind::Texts => Ok(()),
    }
}

/// Fails if a URL has none of these schemes. A URL that begins with `${` is accepted, since its scheme is known only
/// after the `${…}` is replaced.
pub(super) fn url_with_secrets(written: &str, schemes: &[&str]) -> Result<(), Wrong> {
    let filled_in = written.starts_with("${");
    if filled_in || schemes.iter().any(|scheme| written.len() > scheme.len() && written.starts_with(scheme)) {
        return Ok(());
    }
    let all: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}`")).collect();
    Err(Wrong::new("this URL has no known scheme").help(format!("it begins with {}", all.join(" or "))))
}

fn headers(value: &Value<'_>) -> Vec<Misplaced> {
    let DeValue::Table(headers) = value.get_ref() else {
        let help = "as in { authorization = \"Bearer ${env:NAME}\" }";
        return vec![(value.span(), values::wrong_kind("a table of headers", value.get_ref()).help(help))];
    };
    let mut wrong = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for (name, value) in in_order(headers) {
        match header_name(name.get_ref()) {
            Ok(header) => {
                if seen.insert(header.as_str().to_owned(), ()).is_some() {
                    wrong.push((name.span(), Wrong::new(format!("the header `{header}` is given twice"))));
                }
            }
            Err(error) => wrong.push((name.span(), error)),
        }
        if let Err(error) = values::text(value.get_ref()) {
            wrong.push((value.span(), error));
        }
    }
    wrong
}

/// Returns the entries of a table in the order in which they stand in the file.
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Spanned<Cow<'a, str>>, &'t Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn list(value: &Value<'_>, check: impl Fn(&str) -> Result<(), Wrong>) -> Vec<Misplaced> {
    list_of("a list of strings", value, |item| values::text(item).and_then(&check))
}

fn list_of(
    what: &'static str,
    value: &Value<'_>,
    check: impl Fn(&DeValue<'_>) -> Result<(), Wrong>,
) -> Vec<Misplaced> {
    let DeValue::Array(items) = value.get_ref() else {
        return vec![(value.span(), values::wrong_kind(what, value.get_ref()))];
    };
    let judged = items.iter().map(|item| (item.span(), check(item.get_ref())));
    judged.filter_map(|(span, outcome)| outcome.err().map(|wrong| (span, wrong))).collect()
}

/// Reads a list of names of headers that are recorded with a request. Returns the names, and all mistakes in the list.
pub(super) fn stored_headers(value: &Value<'_>) -> (Vec<HeaderName>, Vec<Misplaced>) {
    let DeValue::Array(items) = value.get_ref() else {
        let help = "as in [\"accept-language\", \"x-merchant\"]";
        let error = values::wrong_kind("a list of header names", value.get_ref()).help(help);
        return (Vec::new(), vec![(value.span(), error)]);
    };
    let mut read: Vec<HeaderName> = Vec::new();
    let mut wrong = Vec::new();
    for item in items.iter() {
        match values::text(item.get_ref()).and_then(stored_header) {
            Ok(name) if read.contains(&name) => {
                wrong.push((item.span(), Wrong::new(format!("the header `{name}` is given twice"))));
            }
            Ok(name) => read.push(name),
            Err(error) => wrong.push((item.span(), error)),
        }
    }
    (read, wrong)
}

/// Reads roles of a database: a list of their names, or a table that has the name of a caller for each role. Returns
/// the roles, and all mistakes.
pub(super) fn sql_roles(value: &Value<'_>) -> (SqlRoles, Vec<Misplaced>) {
    let (mut read, mut wrong) = (SqlRoles::new(), Vec::new());
    let mut add = |role: &str, caller: Option<&str>| {
        if role.is_empty() || role.len() > 63 || role.chars().any(char::is_control) {
            return Err(Wrong::new("the name of a role has 1 to 63 bytes, and no control character"));
        }
        match read.insert(role.to_owned(), caller.map(str::to_owned)) {
            Some(_) => Err(Wrong::new("this role is given twice")),
            None => Ok(()),
        }
    };
    match value.get_ref() {
        DeValue::Array(items) => {
            for item in items.iter() {
                let one = values::text(item.get_ref()).and_then(|role| add(role, None));
                wrong.extend(one.err().map(|error| (item.span(), error)));
            }
        }
        DeValue::Table(entries) => {
            for (role, caller) in in_order(entries) {
                let name = values::text(caller.get_ref()).and_then(|name| label(name).map(|()| name));
                wrong.extend(name.as_ref().err().map(|error| (caller.span(), error.clone())));
                let one = add(role.get_ref(), name.ok());
                wrong.extend(one.err().map(|error| (role.span(), error)));
            }
        }
        other => {
            let help = "as in [\"shop\"], or { shop = \"web\" } with the name of a caller";
            wrong.push((value.span(), values::wrong_kind("a list or a table of roles", other).help(help)));
        }
    }
    (read, wrong)
}

fn host_name(name: &str) -> Result<(), Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    if name.is_empty() || !name.bytes().all(fine) {
        return Err(Wrong::new("this is not a host name")
            .help("write it without scheme, port and path: \"seawall.internal\""));
    }
    Ok(())
}

fn zone(name: &str) -> Result<(), Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_+-/".contains(&b);
    let letter = name.starts_with(|c: char| c.is_ascii_uppercase());
    if !letter || !name.bytes().all(fine) || name.ends_with('/') || !(name.contains('/') || name == "UTC") {
        return Err(Wrong::new("this is not the name of a time zone")
            .help("write an IANA name: \"Asia/Seoul\", \"UTC\""));
    }
    Ok(())
}

fn label(name: &str) -> Result<(), Wrong> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(Wrong::new("a name is 1 to 64 letters, digits, -, _ and .")
            .help("it is a label of metrics and logs"));
    }
    Ok(())
}

/// Returns which calls share one guard (a breaker or a limit), read from a text: `endpoint`, `operation`, `header:NAME`
/// or `path:{name}`. Any other text is a mistake.
pub(super) fn guard_key(written: &str) -> Result<GuardKey, Wrong> {
    let forms = ["endpoint", "operation", "header:NAME", "path:{name}"];
    match written.split_once(':') {
        None if written == "endpoint" => Ok(GuardKey::Endpoint),
        None if written == "operation" => Ok(GuardKey::Operation),
        Some(("header", name)) => key_header(name),
        Some(("path", part)) => match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.is_empty() => Ok(GuardKey::Path(name.to_owned())),
            _ => Err(Wrong::new("a part of the path stands in braces").help("as in \"path:{tenant}\"")),
        },
        _ => Err(Wrong::new(format!(
            "{} is not something to keep a guard for",
            quoted(written, forms, "this")
        ))
        .help(advice(written, forms))),
    }
}

/// Returns the guard key for the header of this name. A header with credentials is refused, since the values of keys
/// are kept in memory and shown by the admin side.
fn key_header(name: &str) -> Result<GuardKey, Wrong> {
    let secret = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];
    let name: HeaderName = name
        .parse()
        .map_err(|_| Wrong::new("this is not a header name").help("as in \"header:x-tenant\""))?;
    if secret.contains(&name) {
        return Err(Wrong::new(format!("`{name}` carries secrets, and the values of a key are shown"))
            .help("take a header that names the tenant or the shard"));
    }
    Ok(GuardKey::Header(name))
}

/// Reads a JSON body whose texts may have holes, such as `{key}`. Returns the body, and all mistakes in it.
pub(super) fn json(value: &Value<'_>, purpose: Purpose) -> (JsonTemplate, Vec<Misplaced>) {
    let mut wrong = Vec::new();
    let body = json_value(value, purpose, &mut wrong);
    (body, wrong)
}

fn json_value(value: &Value<'_>, purpose: Purpose, wrong: &mut Vec<Misplaced>) -> JsonTemplate {
    let mut plain = |outcome: Result<serde_json::Value, Wrong>| {
        let kept = outcome.map_err(|error| wrong.push((value.span(), error)));
        JsonTemplate::Plain(kept.unwrap_or(serde_json::Value::Null))
    };
    match value.get_ref() {
        DeValue::String(text) => match Template::parse(text, purpose) {
            Ok(template) => JsonTemplate::Text(template),
            Err(error) => plain(Err(error)),
        },
        DeValue::Integer(_) => plain(values::integer(value.get_ref()).map(Into::into)),
        DeValue::Float(_) => plain(values::number(value.get_ref()).map(Into::into)),
        DeValue::Boolean(flag) => plain(Ok((*flag).into())),
        DeValue::Datetime(_) => plain(Err(Wrong::new("JSON has no dates").help("write it as a string"))),
        DeValue::Array(items) => {
            JsonTemplate::List(items.iter().map(|item| json_value(item, purpose, wrong)).collect())
        }
        DeValue::Table(fields) => {
            let field = |(name, value): (&Spanned<_>, &Value<'_>)| {
                let name: &Cow<'_, str> = name.get_ref();
                (name.to_string(), json_value(value, purpose, wrong))
            };
            JsonTemplate::Object(fields.iter().map(field).collect())
        }
    }
}

/// Reads headers whose values may have holes, such as `{request-header:x-tenant}`, in the order of the file. Returns
/// the headers, and all mistakes in them.
pub(super) fn header_templates(value: &Value<'_>, purpose: Purpose) -> (Vec<HeaderTemplate>, Vec<Misplaced>) {
    let DeValue::Table(headers) = value.get_ref() else {
        let help = "as in { x-merchant = \"{request-header:x-merchant}\" }";
        let error = values::wrong_kind("a table of headers", value.get_ref()).help(help);
        return (Vec::new(), vec![(value.span(), error)]);
    };
    let mut read: Vec<HeaderTemplate> = Vec::new();
    let mut wrong = Vec::new();
    for (name, value) in in_order(headers) {
        let header = match stored_header(name.get_ref()) {
            Ok(header) if read.iter().any(|other| *other.name() == header) => {
                wrong.push((name.span(), Wrong::new(format!("the header `{header}` is given twice"))));
                continue;
            }
            Ok(header) => header,
            Err(error) => {
                wrong.push((name.span(), error));
                continue;
            }
        };
        match values::text(value.get_ref()).and_then(|text| HeaderTemplate::parse(header, text, purpose)) {
            Ok(header) => read.push(header),
            Err(error) => wrong.push((value.span(), error)),
        }
    }
    (read, wrong)
}

/// Reads the fields of a form whose values may have holes, such as `{key}`, in the order of the file. Returns the form,
/// and all mistakes in it.
pub(super) fn form(value: &Value<'_>, purpose: Purpose) -> (FormTemplate, Vec<Misplaced>) {
    let mut form = FormTemplate::default();
    let DeValue::Table(fields) = value.get_ref() else {
        let help = "as in { orderId = \"{key}\" }";
        let error = values::wrong_kind("a table of fields", value.get_ref()).help(help);
        return (form, vec![(value.span(), error)]);
    };
    let mut wrong = Vec::new();
    for (name, value) in in_order(fields) {
        match form_value(value.get_ref()).and_then(|text| Template::parse(&text, purpose)) {
            Ok(template) => {
                wrong.extend(form.push(name.get_ref(), template).err().map(|error| (name.span(), error)));
            }
            Err(error) => wrong.push((value.span(), error)),
        }
    }
    (form, wrong)
}

/// Returns the value of a field as the text that is sent. A value that has no such text, such as a float, is a mistake.
fn form_value<'a>(found: &'a DeValue<'_>) -> Result<Cow<'a, str>, Wrong> {
    match found {
        DeValue::String(text) => Ok(Cow::Borrowed(text)),
        DeValue::Integer(_) => values::integer(found).map(|number| Cow::Owned(number.to_string())),
        DeValue::Boolean(flag) => Ok(Cow::Borrowed(if *flag { "true" } else { "false" })),
        // A float is refused: it would not be sent with the digits of the file, since `1.10` would become `1.1`.
        DeValue::Float(_) => {
            Err(Wrong::new("a form keeps no float as it was written").help("write it as a string: \"1.10\""))
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(values::wrong_kind("a string, a whole number or true or false", found))
        }
    }
}
