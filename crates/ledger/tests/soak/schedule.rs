//! What goes wrong, and in which order: drawn from the seed before the run begins, so that one seed always gives the
//! same schedule.
//!
//! There are three tracks: faults of the programs, of the database, and of the provider. The tracks run at the same
//! time, so faults of different tracks overlap. Each track draws its kinds in rounds: every kind comes once, in a random
//! order, before one comes again. If the kinds were drawn independently, a short run would often lack one of them.
//!
//! What happens to a single request at the provider is not in the schedule. It is drawn from the seed and the key (see
//! `provider.rs`).

use std::time::Duration;

use crate::Options;
use crate::tables::Kind;

/// The points at which a program can be killed. A short run uses the first ones only, which are passed several times a
/// second.
pub(crate) const POINTS: [&str; 15] = [
    "after-attempt",
    "after-answer",
    "after-outcome",
    "after-record",
    "before-settle",
    "before-record",
    "claimed",
    "before-attempt",
    "before-confirm",
    "after-confirm",
    "after-end",
    "after-settle",
    "before-cancel-attempt",
    "after-cancel-attempt",
    "after-cancel-answer",
];

/// One fault. The programs are numbered 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// One program is killed, if possible while the provider works on a request of it, and starts again.
    Kill(usize),
    /// Both programs are killed at the same time, and start again.
    KillBoth,
    /// One program is killed at a fail point, the given time that it passes that point.
    KillAt(usize, &'static str, u64),
    /// One program is stopped until all its leases have ended, and then goes on.
    Stop(usize, Duration),
    /// Both programs are replaced, one after the other, by the version that declares the operation `gift`, or by the
    /// version before, which does not.
    Deploy { back: bool },
    /// The database server is killed and starts again.
    ServerKilled,
    /// All processes of the database server are stopped for a time.
    ServerPaused(Duration),
    /// For a time, no connection to the database transports anything. The old connections stay silent for ever.
    Silent(Duration),
    /// All connections to the database are reset.
    Reset,
    /// Another process holds the write lock of the SQLite file.
    Locked(Duration),
    /// Another process is killed with a written but uncommitted transaction in the SQLite file.
    WriterKilled,
    /// The provider refuses connections.
    Outage(Duration),
    /// The provider, or a handler, behaves in this way for a time.
    Phase(Phase, Duration),
}

/// A way to behave for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Each cancel is answered with a failure.
    CancelsFail,
    /// Questions are answered from a state that is some time old.
    LookUpLags,
    /// Half of the requests are refused.
    Refuses,
    /// The handlers of the application fail.
    HandlersFail,
    /// The handlers of the application panic.
    HandlersPanic,
}

impl Phase {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Phase::CancelsFail => "provider: cancels fail",
            Phase::LookUpLags => "provider: look-up lags",
            Phase::Refuses => "provider: refuses for a while",
            Phase::HandlersFail => "handlers fail",
            Phase::HandlersPanic => "handlers panic",
        }
    }
}

impl Fault {
    /// Returns the name under which the fault is counted.
    pub(crate) fn kind(&self) -> String {
        match self {
            Fault::Kill(_) => "kill: during a request".to_owned(),
            Fault::KillBoth => "kill: both programs".to_owned(),
            Fault::KillAt(_, point, _) => format!("kill: at {point}"),
            Fault::Stop(..) => "stop: past the lease".to_owned(),
            Fault::Deploy { back: false } => "deploy: one more operation".to_owned(),
            Fault::Deploy { back: true } => "deploy: back, rows of it open".to_owned(),
            Fault::ServerKilled => "database: killed".to_owned(),
            Fault::ServerPaused(_) => "database: paused".to_owned(),
            Fault::Silent(_) => "database: silent connection".to_owned(),
            Fault::Reset => "database: connections reset".to_owned(),
            Fault::Locked(_) => "database: write lock held".to_owned(),
            Fault::WriterKilled => "database: writer killed".to_owned(),
            Fault::Outage(_) => "provider: refuses connections".to_owned(),
            Fault::Phase(phase, _) => phase.kind().to_owned(),
        }
    }
}

