//! Says in words what a reload changed: which dependency, and which of its settings. The values of settings are never
//! shown.

use crate::config::{Dependency, Gateway, Operation, Settings};

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The names of the dependencies that were removed.
    pub removed: Vec<String>,
    /// All other changes, one line each.
    pub others: Vec<String>,
}

impl Changes {
    /// Returns the differences between two configurations. `kept` is called with the name of each dependency that only
    /// the new configuration has. It must return whether the gateway still keeps the state of an earlier dependency of
    /// this name, for example of one that a reload removed five minutes ago.
    pub(crate) fn between(old: &Settings, new: &Settings, kept: impl Fn(&str) -> bool) -> Changes {
        let mut changes = Changes::default();
        let mut say = |what: &str, fields: Vec<String>| {
            if !fields.is_empty() {
                changes.others.push(format!("{what}: {}", fields.join(", ")));
            }
        };
        say("gateway", gateway(&old.gateway, &new.gateway));
        say("ledger", fields(old.ledger != new.ledger, &[("settings", true)]));
        for before in &old.dependencies {
            if let Some(now) = named(new, &before.name) {
                say(&format!("dependency `{}`", before.name), dependency(before, now));
            }
        }
        for now in new.dependencies.iter().filter(|now| named(old, &now.name).is_none()) {
            let state = if kept(&now.name) { " again, with the state that it had" } else { "" };
            changes.others.push(format!("dependency `{}`: added{state}", now.name));
        }
        let gone = old.dependencies.iter().filter(|before| named(new, &before.name).is_none());
        changes.removed = gone.map(|before| before.name.clone()).collect();
        changes
    }

    /// Returns all changes, one line each.
    pub fn lines(&self) -> Vec<String> {
        let removed = self.removed.iter().map(|name| format!("dependency `{name}`: removed"));
        removed.chain(self.others.iter().cloned()).collect()
    }
}

/// Returns, in words, the dependencies, endpoints and operations that are in the old configuration and not in the new
/// one.
pub(crate) fn losses(old: &Settings, new: &Settings) -> Vec<String> {
    let mut losses = Vec::new();
    for before in &old.dependencies {
        let name = &before.name;
        let Some(now) = named(new, name) else {
            losses.push(format!("dependency `{name}`"));
            continue;
        };
        if now.endpoints.len() < before.endpoints.len() {
            losses.push(format!("an endpoint of `{name}`"));
        }
        let lost =
            before.operations.iter().filter(|it| !now.operations.iter().any(|new| new.name == it.name));
        losses.extend(lost.map(|it| format!("operation `{}` of `{name}`", it.name)));
    }
    losses
}

fn named<'a>(settings: &'a Settings, name: &str) -> Option<&'a Dependency> {
    settings.dependencies.iter().find(|dependency| dependency.name == name)
}

/// Returns the names of the settings that differ between two values. `all` has the names of some settings, each with
/// whether it differs. `differs` says whether the two values differ at all. If they do, but none of the settings in
/// `all` differs, the result is `other settings`.
fn fields(differs: bool, all: &[(&str, bool)]) -> Vec<String> {
    let mut found: Vec<String> =
        all.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect();
    if found.is_empty() && differs {
        found.push("other settings".to_owned());
    }
    if differs { found } else { Vec::new() }
}

fn gateway(old: &Gateway, new: &Gateway) -> Vec<String> {
    fields(
        old != new,
        &[
            ("listen", old.listen != new.listen),
            ("admin", old.admin != new.admin),
            ("workers", old.workers != new.workers),
            ("instances", old.instances != new.instances),
            ("drain", old.drain != new.drain),
            ("hosts", old.hosts != new.hosts),
            ("clients", old.clients != new.clients),
            ("admin_token_file", old.admin_token_file != new.admin_token_file),
            ("limits", old.limits != new.limits),
        ],
    )
}

fn dependency(old: &Dependency, new: &Dependency) -> Vec<String> {
    let urls = |it: &Dependency| it.endpoints.iter().map(|endpoint| endpoint.url.clone()).collect::<Vec<_>>();
    let headers =
        |it: &Dependency| it.endpoints.iter().map(|endpoint| endpoint.headers.clone()).collect::<Vec<_>>();
    let operations = operations(&old.operations, &new.operations);
    let other_than_operations = Dependency { operations: old.operations.clone(), ..new.clone() } != *old;
    let mut found = fields(
        other_than_operations,
        &[
            ("url", urls(old) != urls(new)),
            ("headers", headers(old) != headers(new)),
            ("listen", old.listen != new.listen),
            ("health", old.health != new.health),
            ("keys", old.keys != new.keys),
            ("key", old.key != new.key),
            ("key_scope", old.key_scope != new.key_scope),
            ("http", old.http != new.http),
            ("proxy", old.proxy != new.proxy),
            ("bind", old.bind != new.bind),
            ("tls", old.tls != new.tls),
            ("deadline_header", old.deadline_header != new.deadline_header),
            ("dangerous", old.dangerous != new.dangerous),
            ("budget", old.budget != new.budget),
            ("concurrency", old.concurrency != new.concurrency),
            ("breaker", old.breaker != new.breaker),
            ("pool", old.pool != new.pool),
            ("answer", old.answer != new.answer),
            ("dns", old.dns != new.dns),
            ("reconcile", old.reconcile != new.reconcile),
            ("overload", old.overload != new.overload),
            ("cooldown", old.cooldown != new.cooldown),
            ("timeout", old.fallback.timeout != new.fallback.timeout),
            ("retry", old.fallback.retry != new.fallback.retry),
            ("slow_call", old.fallback.slow_call != new.fallback.slow_call),
        ],
    );
    found.extend(operations);
    found
}

