//! Starts everything that the stories need: the upstreams, and the gateway in front of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::needs::{node_folder, python};
use crate::process::{Outcome, Server, free_port, on_path, output, root, target};

/// The maximum time that a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The size in bytes of the file that nginx serves, and that the stories about large downloads and uploads transfer.
pub(super) const LARGE_BYTES: usize = 8 * 1024 * 1024;

/// The running servers and their addresses. The gateway is the first field, because fields are dropped in order and the
/// gateway must end before the upstreams.
pub(super) struct World {
    _gateway: Server,
    _upstreams: Vec<Server>,
    pub(super) folder: PathBuf,
    /// The path of the gateway's program.
    pub(super) program: PathBuf,
    ports: Ports,
}

struct Ports {
    gateway: u16,
    /// The port on which the gateway forwards every request to the dependency `stripe`.
    stripe_listen: u16,
    nginx: u16,
    nginx_tls: u16,
    httpbin: u16,
    stripe: u16,
    node: u16,
}

impl World {
    /// Starts the upstreams and the gateway whose program is given, waits until all of them answer, and returns them.
    pub(super) fn start(program: &Path) -> Outcome<World> {
        let folder = target().join("stories");
        fs::create_dir_all(folder.join("files")).map_err(|e| format!("{}: {e}", folder.display()))?;
        let ports = Ports {
            gateway: free_port()?,
            stripe_listen: free_port()?,
            nginx: free_port()?,
            nginx_tls: free_port()?,
            httpbin: free_port()?,
            stripe: free_port()?,
            node: free_port()?,
        };
        certify(&folder)?;
        let mut upstreams = vec![
            nginx(&folder, &ports)?,
            httpbin(&folder, ports.httpbin)?,
            script(&folder, "localstripe", &python(), "pay_provider.py", ports.stripe)?,
            script(&folder, "node", &found("node")?, "upstream.mjs", ports.node)?,
        ];
        upstreams[0].ready(ports.nginx, "/small", PATIENCE)?;
        upstreams[1].ready(ports.httpbin, "/status/200", PATIENCE)?;
        // localstripe refuses every request without a key, except a request for this path.
        upstreams[2].ready(ports.stripe, "/js.stripe.com/v3/", PATIENCE)?;
        upstreams[3].ready(ports.node, "/", PATIENCE)?;

        let admin = free_port()?;
        let file = folder.join("seawall.toml");
        write(&file, &settings(&ports, admin, &folder))?;
        let args = ["serve".into(), "-c".into(), file.into_os_string()];
        let log = folder.join("gateway.log");
        let mut gateway = Server::start("seawall", None, program, &args, &log, false)?;
        gateway.ready(admin, "/readyz", PATIENCE)?;
        Ok(World { _gateway: gateway, _upstreams: upstreams, folder, program: program.to_path_buf(), ports })
    }

    /// Returns the URL of a path at a dependency, through the gateway.
    pub(super) fn through(&self, dependency: &str, path: &str) -> String {
        format!("http://127.0.0.1:{}/{dependency}{path}", self.ports.gateway)
    }

    /// Returns the port on which the gateway forwards every request to the dependency `stripe`.
    pub(super) fn stripe_listen(&self) -> u16 {
        self.ports.stripe_listen
    }

    /// Returns the URL of a path at localstripe itself, without the gateway.
    pub(super) fn stripe_direct(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.stripe)
    }

    /// Returns the URL of a path at nginx itself, without the gateway.
    pub(super) fn nginx_direct(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.nginx)
    }

    /// Returns the last 20 lines of the gateway's log.
    pub(super) fn gateway_log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Returns the path of a file in `xtask/stories`.
pub(super) fn story_file(name: &str) -> PathBuf {
    root().join("xtask").join("stories").join(name)
}

pub(super) fn write(file: &Path, text: &str) -> Outcome<()> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

pub(super) fn found(name: &str) -> Outcome<PathBuf> {
    on_path(name).ok_or_else(|| format!("{name} is not installed"))
}

