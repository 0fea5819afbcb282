//! Streams of random numbers that depend on a seed, and the distributions that are drawn from them.
//!
//! Each entity of a simulation, such as each provider, has its own stream. The stream is made from the seed, the kind
//! of the entity, and its number. If all entities shared one stream, every draw would depend on the order of all other
//! draws, and a policy that draws one more number would change the arrivals. Then two policies could not be compared
//! with the same seed, because they would not see the same arrivals.

use std::time::Duration;

use seawall_policy::Draw;

/// A stream of random numbers (SplitMix64; G. L. Steele, D. Lea, C. H. Flood, *Fast Splittable Pseudorandom Number
/// Generators*, OOPSLA 2014). A stream takes eight bytes, so a hundred thousand streams need little memory.
#[derive(Clone, Debug)]
pub struct Stream(u64);

/// The kind of entity to which a stream belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The beginnings of calls, and which caller makes them.
    Arrivals,
    /// A caller's own draws, such as the waits before its repeats.
    Caller,
    /// A provider's service times and failures.
    Provider,
    /// The delays of the network.
    Network,
    /// The choice of the callers that leave before the end of their calls, and the times at which they leave.
    Leavers,
}

impl Stream {
    /// Returns the random numbers of one part of a simulation, such as one provider, in the run with this seed. `whose`
    /// is the kind of the part, and `number` tells the parts of one kind apart.
    #[must_use]
    pub fn of(seed: u64, whose: Whose, number: u64) -> Stream {
        let mut stream = Stream(seed ^ 0xa076_1d64_78bd_642f);
        stream.0 = stream.bits() ^ (whose as u64 + 1).wrapping_mul(0xe703_7ed1_a0b4_28db);
        stream.0 = stream.bits() ^ number.wrapping_mul(0x8ebc_6af0_9c88_c6e3);
        stream.0 = stream.bits();
        stream
    }

    /// Returns 64 uniform random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a random number for the machines of `policy`.
    #[inline]
    pub fn draw(&mut self) -> Draw {
        Draw::new(self.bits())
    }

    /// Returns a number that is uniform in `[0, 1)`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a whole number that is uniform in `0..bound`, or zero if `bound` is zero.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u32
    }

    /// Returns `true` with the probability `share`. If `share` is zero or less, returns `false` and draws no number.
    #[inline]
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// Returns a number from the exponential distribution with mean one.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Returns a number from the normal distribution with mean zero and standard deviation one (Box and Muller).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The distribution of how long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Always this number of seconds.
    Fixed(f64),
    /// Exponential: the mean in seconds.
    Exponential(f64),
    /// Log-normal: the mean in seconds, and the standard deviation of the logarithm.
    LogNormal(f64, f64),
    /// Pareto, a distribution with a heavy tail: the mean in seconds, and the tail index, which is above one.
    Pareto(f64, f64),
    /// Uniform between two times: the shortest and the longest, in seconds.
    Uniform(f64, f64),
    /// The absolute value of a normal distribution: the mean and the standard deviation, in seconds.
    Normal(f64, f64),
    /// One of two times. The numbers are the probability of the rare time, the usual time in seconds, and the rare time
    /// in seconds.
    Either(f64, f64, f64),
}

impl Spread {
    /// Draws one time and returns it in seconds.
    #[inline]
    pub fn seconds(self, stream: &mut Stream) -> f64 {
        match self {
            Spread::Fixed(seconds) => seconds,
            Spread::Exponential(mean) => mean * stream.exponential(),
            Spread::LogNormal(mean, sigma) => mean * (sigma * stream.normal() - sigma * sigma / 2.0).exp(),
            Spread::Pareto(mean, index) => {
                mean * (index - 1.0) / index * (1.0 - stream.unit()).powf(-1.0 / index)
            }
            Spread::Uniform(low, high) => low + (high - low) * stream.unit(),
            Spread::Normal(mean, deviation) => (mean + deviation * stream.normal()).abs(),
            Spread::Either(share, usual, seldom) => {
                if stream.chance(share) {
                    seldom
                } else {
                    usual
                }
            }
        }
    }

    /// Draws one time and returns it as a duration.
    #[inline]
    pub fn draw(self, stream: &mut Stream) -> Duration {
        seconds(self.seconds(stream))
    }

    /// Returns the mean, in seconds. For [`Spread::Normal`] it is an approximation that is good if the mean is well
    /// above the standard deviation.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Spread::Fixed(mean)
            | Spread::Exponential(mean)
            | Spread::LogNormal(mean, _)
            | Spread::Pareto(mean, _)
            | Spread::Normal(mean, _) => mean,
            Spread::Uniform(low, high) => (low + high) / 2.0,
            Spread::Either(share, usual, seldom) => usual + share * (seldom - usual),
        }
    }
}

/// Returns a number of seconds as a duration. A negative number gives zero; the maximum is a century.
#[must_use]
#[inline]
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds.clamp(0.0, 3.2e9) * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_has_its_mean() {
        let seed = 7;
        let mut stream = Stream::of(seed, Whose::Provider, 0);
        for spread in [
            Spread::Fixed(2.0),
            Spread::Exponential(2.0),
            Spread::LogNormal(2.0, 1.0),
            Spread::Pareto(2.0, 3.0),
            Spread::Uniform(1.0, 3.0),
            Spread::Normal(2.0, 0.4),
            Spread::Either(0.25, 1.0, 5.0),
        ] {
            let draws = 400_000;
            let mean = (0..draws).map(|_| spread.seconds(&mut stream)).sum::<f64>() / f64::from(draws);
            assert!((mean - spread.mean()).abs() < 0.04, "seed {seed}: {spread:?} has mean {mean}");
        }
    }

    #[test]
    fn streams_of_two_entities_share_nothing() {
        let bits = |whose, number| Stream::of(1, whose, number).bits();
        let all = [
            bits(Whose::Caller, 0),
            bits(Whose::Caller, 1),
            bits(Whose::Provider, 0),
            bits(Whose::Arrivals, 1),
            Stream::of(2, Whose::Caller, 0).bits(),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one));
        }
        assert_eq!(bits(Whose::Caller, 5), bits(Whose::Caller, 5));
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut stream = Stream::of(1, Whose::Caller, 0);
        let mut seen = [0_u32; 3];
        (0..3000).for_each(|_| seen[stream.below(3) as usize] += 1);
        assert!(seen.iter().all(|n| *n > 900), "{seen:?}");
        assert_eq!(stream.below(0), 0);
    }
}