/// A fault, and the wait before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
}

/// One track: the steps in their order. The first `least` steps are made even if the time of the run is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Track {
    pub(crate) least: usize,
    pub(crate) steps: Vec<Step>,
}

/// Draws the three tracks.
pub(crate) fn draw(options: &Options) -> [Track; 3] {
    let mut random = fastrand::Rng::with_seed(options.seed);
    [programs, database, provider].map(|round| {
        let mut own = random.fork();
        // A step takes at least half a second, so the track does not end before the run does.
        let most = usize::try_from(options.span.as_millis() / 500).unwrap_or(usize::MAX).max(1);
        let mut track = Track { least: 0, steps: Vec::new() };
        while track.steps.len() < most {
            let mut faults = round(options, &mut own, track.steps.len());
            faults.retain(|fault| !options.without.iter().any(|word| fault.kind().contains(word)));
            if faults.is_empty() {
                break;
            }
            let gap = if options.is_short() { 300..1000 } else { 500..3500 };
            let step = |fault| Step { after: Duration::from_millis(own.u64(gap.clone())), fault };
            track.steps.extend(faults.into_iter().map(step));
            track.least = if track.least == 0 { track.steps.len() } else { track.least };
        }
        track
    })
}

fn programs(options: &Options, random: &mut fastrand::Rng, made: usize) -> Vec<Fault> {
    let points = if options.is_short() { &POINTS[..5] } else { &POINTS[..] };
    let mut points = points.to_vec();
    random.shuffle(&mut points);
    points.truncate(if options.is_short() { 2 } else { points.len() });
    let mut faults = vec![
        Fault::Kill(random.usize(..2)),
        Fault::KillBoth,
        Fault::Stop(random.usize(..2), crate::declared::LEASE + Duration::from_millis(random.u64(300..1500))),
    ];
    for point in points {
        faults.push(Fault::KillAt(random.usize(..2), point, random.u64(1..4)));
    }
    random.shuffle(&mut faults);
    // The two deploys are always in this order, since a version that is there already cannot be deployed.
    let back = random.usize(1..=faults.len());
    faults.insert(back, Fault::Deploy { back: true });
    faults.insert(random.usize(..back), Fault::Deploy { back: false });
    if made > 0 && !options.is_short() {
        faults.push(Fault::Kill(random.usize(..2)));
    }
    faults
}

fn database(options: &Options, random: &mut fastrand::Rng, _: usize) -> Vec<Fault> {
    let mut lasts = |range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
    let mut faults = match options.store {
        Kind::Postgres => vec![
            Fault::ServerKilled,
            Fault::ServerPaused(lasts(1000..4000)),
            Fault::Silent(lasts(500..3000)),
            Fault::Reset,
            Fault::Reset,
        ],
        Kind::Sqlite if options.is_short() => vec![Fault::Locked(lasts(1000..2500)), Fault::WriterKilled],
        Kind::Sqlite => vec![
            Fault::Locked(lasts(1000..4000)),
            Fault::Locked(lasts(2500..5000)),
            Fault::WriterKilled,
            Fault::WriterKilled,
        ],
    };
    random.shuffle(&mut faults);
    faults
}

fn provider(_: &Options, random: &mut fastrand::Rng, _: usize) -> Vec<Fault> {
    let phases =
        [Phase::CancelsFail, Phase::LookUpLags, Phase::Refuses, Phase::HandlersFail, Phase::HandlersPanic];
    let mut faults: Vec<Fault> = phases
        .into_iter()
        .map(|phase| Fault::Phase(phase, Duration::from_millis(random.u64(1000..3000))))
        .collect();
    faults.push(Fault::Outage(Duration::from_millis(random.u64(800..4000))));
    random.shuffle(&mut faults);
    faults
}
