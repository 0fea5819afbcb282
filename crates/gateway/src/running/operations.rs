//! Finds the operation that a request belongs to, and what all calls of that operation have in common.
//!
//! Servers read some paths in several ways: many take `/v1/./charges` for `/v1/charges`. So a request is matched under
//! every *reading* of its path ([`crate::paths`]), and what the file declares for `/v1/charges` holds for
//! `/v1/./charges` too.
//!
//! This has a danger. An operation may allow more than its method does, for example `keyed` for a POST. It would then
//! allow this also for paths that the file does not name. So a request whose path matches the operation only in another
//! reading gets everything that the operation declares, except the idempotency. Its idempotency is the most careful of
//! these:
//!
//! - That of the operation.
//! - That of every other operation that matches in some reading.
//! - That of the request without any operation.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method};
use matchit::{Match, Router};
use seawall_client::Clock;
use seawall_ledger::{Lifetime, Stamp};
use seawall_policy::{Idempotency, Keys, Plan, Rules, Time};

use super::durable::DurableOperation;
use crate::config;
use crate::paths::Readings;

/// The operations of one dependency.
pub(crate) struct Operations {
    declared: Vec<CompiledOperation>,
    routers: Vec<(Method, Router<usize>)>,
    /// The operations for requests that match no declared one: one for each idempotency, in the order of
    /// [`Idempotency::ALL`].
    fallback: [CompiledOperation; 4],
    /// Whether a POST or PATCH that matches no operation counts as `keyed` if it has an `Idempotency-Key` header.
    keys: bool,
    /// Whether calls whose idempotency is `none` are repeated like idempotent calls.
    retry_none: bool,
}

/// One compiled operation.
#[derive(Clone, Debug)]
struct CompiledOperation {
    /// The operation's name; `other` for requests that match no operation.
    name: Arc<str>,
    /// The declared idempotency. The plan may have another one, because of `dangerous.retry_none`.
    idempotency: Idempotency,
    plan: Arc<Plan>,
    /// The maximum number of bytes of a request's body that are kept for a repeat.
    keep: usize,
    /// How long the provider remembers an idempotency key. A call is not repeated after that time. `None` if every
    /// repeat within a call surely comes before that time.
    forgets: Option<Lifetime>,
    /// Says which requests share a guard: the first value is for the breaker, the second for the limit.
    filed: [Filed; 2],
    /// How the operation's requests are recorded. `None` if the operation is not durable.
    durable: Option<Arc<DurableOperation>>,
}

/// Says which requests of an operation share a guard.
#[derive(Clone, Debug)]
enum Filed {
    /// All requests to the endpoint share a guard, which has no key.
    Endpoint,
    /// All requests of this operation share a guard.
    Operation,
    /// Requests with the same value of this header share a guard.
    Header(HeaderName),
    /// Requests with the same value of this part of the path share a guard: for example `tenant`, if the operation's
    /// pattern is `POST /{tenant}/charges`.
    Path(String),
}

/// The maximum length of a guard's key, in bytes. It bounds the memory for keys, and the length of what is shown to
/// operators. A request with a longer key uses the endpoint's own guard, as if it had no key.
const MOST_KEY: usize = 128;

/// What one request gets from its operation: the plan, the buffer for repeats, and the keys of its guards.
#[derive(Debug)]
pub(crate) struct FoundOperation<'a> {
    /// The settings that all calls of the operation have in common. They are usually borrowed: a counted reference
    /// would cost more, because all workers would change the same counter.
    pub(crate) plan: Cow<'a, Arc<Plan>>,
    /// The maximum number of bytes of the request's body that are kept for a repeat.
    pub(crate) keep: usize,
    /// The keys of the request's breaker and of its limit.
    pub(crate) keys: Keys,
    /// How long the provider remembers an idempotency key. A call is not repeated after that time. `None` if every
    /// repeat within a call surely comes before that time.
    pub(crate) forgets: Option<&'a Lifetime>,
    /// How the request is recorded. `None` if the operation is not durable.
    pub(crate) durable: Option<&'a Arc<DurableOperation>>,
    /// Whether some servers may take the request's path for another path, for which a more careful idempotency holds
    /// than for this operation. A durable request with such a path is refused, because its record would rely on the
    /// idempotency of this operation.
    pub(crate) is_doubtful: bool,
}

