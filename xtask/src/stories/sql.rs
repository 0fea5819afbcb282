//! Runs the programs of `docs/sql.md` as they are printed, each against the page's statements and configuration, and a
//! provider that misbehaves. The programs and the gateway's ledger share one PostgreSQL.
//!
//! Only the addresses are replaced, because the page's ports may be in use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::answer::expect;
use super::durable::until_open;
use super::page::{JAVA, Language, NODE, PYTHON, block, blocks, booked, provider};
use super::world::{World, write};
use crate::cluster::Cluster;
use crate::needs::{JDBC_DRIVER, node_folder};
use crate::process::{Outcome, Server, free_port, output, root};

const PAGE: &str = "docs/sql.md";
const PATIENCE: Duration = Duration::from_secs(30);

/// The page's database, gateway and pooler, all running.
struct Site {
    _gateway: Server,
    _pooler: Server,
    cluster: Cluster,
    folder: PathBuf,
    page: String,
    /// The ports of the gateway, of its admin listener and of the provider.
    ports: [u16; 3],
    pooler_port: u16,
}

impl Site {
    fn open(world: &World) -> Outcome<Site> {
        let folder = world.folder.join("sql");
        let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        symlink(node_folder().join("node_modules"), folder.join("node_modules")).map_err(failed)?;
        let page = fs::read_to_string(root().join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let cluster = Cluster::start(&folder.join("postgres"), &["fsync=off", "shared_buffers=32MB"])?;
        cluster.database("shop")?;
        let statements: Vec<String> = blocks(&page, "sql").collect();
        let [prepare, grant] = &statements[..] else { return Err(format!("{PAGE}: not two blocks of SQL")) };
        cluster.sql("shop", prepare)?;

        let file = folder.join("seawall.toml");
        write(&file, &here(&block(&page, "toml")?, ports, cluster.port()))?;
        let args = ["serve".into(), "-c".into(), file.into_os_string()];
        let log = folder.join("gateway.log");
        let mut gateway = Server::start("seawall", None, &world.program, &args, &log, false)?;
        gateway.ready(ports[1], "/readyz", PATIENCE)?;
        until_open(ports[0], "payments")?;
        cluster.sql("shop", grant)?;
        let (pooler, pooler_port) = cluster.pooler("shop", "shop", &block(&page, "ini")?)?;
        Ok(Site { _gateway: gateway, _pooler: pooler, cluster, folder, page, ports, pooler_port })
    }

    /// Runs the page's program, and checks that one of the lines that it prints is this.
    fn run(&self, language: &Language, port: u16, args: [&str; 2], wanted: &str) -> Outcome<()> {
        let file = self.folder.join(language.file);
        write(&file, &here(&block(&self.page, language.name)?, self.ports, port))?;
        let mut command = Command::new((language.program)()?);
        command.arg(file).args(args).current_dir(&self.folder);
        command.env("CLASSPATH", JDBC_DRIVER).env("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1");
        let said = output(&mut command)?;
        expect(said.lines().any(|line| line == wanted), || format!("wanted `{wanted}` in:\n{said}"))
    }

    fn is_booked(&self, key: &str, wanted: (u64, u64)) -> Outcome<()> {
        let booked = booked(self.ports[2], key)?;
        expect(booked == wanted, || format!("{key}: (effects, refunds) are {booked:?}"))
    }

    /// Checks what a statement returns for the administrator of the database.
    fn finds(&self, text: &str, wanted: &str) -> Outcome<()> {
        let found = self.cluster.sql("shop", text)?;
        expect(found.trim() == wanted, || format!("{text}: {found}"))
    }
}

/// Puts the addresses of this run into a text of the page.
fn here(text: &str, ports: [u16; 3], database: u16) -> String {
    let [listen, admin, provider] = ports;
    let pairs = [(8400, listen), (8401, admin), (8405, provider), (5432, database)];
    pairs.iter().fold(text.to_owned(), |text, (page, port)| {
        text.replace(&format!("127.0.0.1:{page}"), &format!("127.0.0.1:{port}"))
    })
}

/// Each program meets a lost answer, a declined charge and a rollback, and takes an order through a pooler.
pub(super) fn programs(world: &World) -> Outcome<()> {
    let site = Site::open(world)?;
    let direct = site.cluster.port();
    for language in [&PYTHON, &NODE, &JAVA] {
        let _provider = provider(&world.program, &site.folder, site.ports[2], "close-after-effect")?;
        let order = |number: u8| format!("{}-{number}", language.name);
        let [lost, declined, rolled_back, pooled] = [1, 2, 3, 4].map(order);
        site.run(language, direct, [&lost, "1200"], &format!("{lost}: paid"))?;
        site.is_booked(&lost, (1, 0))?;
        site.run(language, direct, [&declined, "402"], &format!("{declined}: failed"))?;
        site.run(language, direct, [&rolled_back, "2000000"], &format!("{rolled_back}: not taken"))?;
        site.run(language, site.pooler_port, [&pooled, "700"], &format!("{pooled}: paid"))?;
        site.is_booked(&pooled, (1, 0))?;
        site.is_booked(&rolled_back, (0, 0))?;
        site.finds(&format!("SELECT count(*) FROM seawall.action WHERE key = '{rolled_back}'"), "0")?;
    }
    let paid = "SELECT count(*) FROM orders o JOIN seawall.action a ON a.id = o.action \
         WHERE o.state = 'paid' AND a.ended = 'done'";
    site.finds(paid, "6")?;
    let refused = site.cluster.sql("shop", "SET ROLE shop; SELECT * FROM seawall.action");
    expect(refused.is_err_and(|e| e.contains("permission denied for table action")), || {
        "the program's role can read the ledger".to_owned()
    })
}
