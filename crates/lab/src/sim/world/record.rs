//! The record of a run, second by second.
//!
//! The goodput of a second is the share of the calls *begun* in this second that ended well, no matter when they ended.
//! If calls were counted when they end, a server that works off a backlog of requests that nobody waits for would look
//! healthy.

use seawall_policy::Time;

use crate::sim::fleet::Seen;

/// The record of one second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// The number of calls that the callers began.
    pub begun: u32,
    /// The number of calls begun that ended well.
    pub ok: u32,
    /// Of the calls begun, the number that the caller's own guards refused before anything was sent.
    pub refused: u32,
    /// Of the refused calls, the number whose caller would have waited until the end of the call.
    pub patient_refused: u32,
    /// Of the calls begun, the number whose caller would wait until the end of the call.
    pub patient: u32,
    /// Of the calls begun, the number whose caller left before the call ended.
    pub left: u32,
    /// The number of calls that began in this second and whose key no trouble names
    /// ([`Trouble::key`](super::Trouble::key)). Calls whose caller left before the call ended are not counted here.
    pub spared: u32,
    /// Of the calls for a key without trouble (`spared`), the number that succeeded.
    pub spared_ok: u32,
    /// Of the calls for a key without trouble (`spared`), the number that the caller's own guards refused.
    pub spared_refused: u32,
    /// Of the calls begun, the number that the same caller had made before. An earlier answer or refusal said when to
    /// come back (as with `Retry-After`), and the caller made the call again at that time.
    pub returned: u32,
    /// The number of attempts that the callers sent.
    pub attempts: u32,
    /// The number of attempts that reached a provider.
    pub load: u32,
    /// The number of attempts that wait at the providers at the end of the second.
    pub waiting: u32,
    /// The maximum number of attempts that were under way at the same time.
    pub in_flight: u32,
    /// The sum of the times that the calls begun in this second took, in seconds.
    pub took: f64,
    /// The number of callers whose breaker was not closed at the end of the second. It is recorded only if
    /// `World::watch` is set, and is zero otherwise.
    pub open: u32,
    /// The mean concurrency limit of the callers at the end of the second. It is recorded only if `World::watch` is
    /// set, and is zero otherwise.
    pub limit: f32,
}

/// The record of one provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provider {
    /// For each tenth of a second, the number of attempts that reached the provider.
    pub tenths: Vec<u32>,
    /// For each second, the number of attempts that the provider answered well while their caller still waited.
    pub served: Vec<u32>,
    /// For each second, the number of attempts that the provider answered 429 or 503 without any work.
    pub turned_away: Vec<u32>,
}

/// The record of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The record of each second.
    pub seconds: Vec<Second>,
    /// For each call: when it began, how long it took, both in seconds, and whether it ended well. The list is empty if
    /// `World::watch` is not set.
    pub calls: Vec<(f32, f32, bool)>,
    /// The number of attempts that were followed to their real ending after their caller had left.
    pub followed: u32,
    /// The first time at which a caller had a breaker that was not closed, in seconds. `None` if there was no such
    /// time, or if `World::watch` is not set.
    pub opened: Option<f64>,
    /// The smallest limit that any caller had. `None` if no caller has a limit, or if `World::watch` is not set.
    pub least_limit: Option<u32>,
    /// The record of each provider.
    pub providers: Vec<Provider>,
    /// The hash over all events of the run, in their order.
    pub hash: u64,
    /// The number of events of the run.
    pub events: u64,
}

/// The state of all callers' guards at one moment: the number of callers whose breaker is not closed, the sum of the
/// limits, and the number of callers that have a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guarded {
    pub(super) open: u32,
    pub(super) limits: f64,
    pub(super) limited: u32,
}

impl Guarded {
    pub(super) fn add(&mut self, seen: Seen) {
        self.open += u32::from(seen.is_open());
        if let Some(limit) = seen.limit {
            self.limits += f64::from(limit);
            self.limited += 1;
        }
    }
}

