//! Reads the URL of a ledger, which may name several servers: `postgres://user@a:5432,b:5433/db`.
//!
//! The form and its rules are those of [libpq]:
//!
//! - Each server of the list has a port of its own. One without a port has the default port, and not that of the last one.
//! - The servers and ports may also stand behind the question mark, as in `?host=a,b&port=5432,5433`. There, a single port
//!   is that of all servers. Any other number of ports than that of the servers is a mistake.
//! - `target_session_attrs` may be `read-write` or `primary`. With several servers, the ledger always takes the one that
//!   takes writes.
//!
//! No message shows a part of the URL except for the names of libpq's parameters. If somebody has not encoded a `/` or a
//! `?` in a password, a part of the password seems to be the name of a server or of a parameter.
//!
//! [libpq]: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-CONNSTRING-URIS

use sqlx::postgres::PgConnectOptions;
use sqlx_core::percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::StoreError;
use crate::store::Result;

/// The maximum number of servers in a URL.
const MOST: usize = 16;

/// The parameters that sqlx reads.
const READ: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters of libpq that have no effect here. They are left out. Their names may stand in the log.
const IGNORED: [&str; 18] = [
    "connect_timeout",
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "channel_binding",
    "gssencmode",
    "sslcompression",
    "sslpassword",
    "sslcrl",
    "sslsni",
    "requirepeer",
    "krbsrvname",
    "passfile",
    "load_balance_hosts",
];

/// The servers of a URL.
#[derive(Debug)]
pub(super) struct Servers {
    /// The servers, in the order of the URL. There is at least one.
    pub(super) all: Vec<PgConnectOptions>,
    /// Whether a server must say that it takes writes before it is used. This is so if there are several.
    pub(super) must_write: bool,
    /// What the log should say of parameters that have no effect.
    ignored: Vec<String>,
}

impl Servers {
    /// Says in the log which parameters have no effect.
    pub(super) fn tell_ignored(&self) {
        for what in &self.ignored {
            tracing::warn!("the URL of the ledger's database has {what}, which has no effect");
        }
    }
}

/// One server as it is written: its name or the folder of its socket, and its port. `None` means the default.
type Written = (Option<String>, Option<u16>);

/// Reads a URL.
///
/// # Errors
///
/// If it is not valid. The message says what is wrong and what to write instead.
pub(super) fn servers(url: &str) -> Result<Servers> {
    read(url).map_err(|said| StoreError::of_url(&said))
}

fn read(url: &str) -> std::result::Result<Servers, String> {
    let (scheme, rest) = url.split_once("://").ok_or("it does not begin with `postgres://`")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let mut written: Vec<Written> = in_authority(hosts)?;
    let (mut named, mut ports, mut target) = (None, None, None);
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value =
            || percent_decode_str(value).decode_utf8().map_err(|_| "a parameter is not UTF-8".to_owned());
        match name {
            "host" | "hostaddr" => named = Some(value()?.into_owned()),
            "port" => ports = Some(value()?.into_owned()),
            "target_session_attrs" => target = Some(value()?.into_owned()),
            _ if READ.contains(&name) || name.starts_with("options[") => kept.push(pair),
            _ if IGNORED.contains(&name) => ignored.push(format!("the parameter `{name}`")),
            _ => ignored.push("a parameter that is not known".to_owned()),
        }
    }
    if let Some(named) = named {
        let hosts: Vec<Written> = named.split(',').map(|host| (Some(host.to_owned()), None)).collect();
        // As in libpq, the ports before the path hold for these servers, too.
        let before: Vec<Option<u16>> =
            std::mem::replace(&mut written, hosts).into_iter().map(|(_, port)| port).collect();
        if before.iter().any(Option::is_some) {
            let texts = before.iter().map(|port| port.map_or_else(String::new, |port| port.to_string()));
            give_ports(&mut written, &texts.collect::<Vec<_>>().join(","))?;
        }
    }
    if let Some(ports) = ports {
        give_ports(&mut written, &ports)?;
    }
    let number = written.len();
    if number > MOST {
        return Err(format!("it names {number} servers; at most {MOST} may be named"));
    }
    let nameless = |(host, _): &Written| host.as_deref().unwrap_or_default().is_empty();
    if let Some(at) = written.iter().position(nameless).filter(|_| number > 1) {
        return Err(format!("{} has no name: write one between two commas", nth(at, number)));
    }
    let must_write = must_write(target.as_deref(), number)?;
    // A URL with a user needs a host here. The parameter `host` replaces it, and without that it is the default.
    let front = format!("{scheme}://{user}{}{path}", if user.is_empty() { "" } else { "localhost" });
    let all =
        written.iter().map(|server| single(&front, &kept, server)).collect::<std::result::Result<_, _>>()?;
    Ok(Servers { all, must_write, ignored })
}

