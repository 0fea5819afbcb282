//! Carries out the schedule: three tracks at the same time, then the end of all faults, then the wait for rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seawall_ledger::store::{Filter, Standing};
use seawall_ledger::{Ledger, store::Store};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cluster::Cluster;
use crate::course::{FREQUENT, KINDS};
use crate::desk::{Desk, close, lines, set_handlers};
use crate::programs::{Program, Setup};
use crate::provider::Provider;
use crate::reached::Reached;
use crate::relay::Relay;
use crate::schedule::{Fault, Phase, Track, draw};
use crate::tables::{Database, Kind, Trouble, prepare};
use crate::verdict::{Found, Verdict};
use crate::{Options, declared};

/// The longest time that the rows may take to come to rest once the faults are over.
const REST: Duration = Duration::from_secs(90);

/// How long a program may run before it has to reach its fail point.
const AT_POINT: Duration = Duration::from_secs(20);

/// How much longer than drawn a fault may last until it was reached. A machine with much other work may have sent nothing
/// during the time that was drawn.
const LONGER: Duration = Duration::from_secs(10);

/// Everything that belongs to one run.
struct World<S: Store> {
    folder: PathBuf,
    reached: Reached,
    provider: Provider,
    setup: Setup,
    /// The ledger over a connection that no fault of the relay touches.
    ledger: Ledger<S>,
    begun: Instant,
    span: Duration,
}

/// The database, with what is needed to hurt it.
struct Base {
    cluster: Option<Cluster>,
    relay: Option<Relay>,
}

/// Runs the whole soak, and returns what was found.
pub(crate) async fn soak<D: Database>(options: &Options, folder: &Path) -> Result<Verdict, Trouble> {
    let reached = Reached::default();
    // Addresses of this run only: other programs use 127.0.0.1, and this one is drawn from the process's number.
    let [high, low] = u16::try_from(std::process::id() % 65_000).unwrap_or(1).to_be_bytes();
    let host = format!("127.37.{high}.{}", low.max(1));
    let cluster = match options.store {
        Kind::Postgres => Some(Cluster::create(folder).await?),
        Kind::Sqlite => None,
    };
    let (direct, through, relay) = match &cluster {
        Some(cluster) => {
            let mut conn = crate::tables::OnPostgres::connect(&cluster.url("postgres")).await?;
            crate::tables::OnPostgres::execute(&mut conn, "CREATE DATABASE soak").await?;
            let relay = Relay::open(&format!("{host}:0"), cluster.socket(), reached.clone()).await;
            let through = format!("postgres://postgres@{}/soak", relay.address());
            (cluster.url("soak"), through, Some(relay))
        }
        None => {
            let url = format!("sqlite:{}/shop.db", folder.display());
            (url.clone(), url, None)
        }
    };
    prepare::<D>(&direct).await?;
    let provider = Provider::open(options.seed, &format!("{host}:0"), reached.clone()).await;
    set_handlers(folder, "");
    let setup = Setup {
        folder: folder.to_path_buf(),
        database: through,
        provider: provider.address().to_owned(),
        seed: options.seed,
    };
    let desk = Desk::open(folder, "soak")?;
    let ledger = declared::ledger::<D>(D::open(&direct).await?, 2, &desk, provider.address())?;
    let mut programs = [Program::new(setup.clone(), 'A'), Program::new(setup.clone(), 'B')];
    for program in &mut programs {
        program.start("")?;
    }
    for program in &mut programs {
        program.is_up().await?;
    }
    let wanted = &KINDS[..if options.is_short() { FREQUENT } else { KINDS.len() }];
    wanted.iter().for_each(|kind| reached.tried(kind));
    let folder = folder.to_path_buf();
    let (begun, span) = (Instant::now(), options.span);
    let world = World { folder, reached, provider, setup, ledger, begun, span };
    let mut base = Base { cluster, relay };

    let [first, second, third] = draw(options);
    tokio::try_join!(
        world.hurt_programs(&mut programs, first),
        world.hurt_database(&mut base, second),
        world.hurt_provider(third),
    )?;
    world.until(LONGER, || wanted.iter().all(|kind| world.reached.count(kind) > 0)).await;
    let rest = world.come_to_rest(&mut programs).await?;
    let found = Found::read::<D>(&world.ledger, &world.folder, &direct, &world.provider).await?;
    let ran = world.begun.elapsed();
    Ok(Verdict::of(found, &world.ledger, world.reached, rest, ran).await)
}