/// The provider counts as recovered if the goodput of each further second is at least this.
const WHOLE: f64 = 0.95;
/// The number of seconds at the end of a run that [`Record::recovery`] leaves out. Some calls that began in these
/// seconds have not ended. Besides, a high goodput in so short a time does not show that it stays high.
const UNFINISHED_SECONDS: usize = 12;

impl Record {
    pub(super) fn new(seconds: usize, providers: usize) -> Record {
        let provider = Provider {
            tenths: vec![0; seconds * 10],
            served: vec![0; seconds],
            turned_away: vec![0; seconds],
        };
        let (seconds, providers) = (vec![Second::default(); seconds], vec![provider; providers]);
        Record { seconds, providers, ..Record::default() }
    }

    /// Records that an attempt reached a provider.
    pub(super) fn reached(&mut self, provider: usize, now: Time) {
        self.second(now).load += 1;
        count(&mut self.providers[provider].tenths, now, 100_000_000);
    }

    /// Records that a provider answered an attempt well.
    pub(super) fn served(&mut self, provider: usize, now: Time) {
        count(&mut self.providers[provider].served, now, 1_000_000_000);
    }

    /// Records that a provider answered 429 or 503 without any work.
    pub(super) fn turned_away(&mut self, provider: usize, now: Time) {
        count(&mut self.providers[provider].turned_away, now, 1_000_000_000);
    }

    /// Returns the largest number of attempts that reached a provider in one tenth of a second. `from` and `to` count
    /// tenths of a second from the start of the run; the tenth `to` is left out.
    #[must_use]
    pub fn peak(&self, provider: usize, from: usize, to: usize) -> u32 {
        let tenths = self.providers.get(provider).map_or(&[][..], |provider| &provider.tenths);
        let end = to.min(tenths.len());
        tenths[from.min(end)..end].iter().copied().max().unwrap_or(0)
    }

    pub(super) fn second(&mut self, time: Time) -> &mut Second {
        let last = self.seconds.len() - 1;
        &mut self.seconds[((time.as_nanos() / 1_000_000_000) as usize).min(last)]
    }

    /// Records what was seen of a caller's guards.
    pub(super) fn saw(&mut self, seen: Seen, now: Time) {
        if seen.is_open() {
            self.opened.get_or_insert(now.as_nanos() as f64 / 1e9);
        }
        self.least_limit = self.least_limit.into_iter().chain(seen.least_limit).min();
    }

    /// Returns the sum of `what` over the seconds from `from` to `to`, without `to`.
    pub fn sum(&self, from: usize, to: usize, what: impl Fn(&Second) -> f64) -> f64 {
        let end = to.min(self.seconds.len());
        self.seconds[from.min(end)..end].iter().map(what).sum()
    }

    /// Returns which share of calls ended well, from 0 to 1. Only calls that began in the seconds from `from` to `to`,
    /// without `to`, are counted. If no call began, the share is zero.
    #[must_use]
    pub fn goodput(&self, from: usize, to: usize) -> f64 {
        let begun = self.sum(from, to, |second| f64::from(second.begun));
        self.sum(from, to, |second| f64::from(second.ok)) / begun.max(1.0)
    }

    /// Returns which share of calls the guards of their own caller refused, from 0 to 1. Only calls that began in the
    /// seconds from `from` to `to`, without `to`, are counted. If no call began, the share is zero.
    #[must_use]
    pub fn refused(&self, from: usize, to: usize) -> f64 {
        let begun = self.sum(from, to, |second| f64::from(second.begun));
        self.sum(from, to, |second| f64::from(second.refused)) / begun.max(1.0)
    }

    /// Returns the number of seconds from `trouble_over` until goodput is 95 % or more and stays so. Returns `None` if
    /// goodput is still lower near the end of the run.
    #[must_use]
    pub fn recovery(&self, trouble_over: usize) -> Option<f64> {
        let end = self.seconds.len().saturating_sub(UNFINISHED_SECONDS);
        let bad = |second: &Second| f64::from(second.ok) < WHOLE * f64::from(second.begun);
        let last = (trouble_over..end).rev().find(|index| bad(&self.seconds[*index]));
        match last {
            None => Some(0.0),
            Some(last) if last + 2 >= end => None,
            Some(last) => Some((last + 1 - trouble_over) as f64),
        }
    }