/// How late a repeat may arrive at the provider after its own timeout. It is the sum of two defaults of the ledger, 5 s
/// each: the time that a request may travel (`network`), and the time for which the process may stand still (`pause`).
const TRAVEL: Duration = Duration::from_secs(10);

impl FoundOperation<'_> {
    /// Returns the time after which a call must not be repeated any more, because the provider might have forgotten its
    /// key when the repeat arrives. The key is first sent now. Returns `None`, and does not read the clock, if
    /// `forgets` is `None`.
    pub(crate) fn repeat_by(&self, clock: Clock) -> Option<Time> {
        let lifetime = self.forgets?;
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Stamp::from_micros(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX));
        Some(clock.now().saturating_add(remembered(lifetime, wall)))
    }
}

/// Returns for how long after `now` a call may be repeated. The call's key is first sent at `now`. The returned time is
/// the time until the provider forgets the key, less the time that a repeat needs to arrive ([`TRAVEL`]).
fn remembered(lifetime: &Lifetime, now: Stamp) -> Duration {
    lifetime.end(now).since(now).saturating_sub(TRAVEL)
}

/// Returns how long the provider remembers a key, if a call must not be repeated after that time. Only two kinds of
/// keyed operations have this bound:
///
/// - The provider forgets its keys at a time of day, which may come in the middle of a call.
/// - The provider answers a repeat with "duplicate" instead of its saved answer (the setting `duplicate`).
///
/// In all other cases the result is `None`: the keys live longer than any usual call, so only the ledger needs their
/// lifetime.
fn forgets(operation: &config::Operation) -> Option<Lifetime> {
    let keyed = operation.idempotency == Idempotency::Keyed;
    let lifetime = operation.key_lifetime.as_ref().filter(|_| keyed)?;
    let ends = matches!(lifetime, Lifetime::Daily(_)) || !operation.answers.duplicate.is_empty();
    ends.then(|| lifetime.clone())
}

impl Operations {
    /// Compiles the operations of a dependency, and returns them.
    ///
    /// # Errors
    /// If two patterns match the same requests. The error says so in words.
    pub(crate) fn new(settings: &config::Dependency, ledger: &config::Ledger) -> Result<Operations, String> {
        let filed = [Filed::of(&settings.breaker.key), Filed::of(&settings.concurrency.key)];
        let declared = settings.operations.iter().map(|operation| {
            let plan = Arc::new(operation_plan(settings, operation));
            CompiledOperation {
                name: operation.name.as_str().into(),
                idempotency: operation.idempotency,
                durable: DurableOperation::new(settings, operation, &plan, ledger).map(Arc::new),
                plan,
                keep: operation.retry.buffer,
                forgets: forgets(operation),
                filed: filed.clone(),
            }
        });
        let other: Arc<str> = "other".into();
        let fallback = Idempotency::ALL.map(|idempotency| CompiledOperation {
            name: Arc::clone(&other),
            idempotency,
            plan: Arc::new(fallback_plan(settings, idempotency)),
            keep: settings.fallback.retry.buffer,
            forgets: None,
            filed: filed.clone(),
            durable: None,
        });
        Ok(Operations {
            declared: declared.collect(),
            routers: routers(settings)?,
            fallback,
            keys: settings.keys,
            retry_none: settings.dangerous.retry_none,
        })
    }

    /// Returns the durable operations.
    pub(crate) fn durable(&self) -> impl Iterator<Item = &Arc<DurableOperation>> {
        self.declared.iter().filter_map(|operation| operation.durable.as_ref())
    }

