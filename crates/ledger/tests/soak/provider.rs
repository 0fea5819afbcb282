//! The provider: it takes requests over TCP, lets a drawn share of them go wrong, and keeps books.
//!
//! It runs in the process of the soak, so its books are still there when programs and the database were killed. What
//! happens to a request is drawn from the seed, the key, and the number of the request under that key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::books::{Entry, Told};
use crate::course::{Answer, Course};
use crate::declared::{NETWORK, PAUSE, WORK};
use crate::reached::Reached;
use crate::schedule::Phase;

/// One request, as it stands in its line.
pub(crate) struct Ask {
    pub(crate) verb: String,
    pub(crate) dependency: String,
    pub(crate) key: String,
    pub(crate) cancel_key: String,
    pub(crate) id: String,
    /// When the program stops waiting, in milliseconds since 1970.
    pub(crate) send_by: u128,
    pub(crate) program: String,
    pub(crate) bytes: String,
}

impl Ask {
    fn read(line: &str) -> Option<Ask> {
        let mut words = line.trim_end().splitn(8, ' ').map(str::to_owned);
        let mut next = || words.next();
        let (verb, dependency, key) = (next()?, next()?, next()?);
        let (cancel_key, id, send_by) = (next()?, next()?, next()?.parse().ok()?);
        Some(Ask { verb, dependency, key, cancel_key, id, send_by, program: next()?, bytes: next()? })
    }

    /// Returns by how much the deadline of the program has passed.
    fn late_by(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Duration::from_millis(u64::try_from(now.saturating_sub(self.send_by)).unwrap_or(u64::MAX))
    }
}

/// The books, by the dependency and the key under which the action is sent.
pub(crate) type Books = HashMap<(String, String), Entry>;

/// The provider. A clone is another handle to it.
#[derive(Clone)]
pub(crate) struct Provider(Arc<Inner>);