    /// Divides the number of attempts by the number of calls begun, for each span of ten successive seconds between
    /// `from` and `to`. Returns the largest of these quotients: 3.0 means that each call had three attempts on average.
    /// Returns zero if there is no such span.
    #[must_use]
    pub fn peak_amplification(&self, from: usize, to: usize) -> f64 {
        let end = to.min(self.seconds.len());
        let share = |window: &[Second]| {
            let sum = |what: fn(&Second) -> u32| window.iter().map(|s| f64::from(what(s))).sum::<f64>();
            sum(|second| second.attempts) / sum(|second| second.begun).max(1.0)
        };
        self.seconds[from.min(end)..end].windows(10).map(share).fold(0.0, f64::max)
    }

    /// Returns the maximum number of attempts that were under way at the same time, in the seconds from `from` to `to`,
    /// without `to`.
    #[must_use]
    pub fn most_in_flight(&self, from: usize, to: usize) -> u32 {
        let end = to.min(self.seconds.len());
        self.seconds[from.min(end)..end].iter().map(|second| second.in_flight).max().unwrap_or(0)
    }

    /// Returns the mean time, in seconds, that a call took, for the calls that began in the seconds from `from` to
    /// `to`, without `to`.
    #[must_use]
    pub fn mean_latency(&self, from: usize, to: usize) -> f64 {
        let begun = self.sum(from, to, |second| f64::from(second.begun));
        self.sum(from, to, |second| second.took) / begun.max(1.0)
    }

    /// Returns a quantile of the times that calls took, in seconds; `quantile` is from 0 to 1. It is taken over the
    /// calls in `calls` that began in the second `from` or later, and before the second `to`. Returns `None` if there
    /// are no such calls.
    #[must_use]
    pub fn latency_quantile(&self, from: f32, to: f32, quantile: f64) -> Option<f64> {
        let begun = self.calls.iter().filter(|(began, _, _)| (from..to).contains(began));
        let mut times: Vec<f32> = begun.map(|(_, took, _)| *took).collect();
        times.sort_by(f32::total_cmp);
        let at = (times.len() as f64 * quantile) as usize;
        times.get(at.min(times.len().saturating_sub(1))).map(|time| f64::from(*time))
    }
}

fn count(spans: &mut [u32], now: Time, nanos: u64) {
    let last = spans.len() - 1;
    spans[((now.as_nanos() / nanos) as usize).min(last)] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ok_of_ten: &[u32]) -> Record {
        let second = |ok: &u32| Second { begun: 10, ok: *ok, attempts: 20 - ok, ..Second::default() };
        Record { seconds: ok_of_ten.iter().map(second).collect(), ..Record::default() }
    }

    #[test]
    fn recovered_is_when_it_stays_so() {
        let ending = [&[10; 3][..], &[0; UNFINISHED_SECONDS]].concat();
        let with = |middle: &[u32]| record(&[middle, &ending[..]].concat());
        assert_eq!(with(&[10, 10, 10]).recovery(1), Some(0.0));
        assert_eq!(with(&[10, 0, 10]).recovery(1), Some(1.0));
        assert_eq!(with(&[10, 0, 10, 9, 10]).recovery(1), Some(3.0), "a relapse counts");
        assert_eq!(record(&[&[10][..], &[0; 20]].concat()).recovery(1), None);
    }

    #[test]
    fn shares_are_over_calls_begun() {
        let record = record(&[10, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record.goodput(0, 2), 0.75);
        assert_eq!(record.goodput(2, 2), 0.0, "no calls, no goodput, and no NaN");
        assert_eq!(record.peak_amplification(1, 11), 1.95);
    }
}