fn operations(old: &[Operation], new: &[Operation]) -> Vec<String> {
    let find = |all: &[Operation], name: &str| all.iter().find(|it| it.name == name).cloned();
    let mut found = Vec::new();
    for before in old {
        let name = &before.name;
        match find(new, name) {
            None => found.push(format!("operation `{name}` removed")),
            Some(now) => {
                let fields = operation(before, &now);
                if !fields.is_empty() {
                    found.push(format!("operation `{name}` ({})", fields.join(", ")));
                }
            }
        }
    }
    let added = new.iter().filter(|now| find(old, &now.name).is_none());
    found.extend(added.map(|now| format!("operation `{}` added", now.name)));
    if found.is_empty() && old != new {
        found.push("the order of operations".to_owned());
    }
    found
}

fn operation(old: &Operation, new: &Operation) -> Vec<String> {
    fields(
        old != new,
        &[
            ("match", old.pattern != new.pattern),
            ("idempotency", old.idempotency != new.idempotency),
            ("timeout", old.timeout != new.timeout),
            ("retry", old.retry != new.retry),
            ("slow_call", old.slow_call != new.slow_call),
            ("refuses", old.refuses != new.refuses),
            ("answers", old.answers != new.answers),
            ("confirm", old.confirm != new.confirm),
            ("cancel", old.cancel != new.cancel),
            ("durable", old.durable != new.durable),
            ("key_lifetime", old.key_lifetime != new.key_lifetime),
            ("amount", old.amount != new.amount),
            ("key", old.taken.key != new.taken.key),
            ("keep_headers", old.taken.headers != new.taken.headers),
            ("credentials", old.taken.credentials != new.taken.credentials),
            ("sql_roles", old.taken.sql_roles != new.taken.sql_roles),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn settings(text: &str) -> Settings {
        let env = |name: &str| Some(format!("S3CRET-{name}"));
        config::parse("test", text, &env).unwrap_or_else(|report| panic!("{report}")).settings
    }

    const BEFORE: &str = "[dependency.pay]\nurl = \"https://pay.example\"\n\
        headers = { authorization = \"Bearer ${env:ONE}\" }\n\
        [[dependency.pay.operation]]\nname = \"charge\"\nmatch = \"POST /charges\"\n\
        [[dependency.pay.operation]]\nname = \"refund\"\nmatch = \"POST /refunds\"\n\
        [dependency.ship]\nurl = \"https://ship.example\"\n";

    fn lines(after: &str) -> Vec<String> {
        Changes::between(&settings(BEFORE), &settings(after), |_| false).lines()
    }

    #[test]
    fn each_change_is_named_and_no_value_is() {
        assert!(lines(BEFORE).is_empty());
        let cases = [
            (BEFORE.replace("ONE", "TWO"), "dependency `pay`: headers"),
            (BEFORE.replace("ship.example", "ship-two.example"), "dependency `ship`: url"),
            (format!("{BEFORE}breaker = {{ min_calls = 7 }}\n"), "dependency `ship`: breaker"),
            (format!("{BEFORE}timeout = {{ read = \"4s\" }}\n"), "dependency `ship`: timeout"),
            (BEFORE.replace("/refunds", "/refund"), "dependency `pay`: operation `refund` (match)"),
            (
                BEFORE.replace("\"refund\"", "\"undo\""),
                "dependency `pay`: operation `refund` removed, operation `undo` added",
            ),
            (format!("[gateway]\ndrain = \"9s\"\n{BEFORE}"), "gateway: drain"),
            (format!("[ledger]\nurl = \"postgres://u:S3CRET@db/x\"\n{BEFORE}"), "ledger: settings"),
            (format!("{BEFORE}[dependency.new]\nurl = \"https://new.example\"\n"), "dependency `new`: added"),
            (BEFORE.split("[dependency.ship]").next().unwrap().to_owned(), "dependency `ship`: removed"),
        ];
        for (after, says) in cases {
            assert_eq!(lines(&after), [says]);
        }
    }

    #[test]
    fn loss_is_a_dependency_an_endpoint_or_an_operation() {
        let lost = |after: &str| losses(&settings(BEFORE), &settings(after));
        assert!(lost(BEFORE).is_empty());
        assert!(lost(&BEFORE.replace("/refunds", "/refund")).is_empty(), "a changed operation is not lost");
        assert_eq!(lost(BEFORE.split("[dependency.ship]").next().unwrap()), ["dependency `ship`"]);
        let cut = BEFORE.split("[[dependency.pay.operation]]\nname = \"refund\"").next().unwrap();
        assert_eq!(lost(cut), ["operation `refund` of `pay`", "dependency `ship`"]);
        let two = "[[dependency.a.endpoint]]\nurl = \"http://a.example\"\n[[dependency.a.endpoint]]\nurl = \"http://b.example\"\n";
        let one = "[[dependency.a.endpoint]]\nurl = \"http://a.example\"\n";
        assert_eq!(losses(&settings(two), &settings(one)), ["an endpoint of `a`"]);
    }
}