impl<S: Store> World<S> {
    /// Returns the steps of a track one after the other, each after its wait, until the time of the run is over.
    async fn next(&self, track: &mut Track, made: &mut usize) -> Option<Fault> {
        if (*made >= track.least && self.begun.elapsed() > self.span) || *made >= track.steps.len() {
            return None;
        }
        let step = track.steps[*made].clone();
        *made += 1;
        tokio::time::sleep(step.after).await;
        self.say(&format!("{:?}", step.fault));
        self.reached.tried(&step.fault.kind());
        Some(step.fault)
    }

    fn say(&self, what: &str) {
        println!("{:8.2} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    async fn hurt_programs(&self, programs: &mut [Program; 2], mut track: Track) -> Result<(), Trouble> {
        let mut made = 0;
        while let Some(fault) = self.next(&mut track, &mut made).await {
            for program in &mut *programs {
                if program.has_ended()? {
                    return Err(format!("{} ended by itself", program.name()).into());
                }
            }
            let kind = fault.kind();
            match fault {
                Fault::Kill(number) => {
                    let program = &mut programs[number];
                    let busy = self.is_busy(&program.name()).await;
                    program.kill().await?;
                    self.reached.reached(if busy { &kind } else { "kill: between requests" });
                    program.start("")?;
                    program.is_up().await?;
                }
                Fault::KillBoth => {
                    for program in &mut *programs {
                        program.kill().await?;
                    }
                    self.reached.reached(&kind);
                    for program in &mut *programs {
                        program.start("")?;
                    }
                    for program in &mut *programs {
                        program.is_up().await?;
                    }
                }
                Fault::KillAt(number, point, times) => {
                    let program = &mut programs[number];
                    program.kill().await?;
                    program.start(&format!("{point}=abort@{times}"))?;
                    match program.ends_at(AT_POINT).await? {
                        Some(point) => self.reached.reached(&format!("kill: at {point}")),
                        None => program.kill().await?,
                    }
                    program.start("")?;
                    program.is_up().await?;
                }
                Fault::Stop(number, lasts) => {
                    let busy = self.is_busy(&programs[number].name()).await;
                    programs[number].stop(lasts).await;
                    self.reached.reached(if busy { &kind } else { "stop: between requests" });
                }
                Fault::Deploy { back } => self.deploy(programs, back, &kind).await?,
                other => unreachable!("{other:?} is no fault of a program"),
            }
        }
        Ok(())
    }

    /// Waits until the provider works on a request of this program, for a bounded time. Returns whether it does.
    async fn is_busy(&self, program: &str) -> bool {
        let end = Instant::now() + LONGER;
        while self.provider.under_way(program) == 0 {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Replaces both programs, one after the other, so that the two versions work together for a time.
    async fn deploy(&self, programs: &mut [Program; 2], back: bool, kind: &str) -> Result<(), Trouble> {
        for program in &mut *programs {
            if !program.drain().await? {
                return Err(format!("{} did not drain", program.name()).into());
            }
            program.version = if back { 1 } else { 2 };
            program.start("")?;
            program.is_up().await?;
            if !back {
                continue;
            }
            // A program without the operation is there. It counts if there is a row that it must leave alone.
            for _ in 0..10 {
                if self.has_open("gift").await {
                    self.reached.reached(kind);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if !back {
            self.reached.reached(kind);
        }
        Ok(())
    }

    /// Returns whether an action of this operation is open. If the database cannot say that, the answer is no.
    async fn has_open(&self, operation: &str) -> bool {
        let open = Filter::first(1000).of("pay").standing(Standing::Open);
        let list = tokio::time::timeout(Duration::from_secs(1), self.ledger.list(&open)).await;
        list.is_ok_and(|rows| rows.is_ok_and(|rows| rows.iter().any(|row| row.operation == operation)))
    }

    async fn hurt_database(&self, base: &mut Base, mut track: Track) -> Result<(), Trouble> {
        let mut made = 0;
        while let Some(fault) = self.next(&mut track, &mut made).await {
            let kind = fault.kind();
            match (fault, &mut base.cluster, &base.relay) {
                (Fault::ServerKilled, Some(cluster), Some(relay)) => {
                    let before = relay.lost();
                    cluster.kill(Duration::from_millis(300)).await?;
                    if relay.lost() > before {
                        self.reached.reached(&kind);
                    }
                }
                (Fault::ServerPaused(lasts), Some(cluster), Some(relay)) => {
                    let before = relay.passed();
                    cluster.pause(lasts, || relay.passed() > before).await;
                    if relay.passed() > before {
                        self.reached.reached(&kind);
                    }
                }
                (Fault::Silent(lasts), _, Some(relay)) => {
                    let before = self.reached.count(&kind);
                    relay.fall_silent();
                    tokio::time::sleep(lasts).await;
                    self.until(LONGER, || self.reached.count(&kind) > before).await;
                    relay.speak();
                }
                (Fault::Reset, _, Some(relay)) => relay.reset(),
                // It counts where a program waits for the lock.
                (Fault::Locked(lasts), None, _) => self.write(lasts, false).await?,
                (Fault::WriterKilled, None, _) => {
                    self.write(Duration::from_millis(100), true).await?;
                    self.reached.reached(&kind);
                }
                (other, ..) => unreachable!("{other:?} is no fault of this database"),
            }
        }
        Ok(())
    }

    /// Lets another process write to the SQLite file. It holds its transaction for a time, and is then told to roll back,
    /// or killed.
    async fn write(&self, lasts: Duration, killed: bool) -> Result<(), Trouble> {
        let mut command = self.setup.command("writer", "writer")?;
        let mut child = command.stderr(std::process::Stdio::piped()).spawn()?;
        let said = child.stderr.take().ok_or("the writer has no output")?;
        let mut lines = BufReader::new(said).lines();
        let held = async {
            while let Some(line) = lines.next_line().await? {
                if line == "held" {
                    return Ok(());
                }
            }
            Err::<(), Trouble>("the writer ended early".into())
        };
        tokio::time::timeout(Duration::from_secs(30), held)
            .await
            .map_err(|_| "the writer never writes")??;
        tokio::time::sleep(lasts).await;
        if killed {
            child.kill().await?;
            return Ok(());
        }
        drop(child.stdin.take());
        child.wait().await?;
        Ok(())
    }

    async fn hurt_provider(&self, mut track: Track) -> Result<(), Trouble> {
        let mut made = 0;
        while let Some(fault) = self.next(&mut track, &mut made).await {
            let kind = fault.kind();
            let before = self.reached.count(&kind) + self.told_reached(&kind);
            let is_reached = || self.reached.count(&kind) + self.told_reached(&kind) > before;
            match fault {
                Fault::Outage(lasts) => {
                    self.provider.shut().await;
                    tokio::time::sleep(lasts).await;
                    self.until(LONGER, is_reached).await;
                    self.provider.serve_again().await;
                }
                Fault::Phase(phase, lasts) => {
                    self.begin(phase);
                    tokio::time::sleep(lasts).await;
                    self.until(LONGER, is_reached).await;
                    self.end(phase);
                }
                other => unreachable!("{other:?} is no fault of the provider"),
            }
        }
        Ok(())
    }

    fn begin(&self, phase: Phase) {
        match phase {
            Phase::HandlersFail => set_handlers(&self.folder, "fail"),
            Phase::HandlersPanic => set_handlers(&self.folder, "panic"),
            Phase::CancelsFail | Phase::LookUpLags | Phase::Refuses => self.provider.set(phase, true),
        }
    }

    fn end(&self, phase: Phase) {
        match phase {
            Phase::HandlersFail | Phase::HandlersPanic => set_handlers(&self.folder, ""),
            Phase::CancelsFail | Phase::LookUpLags | Phase::Refuses => self.provider.set(phase, false),
        }
    }

    /// Waits until the condition holds, at most for this time.
    async fn until(&self, most: Duration, is_so: impl Fn() -> bool) {
        let end = Instant::now() + most;
        while !is_so() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns how often the programs have said that they reached a fault of this kind.
    fn told_reached(&self, kind: &str) -> u64 {
        let line = format!("reached {kind}");
        let told = lines(&self.folder).filter(|told| *told == line).count();
        u64::try_from(told).unwrap_or(u64::MAX)
    }

    /// Ends all faults, and waits until no row is open. Returns how long that took; `None` if it took too long.
    ///
    /// A program that already runs the newest version is not started again, since a restart would hide a program that
    /// cannot go on.
    async fn come_to_rest(&self, programs: &mut [Program; 2]) -> Result<Option<Duration>, Trouble> {
        self.provider.be_honest();
        set_handlers(&self.folder, "");
        for program in &mut *programs {
            if program.version == 1 {
                program.drain().await?;
                program.version = 2;
                program.start("")?;
                program.is_up().await?;
            }
        }
        self.say("the faults are over");
        let healed = Instant::now();
        close(&self.folder);
        for program in &mut *programs {
            program.is_idle().await?;
        }
        let open = Filter::first(1).standing(Standing::Open);
        let rest = loop {
            let rows = tokio::time::timeout(Duration::from_secs(2), self.ledger.list(&open)).await;
            if matches!(rows, Ok(Ok(rows)) if rows.is_empty()) {
                break Some(healed.elapsed());
            }
            if healed.elapsed() > REST {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        for program in &mut *programs {
            program.drain().await?;
        }
        for line in lines(&self.folder) {
            if let Some(kind) = line.strip_prefix("reached ") {
                self.reached.reached(kind);
            }
        }
        Ok(rest)
    }
}