    /// Finds the operation of a request with this method and path. If no declared operation matches, returns the
    /// operation that [`Self::undeclared`] chooses by the method. `keyed` says whether the request carries an
    /// `Idempotency-Key`.
    pub(crate) fn find(
        &self,
        method: &Method,
        readings: &Readings<'_>,
        keyed: bool,
        headers: &HeaderMap,
    ) -> FoundOperation<'_> {
        let router = self.routers.iter().find(|(known, _)| known == method).map(|(_, router)| router);
        if readings.others.is_empty() {
            return match router.and_then(|router| router.at(readings.sent).ok()) {
                Some(found) => self.declared[*found.value].found(Some(&found), headers),
                None => self.undeclared(method, keyed).found(None, headers),
            };
        }
        self.find_careful(router, readings, self.undeclared(method, keyed), headers)
    }

    /// Finds the operation for a path that some servers take for another path (its *readings*, see [`Readings`]).
    ///
    /// - The readings are tried in their order, and last the path as it was sent. The first that matches an operation
    ///   decides. If none matches, the operation is `undeclared`, which is used for requests without a declared
    ///   operation.
    /// - The idempotency is the most careful one among the operations of all readings. If the path as it was sent
    ///   matches no operation, or another one than the chosen operation, the idempotency of `undeclared` is compared,
    ///   too.
    fn find_careful<'a>(
        &'a self,
        router: Option<&Router<usize>>,
        readings: &Readings<'_>,
        undeclared: &'a CompiledOperation,
        headers: &HeaderMap,
    ) -> FoundOperation<'a> {
        let at = |path: &str| router.and_then(|router| router.at(path).ok()).map(|found| *found.value);
        let sent = at(readings.sent);
        let places: Vec<usize> =
            readings.others.iter().map(String::as_str).filter_map(at).chain(sent).collect();
        let Some(first) = places.first().copied() else { return undeclared.found(None, headers) };
        let operation = &self.declared[first];
        // Keys are taken from the reading that matched. So a tenant has one guard, even if its name comes as `a` and as
        // `%61`.
        let mut written = readings.others.iter().map(String::as_str).chain([readings.sent]);
        let reading = written.find_map(|path| router.and_then(|router| router.at(path).ok()));
        let mut found = operation.found(reading.as_ref(), headers);

        let mut idempotencies: Vec<Idempotency> =
            places.iter().map(|place| self.declared[*place].idempotency).collect();
        if sent != Some(first) {
            idempotencies.push(undeclared.idempotency);
        }
        let careful = Idempotency::ALL.iter().rev().find(|one| idempotencies.contains(one)).copied();
        let careful = careful.unwrap_or(operation.idempotency);
        if careful != operation.idempotency {
            let mut plan = Plan::clone(&operation.plan);
            plan.rules.idempotency = in_force(self.retry_none, careful);
            found.plan = Cow::Owned(Arc::new(plan));
            found.is_doubtful = true;
        }
        found
    }

    /// Returns the operation that is used for a request that matches no declared operation. Its idempotency follows
    /// from the method and from `keyed`, which says whether the request carries an `Idempotency-Key`.
    fn undeclared(&self, method: &Method, keyed: bool) -> &CompiledOperation {
        let may_be_keyed = *method == Method::POST || *method == Method::PATCH;
        let idempotency = match Idempotency::of_method(method.as_str()) {
            _ if keyed && may_be_keyed && self.keys => Idempotency::Keyed,
            promised => promised,
        };
        let [safe, idempotent, keyed, none] = &self.fallback;
        match idempotency {
            Idempotency::Safe => safe,
            Idempotency::Idempotent => idempotent,
            Idempotency::Keyed => keyed,
            Idempotency::None => none,
        }
    }
}

