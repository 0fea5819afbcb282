//! End-to-end stories: the gateway is tested between clients and upstreams that other projects wrote.
//!
//! If our own code were on both sides of a test, both sides would share our mistakes about HTTP. So curl and the
//! official SDKs call through Seawall to nginx, gunicorn, aiohttp and Node's server, and [`servers`] makes a list of
//! exchanges with each of nine servers. [`durable`] tells stories of durable operations, and [`page`] and [`sql`] run the
//! programs of `docs/durable.md` and `docs/sql.md`. All servers run on loopback, on free ports, and end when the run ends.

mod answer;
mod durable;
mod page;
mod servers;
mod sql;
mod tales;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use self::tales::Story;
use self::world::World;
use crate::needs;
use crate::process::{Outcome, cargo, run as run_command, target};

/// The options of the stories.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Run only the stories whose name contains this text.
    name: Option<String>,
    /// The path of the gateway's program that is tested. Without this option, a development build of this tree is made
    /// and tested.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
}

/// Makes a development build and runs all stories with it. Fails if any story fails.
pub(crate) fn run_all() -> Outcome<()> {
    run(&Options::default())
}

/// Runs the stories whose name contains the given text, or all if no text is given. Fails if any of them fails, or if
/// no story has such a name.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    needs::provide(&needs::for_steps(&[needs::STORIES]), options.yes)?;
    let part = options.name.as_deref().unwrap_or_default();
    let chosen: Vec<&Story> = tales::STORIES.iter().filter(|story| story.name.contains(part)).collect();
    let exchanges = servers::names(part);
    if chosen.is_empty() && exchanges.is_empty() {
        let mut names: Vec<String> = tales::STORIES.iter().map(|story| story.name.to_owned()).collect();
        names.extend(servers::names(""));
        return Err(format!("no story contains `{part}`; there are:\n  {}", names.join("\n  ")));
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            run_command(cargo().args(["build", "--locked", "--package", "seawall-gateway"]))?;
            target().join("debug").join("seawall")
        }
    };
    let (told, not_told) = tell(&chosen, &program)?;
    let (made, not_made) = servers::run(part, &program)?;
    let (passed, failed) = (told + made, not_told + not_made);
    println!("stories: {passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} stories failed", passed + failed)) }
}

/// Starts the servers, runs these stories one after the other, and prints how each of them ended. Returns how many
/// passed and how many failed. If there are no stories to run, no server is started.
fn tell(chosen: &[&Story], program: &Path) -> Outcome<(usize, usize)> {
    if chosen.is_empty() {
        return Ok((0, 0));
    }
    let world = World::start(program)?;
    let mut failed = 0;
    for story in chosen {
        let start = Instant::now();
        let ended = (story.tell)(&world);
        let word = if ended.is_ok() { "ok" } else { "FAILED" };
        println!("{word:<6}  {:>6.2} s  {}", start.elapsed().as_secs_f64(), story.name);
        if let Err(e) = ended {
            println!("        {}", e.replace('\n', "\n        "));
            failed += 1;
        }
    }
    if failed > 0 {
        println!("the gateway said last:\n{}", world.gateway_log());
    }
    Ok((chosen.len() - failed, failed))
}
