//! The servers with which the exchanges are made: how each is started, which paths it serves, and what is known
//! about its answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::needs::{is_root, python};
use crate::process::{Outcome, Server, free_port, output};
use crate::stories::world::{found, story_file, write};

/// The maximum time that a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The maximum number of times that a program is started. A start can fail because another program takes the chosen
/// port first, so only the last failure is an error.
const STARTS: usize = 3;

/// The size of the file that is sent in both directions.
pub(super) const HUGE_BYTES: usize = 100 * 1024 * 1024;

/// The paths that a server answers, as `xtask/stories/servers/README.md` describes them. A path is `None` if the server
/// does not offer it.
pub(super) struct Paths {
    pub(super) length: &'static str,
    pub(super) chunked: Option<&'static str>,
    pub(super) gzip: Option<&'static str>,
    pub(super) none: Option<&'static str>,
    pub(super) tagged: Option<&'static str>,
    pub(super) long: Option<&'static str>,
    pub(super) heads: Option<&'static str>,
    pub(super) upload: Option<Upload>,
    pub(super) refuse: &'static str,
    pub(super) large: Option<&'static str>,
    pub(super) connections: Option<&'static str>,
}

/// How a server shows which upload it received.
#[derive(Clone, Copy)]
pub(super) enum Upload {
    /// The server answers a POST to this path with `LENGTH SUM`: the length and checksum of the body.
    Sum(&'static str),
    /// The server stores the body of a PUT to this path in a file below `files` in the run's folder.
    Store(&'static str),
}

/// A program and its arguments.
type Program = (PathBuf, Vec<String>);

/// One of the servers, and what the exchanges must know about it.
pub(super) struct Kind {
    /// The server's name, which is also the name of its dependency in the gateway.
    pub(super) name: &'static str,
    launch: fn(&Path, u16) -> Outcome<Program>,
    /// The path that is requested until the server is ready.
    pub(super) ready: &'static str,
    pub(super) paths: Paths,
    /// The header fields that every request to this server needs, such as credentials, as arguments for curl.
    pub(super) curl: &'static [&'static str],
    /// The same header fields, as lines of a request's head.
    pub(super) fields: &'static str,
    /// Whether the server keeps a connection open after an answer, so that further requests can use it.
    pub(super) keeps: bool,
    /// Whether the server can read chunked uploads.
    pub(super) reads_chunks: bool,
    /// The deviations from RFC 9112 that [`super::strict`] must find in the server's answers. The test fails if it
    /// finds others, or not all of them.
    pub(super) oddities: &'static [&'static str],
    /// Returns the command that prints the server's version.
    version: fn() -> Command,
}

/// The paths that the server programs in `xtask/stories/servers` offer.
const OWN: Paths = Paths {
    length: "/length",
    chunked: Some("/chunked"),
    gzip: Some("/gzip"),
    none: Some("/none"),
    tagged: Some("/tagged"),
    long: Some("/long"),
    heads: Some("/heads"),
    upload: Some(Upload::Sum("/sum")),
    refuse: "/refuse",
    large: Some("/large"),
    connections: Some("/connections"),
};

const COMMON: Kind = Kind {
    name: "",
    launch: nginx,
    ready: "/length",
    paths: OWN,
    curl: &[],
    fields: "",
    keeps: true,
    reads_chunks: true,
    oddities: &[],
    version: || Command::new("true"),
};

const HTTPBIN: Paths = Paths {
    length: "/bytes/20000?seed=1",
    chunked: Some("/stream-bytes/20000?seed=1"),
    gzip: Some("/own/gzip"),
    none: Some("/status/204"),
    tagged: Some("/etag/one"),
    long: Some("/own/long"),
    heads: Some("/own/heads"),
    upload: Some(Upload::Sum("/own/sum")),
    refuse: "/own/refuse",
    large: Some("/own/large"),
    connections: Some("/own/connections"),
};