impl CompiledOperation {
    fn found(&self, at: Option<&Match<'_, '_, &usize>>, headers: &HeaderMap) -> FoundOperation<'_> {
        let [breaker, limit] = &self.filed;
        let keys = Keys { breaker: self.key(breaker, at, headers), limit: self.key(limit, at, headers) };
        FoundOperation {
            plan: Cow::Borrowed(&self.plan),
            keep: self.keep,
            keys,
            forgets: self.forgets.as_ref(),
            durable: self.durable.as_ref(),
            is_doubtful: false,
        }
    }

    /// Returns the key of a guard. In each of these cases the result is `None`, and the endpoint's own guard is used:
    ///
    /// - The guard is configured to have no key.
    /// - The request has no such header or part of the path.
    /// - The value is empty, or longer than `MOST_KEY`.
    fn key(
        &self,
        filed: &Filed,
        at: Option<&Match<'_, '_, &usize>>,
        headers: &HeaderMap,
    ) -> Option<Arc<str>> {
        let text = match filed {
            Filed::Endpoint => return None,
            Filed::Operation => return Some(Arc::clone(&self.name)),
            Filed::Header(name) => headers.get(name)?.to_str().ok()?,
            Filed::Path(name) => at?.params.get(name)?,
        };
        (!text.is_empty() && text.len() <= MOST_KEY).then(|| Arc::from(text))
    }
}

impl Filed {
    fn of(key: &config::GuardKey) -> Filed {
        match key {
            config::GuardKey::Endpoint => Filed::Endpoint,
            config::GuardKey::Operation => Filed::Operation,
            config::GuardKey::Header(name) => Filed::Header(name.clone()),
            config::GuardKey::Path(name) => Filed::Path(name.clone()),
        }
    }
}

/// Makes a router for each method that a pattern names. Fails if two patterns match the same requests.
fn routers(settings: &config::Dependency) -> Result<Vec<(Method, Router<usize>)>, String> {
    let mut routers: Vec<(Method, Router<usize>)> = Vec::new();
    // Patterns without an optional slash come first, since they are narrower.
    let mut in_order: Vec<_> = settings.operations.iter().enumerate().collect();
    in_order.sort_by_key(|(_, operation)| operation.pattern.slash);
    for (index, operation) in in_order {
        let pattern = &operation.pattern;
        let found = routers.iter().position(|(method, _)| *method == pattern.method);
        let at = found.unwrap_or_else(|| {
            routers.push((pattern.method.clone(), Router::new()));
            routers.len() - 1
        });
        // A pattern with an optional slash has two forms: with the slash and without it. If a narrower pattern has one
        // of these forms already, the router refuses that form, and this is no mistake.
        let shared = settings.operations.iter().any(|other| other.pattern.takes_a_form_of(pattern));
        for route in pattern.routes() {
            match routers[at].1.insert(route, index) {
                Err(_) if shared => {}
                inserted => inserted.map_err(|error| error.to_string())?,
            }
        }
    }
    Ok(routers)
}

fn operation_plan(dependency: &config::Dependency, operation: &config::Operation) -> Plan {
    let rules = Rules {
        idempotency: in_force(dependency.dangerous.retry_none, operation.idempotency),
        confirm: operation.confirm.is_some(),
        refuses: operation.refuses.clone(),
        overload: dependency.overload.clone(),
        answers: operation.answers.clone(),
    };
    Plan {
        rules,
        timeouts: operation.timeout,
        attempts: operation.retry.attempts_in_force(),
        backoff: operation.retry.backoff,
        endpoints: dependency.endpoints.len(),
        slow_call: operation.slow_call,
        after_max: operation.retry.after_max,
    }
}

fn fallback_plan(dependency: &config::Dependency, idempotency: Idempotency) -> Plan {
    let fallback = &dependency.fallback;
    Plan {
        rules: Rules {
            overload: dependency.overload.clone(),
            ..Rules::of(in_force(dependency.dangerous.retry_none, idempotency))
        },
        timeouts: fallback.timeout,
        attempts: fallback.retry.attempts_in_force(),
        backoff: fallback.retry.backoff,
        endpoints: dependency.endpoints.len(),
        slow_call: fallback.slow_call,
        after_max: fallback.retry.after_max,
    }
}