struct Inner {
    seed: u64,
    begun: Instant,
    address: String,
    books: Mutex<Books>,
    phases: Mutex<Vec<Phase>>,
    under_way: Mutex<HashMap<String, usize>>,
    /// Whether all faults are over.
    honest: AtomicBool,
    reached: Reached,
    door: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    /// Starts the provider on `address`, which may have the port 0.
    pub(crate) async fn open(seed: u64, address: &str, reached: Reached) -> Provider {
        let listener = TcpListener::bind(address).await.expect("a loopback address is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let provider = Provider(Arc::new(Inner {
            seed,
            begun: Instant::now(),
            address,
            books: Mutex::default(),
            phases: Mutex::default(),
            under_way: Mutex::default(),
            honest: AtomicBool::new(false),
            reached,
            door: Mutex::default(),
        }));
        provider.accept(listener);
        provider
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    fn accept(&self, listener: TcpListener) {
        let provider = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = provider.clone();
                tokio::spawn(async move { provider.serve(stream).await });
            }
        });
        *lock(&self.0.door) = Some(task);
    }

    /// Refuses connections from now on. Requests that have arrived are still answered.
    pub(crate) async fn shut(&self) {
        let door = lock(&self.0.door).take();
        if let Some(door) = door {
            door.abort();
            let _ = door.await;
        }
    }

    /// Accepts connections again.
    pub(crate) async fn serve_again(&self) {
        // The address is one of this run only, so nobody else takes the port meanwhile.
        let listener = TcpListener::bind(self.address()).await.expect("the provider's port is still free");
        self.accept(listener);
    }

    /// Begins or ends a phase.
    pub(crate) fn set(&self, phase: Phase, on: bool) {
        let mut phases = lock(&self.0.phases);
        phases.retain(|known| *known != phase);
        phases.extend(on.then_some(phase));
    }

    /// Answers everything correctly from now on.
    pub(crate) fn be_honest(&self) {
        self.0.honest.store(true, Ordering::SeqCst);
        lock(&self.0.phases).clear();
    }

    /// Returns the number of requests of a program that are being worked on.
    pub(crate) fn under_way(&self, program: &str) -> usize {
        lock(&self.0.under_way).get(program).copied().unwrap_or(0)
    }

    /// Returns a copy of the books.
    pub(crate) fn books(&self) -> Books {
        lock(&self.0.books).clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).await.is_err() {
            return;
        }
        let Some(ask) = Ask::read(&line) else { return };
        let _under_way = UnderWay::begin(self, &ask.program);
        if ask.late_by() > NETWORK + PAUSE {
            self.0.reached.reached("request: arrived after its time");
            self.note(&ask, "arrived after its time, and is dropped");
            return;
        }
        let (course, told) = self.answer(&ask).await;
        match (&course.answer, told) {
            (Answer::Told, Some(text)) => {
                let _ = stream.get_mut().write_all(format!("{text}\n").as_bytes()).await;
            }
            (Answer::Error, _) => {
                let _ = stream.get_mut().write_all(b"error\n").await;
            }
            (Answer::Reset, _) => {
                let _ = stream.get_mut().set_zero_linger();
            }
            (Answer::Never, _) => {
                // Reads until the program has closed its end.
                let _ = stream.read_line(&mut line).await;
            }
            (Answer::Closed, _) | (Answer::Told, None) => {}
        }
    }

    /// Works on a request. Returns its course and what an honest provider answers.
    async fn answer(&self, ask: &Ask) -> (Course, Option<String>) {
        let arrived = Instant::now();
        let at = (ask.dependency.clone(), ask.key.clone());
        let phases = lock(&self.0.phases).clone();
        let (entered, number) = {
            let mut books = lock(&self.0.books);
            let entry = books.entry(at.clone()).or_default();
            let number = entry.count(&ask.verb);
            (entry.enter(ask), number)
        };
        let course = if self.0.honest.load(Ordering::SeqCst) {
            Course::honest()
        } else {
            Course::draw(self.0.seed, ask, number, &phases)
        };
        if let Some(told) = entered {
            self.note(ask, &format!("is answered `{told}`"));
            return (Course::honest(), Some(told));
        }
        tokio::time::sleep(course.delay).await;
        let mut books = lock(&self.0.books);
        let entry = books.entry(at).or_default();
        let late = arrived.elapsed() > WORK;
        let Told { text, effective } = if !course.effect || (late && ask.verb != "confirm") {
            entry.pending = false;
            Told { text: course.told.map(str::to_owned), effective: false }
        } else if course.refused {
            entry.refuse(ask)
        } else {
            entry.take(ask, phases.contains(&Phase::LookUpLags))
        };
        drop(books);
        let text = course.told.map(str::to_owned).or(text);
        let said = text.as_deref().unwrap_or("nothing");
        self.note(ask, &format!("{}: effective: {effective}, told `{said}`", course.kind));
        self.count(ask, &course, effective, late);
        (course, text)
    }

    /// Counts the fault where it took effect.
    fn count(&self, ask: &Ask, course: &Course, effective: bool, late: bool) {
        let reached = &self.0.reached;
        // An honest question is not effective only if the look-up is behind.
        if ask.verb == "confirm" && course.effect && !effective {
            reached.reached(Phase::LookUpLags.kind());
        }
        if course.kind.is_empty() {
            return;
        }
        let kind = format!("{}: {}", ask.verb, course.kind);
        // The kind "after the effect" is reached only if there was an effect, and the kind "slow" only if it came after
        // the program had stopped waiting.
        let as_said =
            if course.is_slow { effective && !ask.late_by().is_zero() } else { effective == course.effect };
        if as_said && !late {
            reached.reached(&kind);
        }
        if ask.verb == "cancel" && course.is_phase {
            reached.reached(Phase::CancelsFail.kind());
        }
        if course.refused && course.is_phase {
            reached.reached(Phase::Refuses.kind());
        }
    }

    fn note(&self, ask: &Ask, what: &str) {
        let line =
            format!("{:.3} s {} {} {what}", self.0.begun.elapsed().as_secs_f64(), ask.program, ask.verb);
        let mut books = lock(&self.0.books);
        books.entry((ask.dependency.clone(), ask.key.clone())).or_default().story.push(line);
    }
}

/// Counts a request of a program as long as the provider works on it.
struct UnderWay<'a> {
    provider: &'a Provider,
    program: String,
}

impl UnderWay<'_> {
    fn begin<'a>(provider: &'a Provider, program: &str) -> UnderWay<'a> {
        *lock(&provider.0.under_way).entry(program.to_owned()).or_default() += 1;
        UnderWay { provider, program: program.to_owned() }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.provider.0.under_way).get_mut(&self.program) {
            *count -= 1;
        }
    }
}