/// The paths of localstripe, a server that imitates Stripe. It offers only two of them:
///
/// - `length`: a file of JavaScript, which localstripe sends with a `Content-Length`;
/// - `refuse`: localstripe refuses an upload of more than 1 MiB after it has read 1 MiB.
const LOCALSTRIPE: Paths = Paths {
    length: "/js.stripe.com/v3/",
    chunked: None,
    gzip: None,
    none: None,
    tagged: None,
    long: None,
    heads: None,
    upload: None,
    refuse: "/v1/customers",
    large: None,
    connections: None,
};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "nginx",
        launch: nginx,
        paths: Paths { upload: Some(Upload::Store("/store/huge")), refuse: "/refuse/huge", ..OWN },
        version: || command("nginx", &["-v"]),
        ..COMMON
    },
    Kind {
        name: "gunicorn",
        launch: gunicorn,
        ready: "/status/200",
        paths: HTTPBIN,
        version: || package("gunicorn"),
        ..COMMON
    },
    Kind {
        name: "uvicorn",
        launch: |folder, port| script(&python(), "app.py", folder, port, &["httptools"]),
        version: || package("uvicorn"),
        ..COMMON
    },
    Kind {
        name: "uvicorn-h11",
        launch: |folder, port| script(&python(), "app.py", folder, port, &["h11"]),
        version: || package("h11"),
        ..COMMON
    },
    Kind {
        name: "node",
        launch: |folder, port| script(&found("node")?, "node.mjs", folder, port, &[]),
        version: || command("node", &["--version"]),
        ..COMMON
    },
    Kind {
        name: "java",
        launch: |folder, port| script(&found("java")?, "Server.java", folder, port, &[]),
        oddities: &["a length or coding in a 100"],
        version: || command("java", &["--version"]),
        ..COMMON
    },
    Kind {
        name: "http-server-10",
        launch: |folder, port| script(&python(), "plain.py", folder, port, &["HTTP/1.0"]),
        keeps: false,
        reads_chunks: false,
        oddities: &["speaks HTTP/1.0"],
        version: || command_of(&python(), &["--version"]),
        ..COMMON
    },
    Kind {
        name: "http-server-11",
        launch: |folder, port| script(&python(), "plain.py", folder, port, &["HTTP/1.1"]),
        reads_chunks: false,
        version: || command_of(&python(), &["--version"]),
        ..COMMON
    },
    Kind {
        name: "localstripe",
        launch: |_, port| {
            Ok((python(), vec![story_file("pay_provider.py").display().to_string(), port.to_string()]))
        },
        ready: "/js.stripe.com/v3/",
        paths: LOCALSTRIPE,
        curl: &["--user", "sk_test_story:"],
        fields: "authorization: Basic c2tfdGVzdF9zdG9yeTo=\r\n",
        version: || package("localstripe"),
        ..COMMON
    },
];

/// Starts all servers at the same time, and waits until each answers. Returns each server with its port.
pub(super) fn start_all<'a>(kinds: &[&'a Kind], folder: &Path) -> Outcome<Vec<(&'a Kind, u16, Server)>> {
    let mut running = Vec::new();
    for kind in kinds {
        let port = free_port()?;
        running.push((*kind, port, kind.start(folder, port)?));
    }
    for (kind, port, server) in &mut running {
        for more in (0..STARTS).rev() {
            match server.ready(*port, kind.ready, PATIENCE) {
                Ok(()) => break,
                Err(e) if more == 0 => return Err(e),
                Err(_) => {
                    *port = free_port()?;
                    *server = kind.start(folder, *port)?;
                }
            }
        }
    }
    Ok(running)
}

impl Kind {
    fn start(&self, folder: &Path, port: u16) -> Outcome<Server> {
        let (program, args) = (self.launch)(folder, port)?;
        let log = folder.join(format!("{}.log", self.name));
        Server::start(self.name, None, &program, &args, &log, false)
    }

    /// Returns the server's name, and in parentheses its version: the first cell of its row in the table of the
    /// results.
    pub(super) fn version(&self) -> String {
        let said = output(&mut (self.version)()).unwrap_or_default();
        let line = said.lines().next().unwrap_or_default().trim().to_owned();
        format!("{} ({line})", self.name)
    }
}

fn command(name: &str, args: &[&str]) -> Command {
    command_of(&found(name).unwrap_or_else(|_| name.into()), args)
}