/// Returns the idempotency in force. With `dangerous.retry_none`, a call whose idempotency is `none` is treated as
/// idempotent.
fn in_force(retry_none: bool, idempotency: Idempotency) -> Idempotency {
    match idempotency {
        Idempotency::None if retry_none => Idempotency::Idempotent,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(lines: &str) -> Operations {
        let text = format!("[dependency.up]\nurl = \"http://up.example\"\n{lines}");
        let loaded = config::parse("test", &text, &|_| None).unwrap();
        Operations::new(&loaded.settings.dependencies[0], &loaded.settings.ledger).unwrap()
    }

    fn operation(name: &str, pattern: &str, idempotency: &str) -> String {
        format!(
            "[[dependency.up.operation]]\nname = \"{name}\"\nmatch = \"{pattern}\"\nidempotency = \"{idempotency}\"\n"
        )
    }

    /// Returns the name of the operation that a POST to this path belongs to, and the idempotency of that POST.
    fn post(operations: &Operations, path: &str) -> (String, Idempotency) {
        let found = operations.find(&Method::POST, &Readings::of(path), false, &HeaderMap::new());
        let name = found.keys.breaker.as_deref().unwrap_or_default().to_owned();
        (name, found.plan.rules.idempotency)
    }

    const NAMES: &str = "breaker = { key = \"operation\" }\n";

    #[test]
    fn a_wide_operation_does_not_hide_a_narrow_one_from_detours() {
        let wide = operation("wide", "POST /{*rest}", "keyed");
        let narrow = operation("narrow", "POST /v1/charges", "none");
        let both = operations(&format!("{NAMES}{wide}{narrow}"));
        let narrow = |idempotency| ("narrow".to_owned(), idempotency);
        let wide = |idempotency| ("wide".to_owned(), idempotency);
        assert_eq!(post(&both, "/v1/charges"), narrow(Idempotency::None));
        for path in ["/v1/./charges", "/v1//charges", "/v1/%63harges", "/x/../v1/charges"] {
            assert_eq!(post(&both, path), narrow(Idempotency::None), "{path}");
        }
        // Few servers read these paths as `/v1/charges`, so the request belongs to the operation `wide`, which matches
        // every POST. But a server that does read them as `/v1/charges` does what the operation `narrow` declares. So
        // the request gets the idempotency of `narrow`, and is repeated no more than a request to `narrow`.
        for path in ["/v1%2Fcharges", "/v1/charges;x"] {
            assert_eq!(post(&both, path), wide(Idempotency::None), "{path}");
        }
        for path in ["/v1/other", "/v1/a%2Fb", "/v1//", "/v1/a;b", "/v1//other"] {
            assert_eq!(post(&both, path), wide(Idempotency::Keyed), "{path}");
        }
    }

    #[test]
    fn what_no_reading_changes_keeps_its_idempotency() {
        let keyed = operations(&format!("{NAMES}{}", operation("project", "POST /projects/{id}", "keyed")));
        for path in
            ["/projects/a%2Fb", "/projects/a%2fb", "/projects/a%20b", "/projects/a;v=1", "/projects/.a"]
        {
            assert_eq!(post(&keyed, path), ("project".to_owned(), Idempotency::Keyed), "{path}");
        }
        assert_eq!(post(&keyed, "/projects//a"), ("project".to_owned(), Idempotency::None));
        assert_eq!(post(&keyed, "/projects/a/"), ("other".to_owned(), Idempotency::None));
    }

    #[test]
    fn a_detour_with_a_key_is_what_it_would_be_without_an_operation() {
        let safe = operation("search", "POST /search", "safe");
        let of = |keys: bool, keyed: bool, path: &str| {
            let operations = operations(&format!("keys = {keys}\n{safe}"));
            operations
                .find(&Method::POST, &Readings::of(path), keyed, &HeaderMap::new())
                .plan
                .rules
                .idempotency
        };
        assert_eq!(of(true, true, "/search"), Idempotency::Safe);
        assert_eq!(of(true, true, "//search"), Idempotency::Keyed);
        assert_eq!(of(true, false, "//search"), Idempotency::None);
        assert_eq!(of(false, true, "//search"), Idempotency::None);
        let careful = operations(&operation("put", "PUT /a", "none"));
        let found = careful.find(&Method::PUT, &Readings::of("//a"), false, &HeaderMap::new());
        assert_eq!(found.plan.rules.idempotency, Idempotency::None, "the operation is the more careful one");
    }

    #[test]
    fn one_tenant_has_one_key_however_it_is_written() {
        let operations = operations(&format!(
            "concurrency = {{ key = \"path:{{tenant}}\" }}\n{}",
            operation("a", "POST /t/{tenant}/x", "none")
        ));
        let key = |path: &str| {
            let found = operations.find(&Method::POST, &Readings::of(path), false, &HeaderMap::new());
            found.keys.limit.as_deref().map(str::to_owned)
        };
        for path in ["/t/acme/x", "/t/%61cme/x", "/t/acm%65/x", "//t/acme/x", "/t/./acme/x", "/t/x/../acme/x"]
        {
            assert_eq!(key(path).as_deref(), Some("acme"), "{path}");
        }
        for path in ["/t/a%2fb/x", "/t/a%2Fb/x", "/t/%61%2fb/x"] {
            assert_eq!(key(path).as_deref(), Some("a%2Fb"), "{path}");
        }
    }

    #[test]
    fn the_narrower_of_two_patterns_has_its_form_to_itself() {
        for narrow in ["POST /a", "POST /a/"] {
            let wide = operation("wide", "POST /a{/}", "keyed");
            for lines in
                [[&wide, &operation("narrow", narrow, "none")], [&operation("narrow", narrow, "none"), &wide]]
            {
                let both = operations(&format!("{NAMES}{}{}", lines[0], lines[1]));
                for path in ["/a", "/a/"] {
                    let name = if narrow.ends_with(path) { "narrow" } else { "wide" };
                    assert_eq!(post(&both, path).0, name, "{narrow} {path}");
                }
            }
        }
    }

    #[test]
    fn a_pattern_matches_however_its_text_is_encoded() {
        let encoded = operations(&format!("{NAMES}{}", operation("a", "POST /%61/b%2fc/%7b", "keyed")));
        for (path, idempotency) in [
            ("/%61/b%2fc/%7b", Idempotency::Keyed),
            ("/a/b%2Fc/%7B", Idempotency::Keyed),
            ("/%61/b%2Fc/%7b", Idempotency::None),
        ] {
            assert_eq!(post(&encoded, path), ("a".to_owned(), idempotency), "{path}");
        }
    }

    #[test]
    fn repeats_end_before_the_time_of_day_at_which_keys_are_forgotten() {
        let of = |lines: &str| {
            let operation = format!(
                "[[dependency.up.operation]]\nname = \"charge\"\nmatch = \"POST /c\"\nidempotency = \"keyed\"\n{lines}"
            );
            operations(&operation).declared[0].forgets.clone()
        };
        assert_eq!(of(""), None);
        assert_eq!(of("key_lifetime = \"1h\""), None, "no call lasts as long");
        let duplicate = of("key_lifetime = \"1h\"\nduplicate = { status = 409 }").unwrap();
        assert_eq!(remembered(&duplicate, Stamp::from_micros(0)), Duration::from_secs(3590));
        let lifetime = of("key_lifetime = \"midnight UTC\"").unwrap();
        // 86 370 seconds are 1970-01-01T23:59:30Z, half a minute before midnight.
        let at = |seconds: i64| remembered(&lifetime, Stamp::from_micros(seconds * 1_000_000));
        assert_eq!(at(86_370), Duration::from_secs(20));
        assert_eq!(at(86_395), Duration::ZERO);
        assert_eq!(at(86_400), Duration::from_secs(86_390), "from midnight on, keys live until the next one");
    }
}