fn script(folder: &Path, name: &str, program: &Path, file: &str, port: u16) -> Outcome<Server> {
    let args = [story_file(file).into_os_string(), port.to_string().into()];
    Server::start(name, None, program, &args, &folder.join(format!("{name}.log")), false)
}

fn httpbin(folder: &Path, port: u16) -> Outcome<Server> {
    let bind = format!("127.0.0.1:{port}");
    let args = ["-m", "gunicorn", "--bind", &bind, "--threads", "16", "--keep-alive", "5", "httpbin:app"];
    Server::start("httpbin", None, &python(), &args, &folder.join("httpbin.log"), false)
}

/// Creates a private CA in `folder`, and a certificate for localhost and 127.0.0.1 that this CA has signed.
fn certify(folder: &Path) -> Outcome<()> {
    let openssl = |words: &str| output(Command::new("openssl").args(words.split(' ')).current_dir(folder));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=story-ca"))?;
    let name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
    let role = "-addext basicConstraints=critical,CA:FALSE";
    openssl(&format!(
        "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem {name} {role}"
    ))?;
    Ok(())
}

fn nginx(folder: &Path, ports: &Ports) -> Outcome<Server> {
    write(&folder.join("files").join("small"), "a small answer\n")?;
    let large: Vec<u8> = (0..LARGE_BYTES).map(|n| (n % 251) as u8).collect();
    let file = folder.join("files").join("large");
    fs::write(&file, large).map_err(|e| format!("{}: {e}", file.display()))?;
    let text = format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    gzip on;
    gzip_types application/octet-stream;
    server {{
        listen 127.0.0.1:{plain};
        root {folder}/files;
    }}
    server {{
        listen 127.0.0.1:{tls} ssl http2;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        root {folder}/files;
    }}
}}
",
        folder = folder.display(),
        plain = ports.nginx,
        tls = ports.nginx_tls
    );
    let file = folder.join("nginx.conf");
    write(&file, &text)?;
    let args = ["-c".into(), file.into_os_string()];
    Server::start("nginx", None, &found("nginx")?, &args, &folder.join("nginx.log"), false)
}

/// Returns the gateway's configuration. A story that uses up the retry budget or opens a breaker has a dependency of
/// its own, so that the other stories are not affected.
fn settings(ports: &Ports, admin: u16, folder: &Path) -> String {
    let Ports { gateway, stripe_listen, nginx, nginx_tls, httpbin, stripe, node } = ports;
    let folder = folder.display();
    format!(
        r#"[gateway]
listen = "127.0.0.1:{gateway}"
admin = "127.0.0.1:{admin}"
workers = 2

[dependency.fast]
url = "http://127.0.0.1:{nginx}"

[dependency.bin]
url = "http://127.0.0.1:{httpbin}"

[dependency.failing]
url = "http://127.0.0.1:{httpbin}"

[dependency.slow]
url = "http://127.0.0.1:{httpbin}"
timeout = {{ read = "500ms", total = "3s" }}

[dependency.stripe]
url = "http://127.0.0.1:{stripe}"
listen = "127.0.0.1:{stripe_listen}"

[dependency.private]
url = "https://localhost:{nginx_tls}"
http = "auto"
tls = {{ ca_file = "{folder}/ca.pem" }}

[dependency.private_old]
url = "https://127.0.0.1:{nginx_tls}"
http = "1.1"
tls = {{ ca_file = "{folder}/ca.pem" }}

[dependency.stranger]
url = "https://localhost:{nginx_tls}"

[dependency.node]
url = "http://127.0.0.1:{node}"
"#
    )
}

/// Returns the command that runs the story of the Node SDK.
pub(super) fn node_sdk(port: u16) -> Outcome<Command> {
    let mut command = Command::new(found("node")?);
    command.arg(story_file("sdk.mjs")).arg(node_folder()).arg(port.to_string());
    Ok(command)
}

/// Returns the command that runs the story of the Python SDK.
pub(super) fn python_sdk(base: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(story_file("sdk.py")).arg(base);
    command
}
