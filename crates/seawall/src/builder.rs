//! The builder of a dependency.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use seawall_client::any::Site;
use seawall_client::connect::{self, HttpVersion, Proxy};
use seawall_client::{Clock, DependencySettings, EndpointSettings, Shared};
use seawall_policy::{CoolingSettings, GuardSettings, Idempotency, Misuse, Plan, Rules, Timeouts};

use crate::dependency::{Dependency, Inner};
#[cfg(feature = "http")]
use crate::http::lines::Lines;
use crate::misuse;
use crate::settings::{AnswerHead, Breaker, Budget, Concurrency, Dns, Pool, Retry, Tls};

/// One address at which a dependency can be reached: a URL, and the headers that are sent to this URL.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Uri,
    headers: HeaderMap,
}

impl Endpoint {
    /// Makes an endpoint from an `http://` or `https://` URL. A path in the URL is put before the path of every
    /// request.
    ///
    /// # Errors
    /// If `url` is not an `http://` or `https://` URL.
    pub fn new(url: &str) -> Result<Endpoint, Misuse> {
        // The error does not contain the text of the URL, since the text may contain a password.
        let parsed: Uri =
            url.parse().map_err(|wrong| Misuse::new(format!("endpoint: not a URL ({wrong})")))?;
        connect::Target::try_from(&parsed)
            .map_err(|wrong| Misuse::new(format!("endpoint: {}", wrong.message())))?;
        Ok(Endpoint { url: parsed, headers: HeaderMap::new() })
    }

