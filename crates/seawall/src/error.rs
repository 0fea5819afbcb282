//! The type [`Error`]: why a call has no answer, and what is known of its effect.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::{Effect, Ending, Finish, Origin, Reason, Stopped, Time};

use crate::call_site::CallSite;
use crate::fault::BoxError;
use crate::held::ConnectionHeld;

/// The error of a call that did not succeed.
///
/// Look first at [`Error::effect`]. It says whether the provider did what the call requested, did not do it, or may
/// have done it.
///
/// ```
/// # fn roll_back() {} fn ask_later() {}
/// # fn handle(e: &seawall::Error) {
/// use seawall::Effect;
/// match e.effect() {
///     Effect::NotApplied => roll_back(),
///     Effect::Unknown => ask_later(),
///     Effect::Applied => {} // it took effect; only the rest of the answer is missing
/// }
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    dependency: Arc<str>,
    place: &'static Location<'static>,
    effect: Effect,
    reason: Option<Reason>,
    origin: Origin,
    retry_after: Option<Duration>,
    attempts: u32,
    stopped: Option<Stopped>,
    status: Option<u16>,
    detail: Option<String>,
    source: Option<BoxError>,
}

impl Error {
    /// Returns what is known of the effect of the whole call, over all its attempts.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Returns the reason of the failure, as a word that `seawall explain` explains.
    ///
    /// Returns `None` if the last attempt ended in an answer; [`Error::status`] then returns its status.
    ///
    /// Also returns `None` if the closure or the wrapped service returned an error of its own; [`Error::downcast_ref`]
    /// then returns that error. There is one exception: if the closure's or service's error says that this program has
    /// no file descriptor left, the reason is returned all the same, because the dependency is not the cause.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// Returns the party from which the error comes: the caller, the dependency, or Seawall itself. It is Seawall if
    /// Seawall refused the call, to protect the caller or the dependency.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Returns the time to wait, counted from this error, before a new call may succeed; `None` if that is not known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the number of attempts that were made; 0 if Seawall refused the call before the first attempt.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns why the failed attempt was not repeated, for example `attempts` if all attempts are used up. Returns
    /// `None` if no attempt was made, or if a repeat would not have helped, as after a definite "no".
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        self.0.stopped
    }

    /// Returns the status of the answer; `None` if the error is not about an answer of the dependency.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The dependency's name.
    #[must_use]
    pub fn dependency(&self) -> &str {
        &self.0.dependency
    }

    /// The place in the program where the call was made.
    #[must_use]
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// Returns the error of the last attempt, as the closure or the wrapped service returned it; `None` if it is not of
    /// type `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Takes out the error of the last attempt, as the closure or the wrapped service returned it.
    ///
    /// # Errors
    /// Returns this error itself, if its source is missing or is not of type `E`.
    pub fn downcast<E: StdError + 'static>(mut self) -> Result<E, Error> {
        match self.0.source.take().map(|source| source.downcast::<E>()) {
            Some(Ok(found)) => Ok(*found),
            Some(Err(other)) => {
                self.0.source = Some(other);
                Err(self)
            }
            None => Err(self),
        }
    }

    /// Makes the error of a request that cannot be sent because of a mistake of the caller. Nothing was sent.
    #[cfg(feature = "http")]
    pub(crate) fn mistaken(site: CallSite<'_>, what: impl Into<String>) -> Error {
        let mut error = Error::unsent(site, Origin::Caller);
        error.0.reason = Some(Reason::BadRequest);
        error.0.detail = Some(what.into());
        error
    }

    /// Makes the error of a wrapped service whose `poll_ready` failed. Nothing was sent.
    #[cfg(feature = "tower")]
    pub(crate) fn not_ready(site: CallSite<'_>, source: BoxError) -> Error {
        let mut error = Error::unsent(site, Origin::Dependency);
        error.0.source = Some(source);
        error
    }

    #[cfg(any(feature = "http", feature = "tower"))]
    fn unsent(site: CallSite<'_>, origin: Origin) -> Error {
        Error(Box::new(Inner {
            dependency: Arc::clone(site.dependency),
            place: site.place,
            effect: Effect::NotApplied,
            reason: None,
            origin,
            retry_after: None,
            attempts: 0,
            stopped: None,
            status: None,
            detail: None,
            source: None,
        }))
    }

    /// Adds a detail to the error, in words.
    #[cfg(feature = "http")]
    pub(crate) fn with_detail(mut self, detail: Option<String>) -> Error {
        self.0.detail = detail;
        self
    }

    /// Adds the status of the answer to the error.
    #[cfg(feature = "http")]
    pub(crate) fn answered(mut self, status: u16) -> Error {
        self.0.status = Some(status);
        self
    }

    /// Returns the error of a call whose answer's body broke off after its head had arrived: sets the reason, the
    /// origin and the detail from `broke`. The other fields stay as they are.
    #[cfg(feature = "http")]
    pub(crate) fn truncated(mut self, broke: &seawall_client::Truncated) -> Error {
        self.0.reason = Some(broke.reason());
        self.0.origin = broke.reason().origin();
        self.0.detail = Some(broke.to_string());
        self
    }

    /// Makes the error of a call that was not begun, because its task holds a database connection.
    pub(crate) fn held(site: CallSite<'_>, held: ConnectionHeld) -> Error {
        Error(Box::new(Inner {
            dependency: Arc::clone(site.dependency),
            place: site.place,
            effect: Effect::NotApplied,
            reason: Some(Reason::ConnectionHeld),
            origin: Reason::ConnectionHeld.origin(),
            retry_after: None,
            attempts: 0,
            stopped: None,
            status: None,
            detail: Some(held.to_string()),
            source: Some(Box::new(held)),
        }))
    }

    /// Makes the error of a call that ended without a good answer, at the time `now`.
    pub(crate) fn of_call(
        site: CallSite<'_>,
        finish: &Finish,
        ending: Option<&Ending>,
        source: Option<BoxError>,
        now: Time,
    ) -> Error {
        let refusal = finish.refusal.as_ref();
        let reason = refusal.map(|no| no.reason).or_else(|| ending.and_then(Ending::reason));
        let answer = match (refusal, ending) {
            (None, Some(Ending::Answered(answer))) => Some(answer),
            _ => None,
        };
        let retry_after = match refusal {
            Some(no) => no.come_back(now, seawall_client::draw()),
            None => answer.and_then(|answer| answer.retry_after),
        };
        // If there is a `source`, it is the error of the closure or of the wrapped service, and says more than the
        // reason. So the reason is left out. But a lack of file descriptors is kept as the reason, because it is a
        // fault of this program, and not of the dependency.
        let ours = reason == Some(Reason::OutOfDescriptors);
        let reason = if source.is_some() && !ours { None } else { reason };
        Error(Box::new(Inner {
            dependency: Arc::clone(site.dependency),
            place: site.place,
            effect: finish.effect,
            reason,
            origin: reason.map_or(Origin::Dependency, Reason::origin),
            retry_after,
            attempts: finish.attempts,
            stopped: finish.stopped,
            status: None,
            detail: None,
            source,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}: ", inner.dependency)?;
        match (inner.reason, inner.status, &inner.source) {
            (Some(reason), _, _) => write!(f, "{reason}")?,
            (None, Some(status), _) => write!(f, "answered {status}")?,
            (None, None, Some(source)) => write!(f, "{source}")?,
            (None, None, None) => f.write_str("failed")?,
        }
        write!(f, " (effect {}", inner.effect)?;
        match inner.attempts {
            0 => f.write_str(", not attempted")?,
            1 => {}
            many => write!(f, ", {many} attempts")?,
        }
        if let Some(stopped) = inner.stopped {
            write!(f, ", not repeated: {stopped}")?;
        }
        f.write_str(")")?;
        match &inner.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("Error")
            .field("dependency", &inner.dependency)
            .field("place", &format_args!("{}", inner.place))
            .field("effect", &inner.effect)
            .field("reason", &inner.reason)
            .field("origin", &inner.origin)
            .field("retry_after", &inner.retry_after)
            .field("attempts", &inner.attempts)
            .field("stopped", &inner.stopped)
            .field("status", &inner.status)
            .field("detail", &inner.detail)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