/// Reads the URL of a single server. `front` is what stands before the question mark, and `kept` has the parameters of all
/// servers.
fn single(
    front: &str,
    kept: &[&str],
    (host, port): &Written,
) -> std::result::Result<PgConnectOptions, String> {
    let mut pairs: Vec<String> = kept.iter().map(|&pair| pair.to_owned()).collect();
    if let Some(host) = host.as_deref().filter(|host| !host.is_empty()) {
        pairs.push(format!("host={}", utf8_percent_encode(host, NON_ALPHANUMERIC)));
    }
    pairs.extend(port.map(|port| format!("port={port}")));
    format!("{front}?{}", pairs.join("&")).parse::<PgConnectOptions>().map_err(|e| {
        let said = e.to_string();
        let said = said.strip_prefix("error with configuration: ").unwrap_or(&said);
        format!("{said}; in user names and passwords, write %40 for @, %2F for /, %3A for :, %3F for ? and %23 for #")
    })
}

/// Reads the servers between the user and the path.
fn in_authority(hosts: &str) -> std::result::Result<Vec<Written>, String> {
    let hosts: Vec<&str> = hosts.split(',').collect();
    let one = |(at, host): (usize, &&str)| {
        // The colons of an IPv6 address stand in brackets.
        let named_until = host.rfind(']').map_or(0, |end| end + 1);
        let (name, port) = match host[named_until..].find(':') {
            Some(colon) => (&host[..named_until + colon], Some(&host[named_until + colon + 1..])),
            None => (*host, None),
        };
        let name = percent_decode_str(name).decode_utf8();
        let name = name.map_err(|_| format!("the name of {} is not UTF-8", nth(at, hosts.len())))?;
        Ok((Some(name.into_owned()), port.map_or(Ok(None), |port| read_port(port, at, hosts.len()))?))
    };
    hosts.iter().enumerate().map(one).collect()
}

/// Gives the servers the ports of the parameter `port`.
fn give_ports(servers: &mut [Written], ports: &str) -> std::result::Result<(), String> {
    let (ports, number): (Vec<&str>, usize) = (ports.split(',').collect(), servers.len());
    if ports.len() != 1 && ports.len() != number {
        return Err(format!(
            "it names {number} servers and {} ports: write one port for each server, or one for all",
            ports.len()
        ));
    }
    for (at, (server, port)) in servers.iter_mut().zip(ports.iter().cycle()).enumerate() {
        server.1 = read_port(port, at, number)?;
    }
    Ok(())
}

fn read_port(port: &str, at: usize, number: usize) -> std::result::Result<Option<u16>, String> {
    if port.is_empty() {
        return Ok(None);
    }
    let read = port.parse().ok().filter(|port: &u16| *port > 0);
    let said = "a number from 1 to 65535 (if a password has a : or an @, write %3A or %40 for it)";
    read.map(Some).ok_or_else(|| format!("the port of {} is not {said}", nth(at, number)))
}

