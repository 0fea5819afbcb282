//! Runs the programs of `docs/durable.md` as they are printed, each with the page's configuration and a provider that
//! misbehaves.
//!
//! Only the addresses and the ledger's file are replaced, because the page's ports may be in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::answer::{curl, expect, json};
use super::durable::{until, until_open};
use super::world::{World, found, write};
use crate::needs::python;
use crate::process::{Outcome, Server, free_port, output, root};

const PAGE: &str = "docs/durable.md";
const PATIENCE: Duration = Duration::from_secs(30);

/// The language of a program: its name on the page, the name of its file, and how it is run.
pub(super) struct Language {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    pub(super) program: fn() -> Outcome<PathBuf>,
}

pub(super) const PYTHON: Language = Language { name: "python", file: "shop.py", program: || Ok(python()) };
pub(super) const NODE: Language = Language { name: "js", file: "shop.mjs", program: || found("node") };
pub(super) const JAVA: Language = Language { name: "java", file: "Shop.java", program: || found("java") };

/// Returns the first block of a page in this language. It holds a whole program; later blocks of `docs/durable.md` hold
/// only parts of programs.
pub(super) fn block(page: &str, language: &str) -> Outcome<String> {
    blocks(page, language).next().ok_or(format!("the page has no {language}"))
}

/// Returns the blocks of a page in this language.
pub(super) fn blocks(page: &str, language: &str) -> impl Iterator<Item = String> {
    let parts: Vec<String> = page.split(&format!("\n```{language}\n")).skip(1).map(str::to_owned).collect();
    parts.into_iter().map(|part| part.split("```").next().unwrap_or_default().to_owned())
}

/// Starts the provider of a page, with new books. At its first charge it misbehaves as `fault` says, such as
/// `close-after-effect`.
pub(super) fn provider(program: &Path, folder: &Path, port: u16, fault: &str) -> Outcome<Server> {
    let script = folder.join("faults.toml");
    write(&script, &format!("[[fault]]\nmatch = \"POST /v1/charges\"\nfault = \"{fault}\"\ntimes = 1\n"))?;
    let listen = format!("127.0.0.1:{port}");
    let args = ["lab".into(), "harbor".into(), "--listen".into(), listen.into(), "--script".into()];
    let args: Vec<std::ffi::OsString> = args.into_iter().chain([script.into_os_string()]).collect();
    let mut provider = Server::start("harbor", None, program, &args, &folder.join("harbor.log"), false)?;
    provider.ready(port, "/health", PATIENCE)?;
    Ok(provider)
}

/// Returns what the provider's books say of a key: its effects and its refunds.
pub(super) fn booked(port: u16, key: &str) -> Outcome<(u64, u64)> {
    let books = json(&curl(&[&format!("http://127.0.0.1:{port}/books")])?)?;
    let of = &books["by_key"][key];
    Ok((of["effects"].as_u64().unwrap_or_default(), of["refunds"].as_u64().unwrap_or_default()))
}

/// The page's gateway and its provider, both running, and the page's program in a folder.
struct Site {
    _gateway: Server,
    provider: Option<Server>,
    folder: PathBuf,
    program: PathBuf,
    ports: [u16; 3],
    page: String,
}