fn command_of(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn package(name: &str) -> Command {
    let line = format!("import importlib.metadata as m; print('{name}', m.version('{name}'))");
    command_of(&python(), &["-c", &line])
}

/// Creates the folders for the servers' files, and the file of [`HUGE_BYTES`] if it does not exist yet. The file's
/// content does not repeat itself, so that its checksum also changes if two parts of it arrive in the wrong order. The
/// bytes come from a random generator that repeats its sequence only after more steps than the file needs.
pub(super) fn prepare(folder: &Path) -> Outcome<()> {
    let files = folder.join("files");
    fs::create_dir_all(files.join("store")).map_err(|e| format!("{}: {e}", files.display()))?;
    fs::create_dir_all(files.join("refuse")).map_err(|e| format!("{}: {e}", files.display()))?;
    let huge = files.join("huge");
    if fs::metadata(&huge).is_ok_and(|there| there.len() == HUGE_BYTES as u64) {
        return Ok(());
    }
    let mut state: u32 = 1;
    let mut bytes = Vec::with_capacity(HUGE_BYTES);
    while bytes.len() < HUGE_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    fs::write(&huge, bytes).map_err(|e| format!("{}: {e}", huge.display()))
}

fn script(program: &Path, file: &str, folder: &Path, port: u16, more: &[&str]) -> Outcome<Program> {
    let file = story_file("servers").join(file).display().to_string();
    let huge = folder.join("files").join("huge").display().to_string();
    let args = [file, port.to_string(), huge].into_iter().chain(more.iter().map(|&word| word.to_owned()));
    Ok((program.to_path_buf(), args.collect()))
}

fn gunicorn(folder: &Path, port: u16) -> Outcome<Program> {
    let huge = folder.join("files").join("huge");
    let (bind, scripts) = (format!("127.0.0.1:{port}"), story_file("servers").display().to_string());
    let build = format!("wsgi:build('{}')", huge.display());
    let fixed = ["-m", "gunicorn", "--threads", "16", "--keep-alive", "5", "--no-control-socket"];
    let own = ["--bind", &bind, "--chdir", &scripts, &build];
    Ok((python(), fixed.iter().chain(&own).map(|&word| word.to_owned()).collect()))
}

/// Writes nginx's configuration and files, and returns the command that starts nginx. `/chunked` has a filter
/// (`sub_filter`) that could change the body, so nginx does not know the length in advance and sends chunks. Below
/// `/store/`, nginx stores the body of a PUT.
fn nginx(folder: &Path, port: u16) -> Outcome<Program> {
    let lines: Vec<String> = (0..1000).map(|n| format!("line {n:05} of the body\n")).collect();
    let body = &lines.concat()[..20_000];
    for name in ["length", "chunked", "gzip", "tagged", "long"] {
        write(&folder.join("files").join(name), body)?;
    }
    let letter = |n: u8| String::from(char::from(b'a' + n % 26)).repeat(500);
    let fields: String = (0..60).map(|n| format!("add_header x-long-{n} {};\n", letter(n))).collect();
    let echo: Vec<String> = (0..60).map(|n| format!("$http_x_long_{n}")).collect();
    let text = format!(
        "daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    large_client_header_buffers 8 16k;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location = /large {{ alias {folder}/files/huge; }}
        location = /chunked {{ sub_filter never-there x; sub_filter_types *; }}
        # By default nginx compresses nothing for a request that passed a proxy, which `Via` says.
        location = /gzip {{ gzip on; gzip_types *; gzip_proxied any; }}
        location = /none {{ return 204; }}
        location = /long {{ {fields} }}
        location = /heads {{ return 200 \"{echo}\"; }}
        location = /connections {{ stub_status; }}
        location /store/ {{ dav_methods PUT; client_max_body_size 0; }}
        location /refuse/ {{ dav_methods PUT; client_max_body_size 1m; }}
    }}
}}
",
        // Without `user root`, root's nginx runs its workers as another user, who cannot write files here.
        user = if is_root() { "user root;\n" } else { "" },
        folder = folder.display(),
        echo = echo.join("\n")
    );
    let file = folder.join("nginx.conf");
    write(&file, &text)?;
    Ok((found("nginx")?, vec!["-c".to_owned(), file.display().to_string()]))
}

/// Starts the gateway in front of these servers, with two dependencies for each server. Returns the gateway's port, and
/// the gateway.
pub(super) fn gateway(program: &Path, folder: &Path, servers: &[(&Kind, u16)]) -> Outcome<(u16, Server)> {
    let mut started = start_gateway(program, folder, servers);
    for _ in 1..STARTS {
        if started.is_err() {
            started = start_gateway(program, folder, servers);
        }
    }
    started
}

fn start_gateway(program: &Path, folder: &Path, servers: &[(&Kind, u16)]) -> Outcome<(u16, Server)> {
    let (port, admin) = (free_port()?, free_port()?);
    let mut text = format!(
        "[gateway]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\nworkers = 2\n\
         limits = {{ header_bytes = \"64KiB\" }}\n\n[defaults.timeout]\ntotal = \"60s\"\n"
    );
    for (kind, port) in servers {
        for end in ["", "_apart"] {
            text += &format!("\n[dependency.{}{end}]\nurl = \"http://127.0.0.1:{port}\"\n", kind.name);
        }
    }
    let file = folder.join("seawall.toml");
    write(&file, &text)?;
    let args = ["serve".into(), "-c".into(), file.into_os_string()];
    let mut gateway = Server::start("seawall", None, program, &args, &folder.join("gateway.log"), false)?;
    gateway.ready(admin, "/readyz", PATIENCE)?;
    Ok((port, gateway))
}