/// Returns whether a server must say that it takes writes.
fn must_write(target: Option<&str>, number: usize) -> std::result::Result<bool, String> {
    match target {
        None => Ok(number > 1),
        Some("read-write" | "primary") => Ok(true),
        Some("any") if number == 1 => Ok(false),
        Some(_) => Err("its `target_session_attrs` is not `read-write`: the ledger needs the server that takes writes, so \
                        write `read-write` or leave it out"
            .to_owned()),
    }
}

fn nth(at: usize, number: usize) -> String {
    if number == 1 { "the server".to_owned() } else { format!("server {} of {number}", at + 1) }
}

#[cfg(test)]
mod tests {
    use super::super::hosts::address;
    use super::*;

    fn read_all(url: &str) -> String {
        let servers = servers(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        let one = |server: &PgConnectOptions| format!("{}@{}", server.get_username(), address(server));
        let all: Vec<String> = servers.all.iter().map(one).collect();
        format!("{}{}", all.join(" "), if servers.must_write { " that writes" } else { "" })
    }

    #[test]
    fn a_url_names_one_server_or_several_as_for_libpq() {
        let table = [
            ("postgres://me@a/db", "me@a:5432"),
            ("postgresql://me@a:6000/db?target_session_attrs=read-write", "me@a:6000 that writes"),
            ("postgres://me@a/db?target_session_attrs=any", "me@a:5432"),
            ("postgres://me:p%2C%40@a:5432,b:5433/db?sslmode=require", "me@a:5432 me@b:5433 that writes"),
            ("postgres://me@a,b,c:6000/db", "me@a:5432 me@b:5432 me@c:6000 that writes"),
            ("postgres://me@/db?host=a,b&port=6000", "me@a:6000 me@b:6000 that writes"),
            ("postgres://me@localhost:6000/db?host=a,b", "me@a:6000 me@b:6000 that writes"),
            ("postgres:///db?user=me&host=a,b&port=6000,", "me@a:6000 me@b:5432 that writes"),
            ("postgres://me@a,b/db?port=1,2&connect_timeout=3", "me@a:1 me@b:2 that writes"),
            ("postgres://me@[::1],[::2]:7/db", "me@[::1]:5432 me@[::2]:7 that writes"),
            ("postgres://me@%2Ftmp%2Fx:7/db", "me@/tmp/x:7"),
            ("postgres://me@localhost/db?host=/tmp/x,/tmp/y", "me@/tmp/x:5432 me@/tmp/y:5432 that writes"),
        ];
        for (url, expected) in table {
            assert_eq!(read_all(url), expected, "{url}");
        }
    }

    #[test]
    fn a_mistake_in_a_url_is_said_without_the_password() {
        let table = [
            ("postgres://me:S3CRET@a,,c/db", "server 2 of 3 has no name"),
            ("postgres://me:S3CRET@a:1,b:x/db", "the port of server 2 of 2 is not a number from 1 to 65535"),
            ("postgres://me:S3CRET@a:0/db", "the port of the server is not a number"),
            ("postgres://me:S3/CRET@a/db", "the port of the server is not a number"),
            ("postgres://me:S3CRET@a,b/db?port=1,2,3", "2 servers and 3 ports"),
            (
                "postgres://me:S3CRET@a,b/db?target_session_attrs=standby",
                "write `read-write` or leave it out",
            ),
            ("postgres://me:S3CRET@a,b/db?target_session_attrs=any", "write `read-write` or leave it out"),
            ("postgres://me:S3CRET@a/db?sslmode=sometimes", "sslmode"),
        ];
        for (url, expected) in table {
            let said = servers(url).expect_err(url).to_string().replace("ssl_mode", "sslmode");
            assert!(said.starts_with("the URL of the ledger's database is wrong: "), "{url}: {said}");
            assert!(said.contains(expected), "{url}: {said}");
            assert!(!said.contains("S3") && !said.contains("CRET"), "{url}: {said}");
        }
    }
}