impl Site {
    fn open(world: &World, name: &str) -> Outcome<Site> {
        let folder = world.folder.join("page").join(name);
        let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let page = fs::read_to_string(root().join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let file = folder.join("seawall.toml");
        let ledger = format!("sqlite:{}/seawall.db", folder.display());
        write(&file, &here(&block(&page, "toml")?, ports).replace("sqlite:seawall.db", &ledger))?;
        let args = ["serve".into(), "-c".into(), file.into_os_string()];
        let log = folder.join("gateway.log");
        let mut gateway = Server::start("seawall", None, &world.program, &args, &log, false)?;
        gateway.ready(ports[1], "/readyz", PATIENCE)?;
        until_open(ports[0], "payments")?;
        let program = world.program.clone();
        Ok(Site { _gateway: gateway, provider: None, folder, program, ports, page })
    }

    /// Starts the provider again, with new books. At its first charge it misbehaves as `fault` says.
    fn provide(&mut self, fault: &str) -> Outcome<()> {
        self.provider = None;
        self.provider = Some(provider(&self.program, &self.folder, self.ports[2], fault)?);
        Ok(())
    }

    /// Returns what the provider's books say of a key: its effects and its refunds.
    fn booked(&self, key: &str) -> Outcome<(u64, u64)> {
        booked(self.ports[2], key)
    }

    fn booked_once(&self, key: &str) -> Outcome<()> {
        let booked = self.booked(key)?;
        expect(booked == (1, 0), || format!("{key}: (effects, refunds) are {booked:?}"))
    }

    /// Returns the page's program with these arguments.
    fn command(&self, language: &Language, args: &[&str]) -> Outcome<Command> {
        let file = self.folder.join(language.file);
        write(&file, &here(&block(&self.page, language.name)?, self.ports))?;
        let mut command = Command::new((language.program)()?);
        command.arg(file).args(args).current_dir(&self.folder);
        // Java's optimizing compiler is switched off. It would cost more time than it saves in a program that runs for
        // a second.
        command.env("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1");
        Ok(command)
    }

    /// Runs the page's program, and checks that `wanted` is one of the lines that it prints.
    fn run(&self, language: &Language, args: &[&str], wanted: &str) -> Outcome<()> {
        let said = output(&mut self.command(language, args)?)?;
        expect(said.lines().any(|line| line == wanted), || format!("wanted `{wanted}` in:\n{said}"))
    }
}

/// Puts the addresses of this run into a text of the page.
fn here(text: &str, ports: [u16; 3]) -> String {
    ["127.0.0.1:8400", "127.0.0.1:8401", "127.0.0.1:8405"]
        .iter()
        .zip(ports)
        .fold(text.to_owned(), |text, (page, port)| text.replace(page, &format!("127.0.0.1:{port}")))
}

pub(super) fn in_python(world: &World) -> Outcome<()> {
    tell(world, &PYTHON)
}

pub(super) fn in_node(world: &World) -> Outcome<()> {
    tell(world, &NODE)
}

pub(super) fn in_java(world: &World) -> Outcome<()> {
    tell(world, &JAVA)
}

/// The program meets a lost answer, a declined charge, its own death in mid-call, and a gateway that does not run.
fn tell(world: &World, language: &Language) -> Outcome<()> {
    let mut site = Site::open(world, language.name)?;
    site.provide("close-after-effect")?;
    site.run(language, &["order-1", "1200"], "order-1: paid")?;
    site.booked_once("order-1")?;
    site.run(language, &["order-2", "402"], "order-2: failed")?;

    site.provide("delay-after-effect=3s")?;
    let mut command = site.command(language, &["order-3", "500"])?;
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().map_err(|e| format!("{}: {e}", language.file))?;
    let charged = until("the provider has made the charge", || Ok(site.booked("order-3")?.0 > 0));
    let killed = child.kill().and_then(|()| child.wait()).map_err(|e| format!("{}: {e}", language.file));
    charged?;
    expect(!killed?.success(), || "the program ended before it was killed".to_owned())?;
    site.run(language, &["order-4", "700"], "order-3: paid")?;
    site.booked_once("order-3")?;
    site.booked_once("order-4")?;

    // Without the gateway an order stays open, and the program says so.
    let mut command = site.command(language, &["order-5", "900"])?;
    drop(site);
    let said = output(&mut command)?;
    expect(said.contains("order-5: the next run goes on with it"), || format!("in:\n{said}"))?;
    expect(said.lines().any(|line| line == "order-5: paying"), || format!("in:\n{said}"))
}

/// Runs the page's commands in a shell, and checks what they print.
pub(super) fn in_shell(world: &World) -> Outcome<()> {
    let mut site = Site::open(world, "sh")?;
    site.provide("close-after-effect")?;
    let script = here(&block(&site.page, "sh")?, site.ports);
    let said = output(Command::new("sh").args(["-ec", &script]))?;
    for wanted in ["HTTP/1.1 502", "seawall-effect: unknown", "\"effect\":\"applied\"", "\"state\":\"done\""]
    {
        expect(said.contains(wanted), || format!("no `{wanted}` in:\n{said}"))?;
    }
    site.booked_once("order-7")?;
    let ended: Value = json(&curl(&[&format!(
        "http://127.0.0.1:{}/-/actions?dependency=payments&key=order-7",
        site.ports[0]
    )])?)?;
    expect(ended["settled"] == true, || format!("not settled: {ended}"))
}