    /// Adds a header, such as credentials, to every request to this endpoint. It replaces the header of the same name
    /// that the request has. The value is never logged.
    ///
    /// # Errors
    /// If `name` is not a valid header name or `value` is not a valid header value.
    pub fn header(mut self, name: &str, value: &str) -> Result<Endpoint, Misuse> {
        let (name, value) = header(name, value)?;
        self.headers.append(name, value);
        Ok(self)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = Misuse;

    fn try_from(url: &str) -> Result<Endpoint, Misuse> {
        Endpoint::new(url)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Misuse;

    fn try_from(url: String) -> Result<Endpoint, Misuse> {
        Endpoint::new(&url)
    }
}

/// Collects the settings of a [`Dependency`]. A setting that is left out has the same default as in the gateway.
#[derive(Clone, Debug)]
#[must_use = "`build` makes the dependency"]
pub struct DependencyBuilder {
    name: String,
    endpoints: Vec<Endpoint>,
    headers: HeaderMap,
    timeouts: Timeouts,
    retry: Retry,
    budget: Budget,
    concurrency: Concurrency,
    breaker: Breaker,
    overload: Vec<u16>,
    cooldown: bool,
    pool: Pool,
    dns: Dns,
    tls: Tls,
    http: HttpVersion,
    proxy: Option<Proxy>,
    bind: Option<IpAddr>,
    deadline_header: Option<HeaderName>,
    answer_head: AnswerHead,
    answer_limit: usize,
    max_keys: u32,
    instances: u32,
}

/// The default of [`DependencyBuilder::answer_limit`], in bytes. Most answers of APIs are only kilobytes long. An
/// answer that is longer than the limit is a mistake, or should be streamed.
const ANSWER_LIMIT: usize = 16 << 20;

impl Dependency {
    /// Returns a builder for a dependency with this name. The name is shown in errors and logs.
    pub fn builder(name: impl Into<String>) -> DependencyBuilder {
        DependencyBuilder::new(name.into())
    }
}

impl DependencyBuilder {
    pub(crate) fn new(name: String) -> DependencyBuilder {
        DependencyBuilder {
            name,
            endpoints: Vec::new(),
            headers: HeaderMap::new(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            budget: Budget::default(),
            concurrency: Concurrency::default(),
            breaker: Breaker::default(),
            overload: Rules::OVERLOAD.to_vec(),
            cooldown: CoolingSettings::default().enabled,
            pool: Pool::default(),
            dns: Dns::default(),
            tls: Tls::default(),
            http: HttpVersion::default(),
            proxy: None,
            bind: None,
            deadline_header: None,
            answer_head: AnswerHead::default(),
            answer_limit: ANSWER_LIMIT,
            max_keys: GuardSettings::default().breaker_keys,
            instances: 1,
        }
    }

    /// Adds an endpoint. The endpoints are tried in the order in which they were added. HTTP calls need at least one
    /// endpoint. A call around a closure ([`Dependency::call`]) needs none. If there are several, the closure reads
    /// from [`crate::Attempt::endpoint`] which of them it is to use.
    ///
    /// # Errors
    /// If the URL is not valid.
    pub fn endpoint<E>(mut self, endpoint: E) -> Result<DependencyBuilder, Misuse>
    where
        E: TryInto<Endpoint>,
        E::Error: Into<Misuse>,
    {
        self.endpoints.push(endpoint.try_into().map_err(Into::into)?);
        Ok(self)
    }

    /// Adds a header, such as a credential, to every request to every endpoint. The value is never logged.
    ///
    /// # Errors
    /// If `name` is not a valid header name or `value` is not a valid header value.
    pub fn header(mut self, name: &str, value: &str) -> Result<DependencyBuilder, Misuse> {
        let (name, value) = header(name, value)?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// Sets how long calls may take. The defaults are described in [`Timeouts`].
    pub fn timeout(mut self, timeouts: Timeouts) -> DependencyBuilder {
        self.timeouts = timeouts;
        self
    }

    /// Sets how often and after which waits a call is repeated. The defaults are described in [`Retry`].
    pub fn retry(mut self, retry: Retry) -> DependencyBuilder {
        self.retry = retry;
        self
    }

    /// Sets the budget of repeats, which keeps repeats few when most calls fail. The defaults are described in
    /// [`Budget`].
    pub fn budget(mut self, budget: Budget) -> DependencyBuilder {
        self.budget = budget;
        self
    }

    /// Sets how many calls may be in flight at each endpoint. The defaults are described in [`Concurrency`].
    pub fn concurrency(mut self, concurrency: Concurrency) -> DependencyBuilder {
        self.concurrency = concurrency;
        self
    }

    /// Sets when the breaker opens, which means that calls to an endpoint are refused for a while. The defaults are
    /// described in [`Breaker`].
    pub fn breaker(mut self, breaker: Breaker) -> DependencyBuilder {
        self.breaker = breaker;
        self
    }

    /// Sets the statuses of answers that mean "overloaded, come back later". Such an answer can lower the limit of
    /// calls in flight, and can hold calls to the endpoint back for a while. Default: 429, 503 and 529.
    pub fn overload(mut self, statuses: impl IntoIterator<Item = u16>) -> DependencyBuilder {
        self.overload = statuses.into_iter().collect();
        self
    }

    /// Sets whether an overload answer with a time, such as `Retry-After: 5`, holds back all calls to its endpoint
    /// until that time is over. Default `true`. With `false`, only the call that got the answer waits.
    pub fn cooldown(mut self, on: bool) -> DependencyBuilder {
        self.cooldown = on;
        self
    }

    /// Sets how idle connections are kept. The defaults are described in [`Pool`].
    pub fn pool(mut self, pool: Pool) -> DependencyBuilder {
        self.pool = pool;
        self
    }

    /// Sets how long the addresses of a host name are used. The defaults are described in [`Dns`].
    pub fn dns(mut self, dns: Dns) -> DependencyBuilder {
        self.dns = dns;
        self
    }

    /// Sets which servers are trusted, and which client certificate is shown to them. The defaults are described in
    /// [`Tls`].
    pub fn tls(mut self, tls: Tls) -> DependencyBuilder {
        self.tls = tls;
        self
    }

    /// Sets the version of HTTP. Default: [`HttpVersion::Auto`].
    pub fn http_version(mut self, version: HttpVersion) -> DependencyBuilder {
        self.http = version;
        self
    }

    /// Sets the proxy through which all connections are made: `http://[user:password@]host:port`. Default: none.
    ///
    /// # Errors
    /// If `proxy` does not have this form. The error's message does not contain `proxy`, since it may contain a
    /// password.
    pub fn proxy(mut self, proxy: &str) -> Result<DependencyBuilder, Misuse> {
        self.proxy =
            Some(proxy.parse().map_err(|wrong: connect::ConfigError| Misuse::new(wrong.to_string()))?);
        Ok(self)
    }

    /// Sets the local address from which connections are made. Only endpoint addresses of the same family (IPv4 or
    /// IPv6) are used. Default: the system chooses.
    pub fn bind(mut self, address: IpAddr) -> DependencyBuilder {
        self.bind = Some(address);
        self
    }

    /// Sets the request header in which the dependency receives the remaining time of the call, in milliseconds.
    /// Default: none.
    ///
    /// # Errors
    /// If `name` is not a valid header name.
    pub fn deadline_header(mut self, name: &str) -> Result<DependencyBuilder, Misuse> {
        let name = name
            .parse()
            .map_err(|_| Misuse::new(format!("deadline_header: `{name}` is not a header's name")))?;
        self.deadline_header = Some(name);
        Ok(self)
    }

    /// Sets the maximum size of the head of an answer. A longer head ends the attempt with the reason `bad-answer`. The
    /// defaults are described in [`AnswerHead`].
    pub fn answer_head(mut self, head: AnswerHead) -> DependencyBuilder {
        self.answer_head = head;
        self
    }

    /// Sets the maximum length of an answer's body, in bytes. Default 16 MiB. If a body is longer, the methods that
    /// collect it (`bytes`, `text`, `json`) return an error.
    pub fn answer_limit(mut self, bytes: usize) -> DependencyBuilder {
        self.answer_limit = bytes;
        self
    }

    /// Sets the number of keys ([`crate::Call::key`]) that have a breaker and a limit of their own at each endpoint.
    /// All further keys share one breaker and one limit. Default 1024.
    pub fn max_keys(mut self, keys: u32) -> DependencyBuilder {
        self.max_keys = keys;
        self
    }

    /// Sets how many copies of this program run. Default 1. The number decides about repeats after a slow failure, such
    /// as a timeout: the provider may still be working on the first attempt then. Such a repeat is made only if
    /// failures are rare in the breaker's window. With up to 100 copies, the first two failures in the window count as
    /// rare, too. With more, they do not, because even one such repeat by each copy is much work for the provider.
    pub fn instances(mut self, instances: u32) -> DependencyBuilder {
        self.instances = instances;
        self
    }

    /// Checks the settings and returns the dependency. No connection is opened yet.
    ///
    /// # Errors
    /// If a setting could never work. The error names all such settings.
    pub fn build(self) -> Result<Dependency, Misuse> {
        let mut problems = self.problems();
        let clock = Clock::ticks();
        let endpoints = self.endpoints.len().max(1);
        let shared = Shared::new(self.guards(), endpoints);
        let settings = (!self.endpoints.is_empty()).then(|| self.http_side());
        if let Some(settings) = settings.clone() {
            // This client is made only as a check, and is not used. So a certificate that cannot be read is reported
            // here and not at the first call.
            let made = seawall_client::Dependency::new(settings, Arc::clone(&shared), clock);
            problems.extend(made.err().map(|wrong| wrong.to_string()));
        }
        if let Some(misuse) = Misuse::of(problems) {
            return Err(misuse);
        }
        let sites = Idempotency::ALL.map(|idempotency| Site {
            shared: Arc::clone(&shared),
            clock,
            plan: Arc::new(
                self.plan(Rules { overload: self.overload.clone(), ..Rules::of(idempotency) }, endpoints),
            ),
        });
        Ok(Dependency(Arc::new(Inner {
            name: self.name.into(),
            sites,
            timeouts: self.timeouts,
            retry: self.retry,
            #[cfg(feature = "http")]
            lines: settings.map(|settings| Lines::new(settings, shared, clock)),
            #[cfg(feature = "http")]
            answer_limit: self.answer_limit,
        })))
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.name.is_empty() {
            found.push("the name is empty; errors and logs would name nothing".to_owned());
        }
        misuse::tell("timeout", self.timeouts.problems(), &mut found);
        misuse::tell("retry", self.retry.problems(), &mut found);
        misuse::tell("budget", self.budget.0.problems(), &mut found);
        misuse::tell("concurrency", self.concurrency.problems(), &mut found);
        misuse::tell("breaker", self.breaker.0.problems(), &mut found);
        misuse::tell("pool", self.pool.0.problems(), &mut found);
        misuse::tell("dns", self.dns.0.problems(), &mut found);
        misuse::tell("answer_head", self.answer_head.problems(), &mut found);
        if self.answer_limit == 0 {
            found.push("answer_limit is 0; no answer with a body could be read".to_owned());
        }
        if self.instances == 0 {
            found.push("instances is 0; this program is one".to_owned());
        }
        for status in self.overload.iter().filter(|status| !(400..600).contains(*status)) {
            found.push(format!(
                "overload {status}: a status that can be an overload lies between 400 and 599"
            ));
        }
        found
    }

    fn plan(&self, rules: Rules, endpoints: usize) -> Plan {
        Plan {
            timeouts: self.timeouts,
            attempts: self.retry.attempts,
            backoff: self.retry.backoff,
            after_max: self.retry.after_max,
            ..Plan::new(rules, endpoints)
        }
    }

    fn guards(&self) -> GuardSettings {
        GuardSettings {
            breaker: self.breaker.0,
            cooling: CoolingSettings { enabled: self.cooldown, after_max: self.retry.after_max },
            limit: self.concurrency.limit,
            queue: self.concurrency.queue,
            breaker_keys: self.max_keys,
            limit_keys: self.max_keys,
            budget: self.budget.0,
            instances: self.instances,
        }
    }

    fn http_side(&self) -> DependencySettings {
        let connect = connect::Settings {
            proxy: self.proxy.clone(),
            bind: self.bind,
            tls: self.tls.0.clone(),
            http: self.http,
            dns: self.dns.0,
        };
        let endpoints = self.endpoints.iter().map(|endpoint| {
            let mut headers = self.headers.clone();
            for name in endpoint.headers.keys() {
                headers.remove(name);
            }
            headers.extend(endpoint.headers.clone());
            EndpointSettings { url: endpoint.url.clone(), headers }
        });
        DependencySettings {
            health: None,
            name: self.name.clone(),
            endpoints: endpoints.collect(),
            connect,
            pool: self.pool.0,
            deadline_header: self.deadline_header.clone(),
            answer: self.answer_head.0,
        }
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Misuse> {
    let name: HeaderName =
        name.parse().map_err(|_| Misuse::new(format!("header: `{name}` is not a header's name")))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Misuse::new(format!("header {name}: the value holds a character that a header may not"))
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}
