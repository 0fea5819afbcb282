//! Decides under which key a request is sent to the provider.
//!
//! The caller chooses the key of an action. The provider gets that key as its idempotency key or as an order id, and
//! has rules of its own: one takes 16 to 256 characters of `A-Za-z0-9-_`, another takes at most 64 bytes. [`KeyRules`]
//! says what the provider takes.
//!
//! 1. A caller's key that fits the rules is sent as it is, unless it begins with the prefix of rule 3.
//! 2. Any other caller's key is *mapped*: a text that fits is computed from it, and is sent instead. The key of a
//!    cancel is always mapped.
//! 3. A mapped key is a prefix and a hash. It consists of allowed letters and digits only, if 128 bits of the hash can
//!    be written with them within the greatest length. Otherwise it consists of any allowed characters. The prefix is
//!    `sw` if the rules allow both characters. Otherwise the characters that mapped keys consist of are put in the
//!    order of ASCII, and the first two are the prefix. A caller's key that begins with the prefix is never sent as it
//!    is. So no caller can choose a key that equals a mapped key.
//!
//! The obvious rule repairs a key: it cuts what is too long, fills up what is too short, and replaces what is not
//! allowed. Then `order 1` and `order_1` become the same key, and the provider answers the second order with the
//! answer to the first.
//!
//! Another obvious rule uses every allowed character in a mapped key, which makes it a little shorter. But a key often
//! stands in a header field, and some programs on the way change a comma, a quote or a backslash there. Letters and
//! digits arrive as they were sent.
//!
//! # How a mapped key is computed
//!
//! This never changes. A request may be sent again days later, by a newer version of this program, and must carry
//! the same key. `keys_tests.rs` has values that must stay as they are.
//!
//! - The hash is SHA-256 of these fields, one after the other: the text `seawall key v1`, the dependency, the caller's
//!   key, the kind (`perform` or `cancel`), the generation, the salt. Before each text stands its length in bytes.
//!   Lengths and numbers are written as eight bytes, the most significant first. A perform has generation 0.
//! - The characters of the mapped key are the allowed ones among `A-Z`, `a-z` and `0-9`, if 128 bits fit into a key
//!   that consists of them. Two characters of the greatest length are for the prefix. For example, with all 62 letters
//!   and digits, 128 bits take 22 characters, so the greatest length must be at least 24. If 128 bits do not fit, all
//!   allowed characters are used.
//! - The hash is read as one number, the most significant byte first, and is written in base N. N is the number of
//!   these characters, and they are the digits 0 to N - 1 in the order of ASCII.
//! - Only the last digits are kept, as many as 128 bits take. If the key would then be shorter than the least length,
//!   more digits are kept, until it has the least length. If it would be longer than the greatest length, fewer are
//!   kept, until it has the greatest length. If the hash has fewer digits than are kept, zeros stand before them.
//!
//! ```
//! use seawall_ledger::keys::KeyRules;
//!
//! let rules = KeyRules::parse("A-Za-z0-9_-", 16, 256)?;
//! assert_eq!(rules.sent("payments", "order-2026-11-30", 0), None, "it is sent as it is");
//! assert_eq!(rules.sent("payments", "order-1", 0).as_deref(), Some("swG0dnh8lcWqsbfBczgB3h8r"));
//! assert_eq!(rules.cancel_key("payments", "order-1", 0, 0), "swqWaKizXWpgZhXyAsfUQSIs");
//! # Ok::<(), Vec<seawall_policy::Problem>>(())
//! ```

use std::fmt;

use seawall_policy::{Gravity, Problem, Wrong};
use sha2::{Digest, Sha256};

/// The first field of every hash. Another way to compute keys would need another text here.
const DOMAIN: &str = "seawall key v1";
/// Each hash contains the kind of its key. This is the kind of a key under which an action is performed.
const PERFORM: &str = "perform";
/// The kind, in the hash, of a key under which an action is cancelled.
const CANCEL: &str = "cancel";

/// The number of characters of the prefix of a mapped key.
const PREFIX: usize = 2;
/// The number of bits of the hash that a mapped key has if the greatest length allows it. With 128 bits, two of 10^15
/// keys are equal with a probability below 10^-8.
const BITS: u32 = 128;
/// If mapped keys have fewer bits of the hash than this, `KeyRules::check` returns a note. With 96 bits, two of 10^10
/// keys are equal with a probability below 10^-9.
const FEW_BITS: u32 = 96;
/// If mapped keys would have fewer bits of the hash than this, the rules are refused. With 64 bits, two of 10^7 keys
/// are equal with a probability of 3 in a million, and two of 5 × 10^9 keys with a probability of one half.
const TOO_FEW_BITS: u32 = 64;
/// The maximum value of [`KeyRules`]' `min`, the least length of a key, in bytes. A mapped key may have to be as long
/// as the least length, and the columns and indexes of the ledger hold keys of up to 255 bytes.
const MAX_MIN: usize = 255;

const FIRST: u8 = b'!';
const LAST: u8 = b'~';

/// A set of at least two visible ASCII characters (`!` to `~`): those that a provider takes in a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyChars {
    /// Bit number N is set if the character whose byte is N is in the set.
    bits: u128,
}

impl KeyChars {
    /// Reads a set that is written as characters and ranges, for example `A-Za-z0-9_-`. The range `!-~` is every
    /// visible character.
    ///
    /// The character `-` itself stands first or last, or is a part of a range. It may also stand directly after a
    /// range, as in regular expressions, since providers write `A-Za-z0-9-_`.
    ///
    /// Nothing else has a special meaning. So a sign of a regular expression is read as an allowed character. Two
    /// things are refused, because they are probably meant as in a regular expression:
    ///
    /// - Brackets around the whole set, as in `[a-z]`.
    /// - A backslash, as in `\d`. It is allowed only as the end of a range. So to allow the backslash alone, write the
    ///   range from the backslash to itself, which is `\-\`.
    ///
    /// # Errors
    /// If the set is empty or has only one character, if a character is not visible ASCII, or if a range is reversed.
    /// Also if a `-`, a `\` or brackets stand where they could mean something else.
    pub fn parse(written: &str) -> Result<KeyChars, Wrong> {
        if written.is_empty() {
            return Err(Wrong::new("no character is allowed").help("as in \"A-Za-z0-9_-\""));
        }
        if let Some(odd) = written.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(Wrong::new(format!("`{}` is not a visible ASCII character", odd.escape_debug()))
                .help("the characters from ! to ~ can be used"));
        }
        if written.starts_with('[') && written.ends_with(']') && !matches!(written, "[]" | "[-]") {
            return Err(Wrong::new("the brackets would be read as allowed characters")
                .help("write the characters without brackets"));
        }
        let inner = written.strip_prefix('-').unwrap_or(written);
        let inner = inner.strip_suffix('-').unwrap_or(inner);
        let mut bits = if inner.len() < written.len() { bit(b'-') } else { 0 };
        let mut rest = inner.as_bytes();
        while let Some(range) = Range::take(&mut rest)? {
            bits |= (range.first..=range.last).fold(0, |bits, byte| bits | bit(byte));
            if range.takes_hyphen_after(&mut rest) {
                bits |= bit(b'-');
            }
        }
        if bits.count_ones() < 2 {
            return Err(Wrong::new("only one character is allowed").help("a mapped key needs at least two"));
        }
        Ok(KeyChars { bits })
    }

    /// Returns whether the set has the character with this byte.
    #[must_use]
    pub fn contains(self, byte: u8) -> bool {
        byte.is_ascii() && self.bits & bit(byte) != 0
    }

    /// Returns the number of characters: 2 to 94.
    #[must_use]
    pub fn count(self) -> u32 {
        self.bits.count_ones()
    }

    /// Returns the characters in the order of ASCII.
    fn in_order(self) -> impl Iterator<Item = u8> {
        (FIRST..=LAST).filter(move |&byte| self.contains(byte))
    }

    /// Returns the letters and digits of the set. Unlike other sets, the result may be empty or have only one
    /// character.
    fn letters_and_digits(self) -> KeyChars {
        let bytes = self.in_order().filter(u8::is_ascii_alphanumeric);
        KeyChars { bits: bytes.fold(0, |bits, byte| bits | bit(byte)) }
    }

    /// Returns the number of digits with which every number of [`BITS`] bits can be written, if these characters are
    /// the digits. Returns `None` for a set of fewer than two characters.
    fn digits(self) -> Option<usize> {
        if self.count() < 2 {
            return None;
        }
        let mut powers = std::iter::successors(Some(Number::ONE), |power| power.times(self.count()));
        powers.position(|power| power.log2() >= BITS)
    }
}

impl Default for KeyChars {
    /// Returns every visible ASCII character.
    fn default() -> Self {
        KeyChars { bits: (FIRST..=LAST).fold(0, |bits, byte| bits | bit(byte)) }
    }
}

impl fmt::Display for KeyChars {
    /// Writes the set so that [`KeyChars::parse`] reads the same set. Equal sets are written equally.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = *self;
        let is_inside = left.contains(b'-' - 1) && left.contains(b'-' + 1);
        if left.contains(b'-') && !is_inside {
            f.write_str("-")?;
            left.bits &= !bit(b'-');
        }
        let mut bytes = left.in_order().peekable();
        while let Some(first) = bytes.next() {
            let mut last = first;
            // `parse` refuses a range that begins with a backslash. So a backslash that would begin a range is written
            // as a part of its own, and the rest of the range as another part.
            while first != b'\\'
                && let Some(next) = bytes.next_if_eq(&(last + 1))
            {
                last = next;
            }
            let (from, to) = (char::from(first), char::from(last));
            match last - first {
                _ if first <= b'\\' && b'\\' <= last => write!(f, "{from}-{to}")?,
                0 => write!(f, "{from}")?,
                1 => write!(f, "{from}{to}")?,
                2.. => write!(f, "{from}-{to}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyChars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyChars({self})")
    }
}

/// One part of a written set: a range of characters, or a single one.
struct Range {
    first: u8,
    last: u8,
}

impl Range {
    /// Takes the next part from `rest`, in which only visible ASCII characters stand. Returns `None` at the end. Fails
    /// if the part is a reversed range, or if it has a `-` or a `\` that could mean something else.
    fn take(rest: &mut &[u8]) -> Result<Option<Range>, Wrong> {
        let range = match **rest {
            [] => return Ok(None),
            [b'-', ..] | [_, b'-'] | [_, b'-', b'-', ..] => {
                return Err(Wrong::new("a `-` stands where it is no range")
                    .help("write a `-` that is allowed itself first or last"));
            }
            [b'\\', b'-', b'\\', ..] => Range { first: b'\\', last: b'\\' },
            [b'\\', ..] => {
                return Err(Wrong::new("the `\\` would be read as an allowed character")
                    .help("nothing needs to be escaped; if it is allowed itself, write `\\-\\`"));
            }
            [first, b'-', last, ..] => Range { first, last },
            [first, ..] => Range { first, last: first },
        };
        if range.first > range.last {
            let (first, last) = (char::from(range.first), char::from(range.last));
            return Err(Wrong::new(format!("the range `{first}-{last}` is reversed"))
                .help(format!("write `{last}-{first}`")));
        }
        let length = if rest.get(1) == Some(&b'-') { 3 } else { 1 };
        *rest = &rest[length..];
        Ok(Some(range))
    }

    /// A `-` that follows directly after a range stands for itself, as the second `-` in `a-z-_` does. If `rest`
    /// begins with such a `-`, removes it from `rest` and returns `true`. Otherwise changes nothing and returns
    /// `false`.
    ///
    /// If a second `-` or a `\` stands beside the `-`, it could mean something else in a regular expression. Then the
    /// `-` stays in `rest`, and [`Range::take`] refuses it. A `-` after a single character does not come here, since
    /// it begins a range.
    fn takes_hyphen_after(&self, rest: &mut &[u8]) -> bool {
        let [b'-', next, ..] = **rest else { return false };
        if self.last == b'\\' || matches!(next, b'-' | b'\\') {
            return false;
        }
        *rest = &rest[1..];
        true
    }
}

/// Returns the bit that stands for an ASCII character.
fn bit(byte: u8) -> u128 {
    1 << byte
}

/// Which keys a provider takes, and how other keys are mapped to keys that it takes. The documentation of this module
/// has the rules.
///
/// Two different keys of one dependency are sent as different keys. Only two mapped keys may be equal by chance, and
/// this is very improbable (see [`KeyRules::bits`]). A unique index of the ledger then refuses the second key, and the
/// caller of this module takes the next salt. If the declaration of a provider changes, the same key may be sent
/// differently. So the key that was sent first, or its salt and its rules, must be kept with the action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRules {
    chars: KeyChars,
    min: usize,
    max: usize,
    /// The characters that mapped keys consist of: the letters and digits of `chars`, if a key of them can hold 128
    /// bits of the hash. Otherwise all of `chars`.
    alphabet: KeyChars,
}

impl Default for KeyRules {
    /// Returns the rules of a provider of which nothing is declared: 1 to 255 bytes, with every visible ASCII
    /// character. These characters can stand in a header field, and 255 bytes is the greatest length that the ledger
    /// records.
    fn default() -> Self {
        KeyRules::unchecked(KeyChars::default(), 1, 255)
    }
}

impl KeyRules {
    /// Returns the rules for keys of `min` to `max` bytes, both included, that consist of `chars`.
    ///
    /// # Errors
    /// Every error in the two lengths: `min` is 0 or above 255, `max` is 0 or below `min`, or mapped keys would have
    /// fewer than 64 bits of the hash.
    pub fn new(chars: KeyChars, min: usize, max: usize) -> Result<KeyRules, Vec<Problem>> {
        let rules = KeyRules::unchecked(chars, min, max);
        let mut errors = rules.problems();
        errors.retain(|problem| problem.gravity == Gravity::Error);
        if errors.is_empty() { Ok(rules) } else { Err(errors) }
    }

    /// Returns the rules without a check of the characters and lengths. [`KeyRules::problems`] makes that check.
    fn unchecked(chars: KeyChars, min: usize, max: usize) -> KeyRules {
        let plain = chars.letters_and_digits();
        let suffices = plain.digits().is_some_and(|digits| PREFIX + digits <= max);
        KeyRules { chars, min, max, alphabet: if suffices { plain } else { chars } }
    }

    /// Returns the rules for keys of `min` to `max` bytes, both included, that consist of the characters `chars`,
    /// written as for [`KeyChars::parse`].
    ///
    /// # Errors
    /// Every error of [`KeyChars::parse`] and [`KeyRules::new`].
    pub fn parse(chars: &str, min: usize, max: usize) -> Result<KeyRules, Vec<Problem>> {
        match KeyChars::parse(chars) {
            Ok(chars) => KeyRules::new(chars, min, max),
            Err(wrong) => {
                let mut errors = vec![Problem::error("key.chars", wrong)];
                let lengths = KeyRules::new(KeyChars::default(), min, max).err().unwrap_or_default();
                errors.extend(lengths.into_iter().filter(|problem| !problem.with.contains(&"key.chars")));
                Err(errors)
            }
        }
    }

    /// Returns notes on these rules for the author of the declaration, for example that mapped keys have few bits of
    /// the hash. [`KeyRules::new`] has accepted the rules, so there are no errors.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    /// Returns the characters that keys consist of.
    #[must_use]
    pub fn chars(&self) -> KeyChars {
        self.chars
    }

    /// Returns the least length of a key in bytes.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// Returns the greatest length of a key in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Returns the number of bits of the hash in a mapped key, rounded down: 64 to 256.
    #[must_use]
    pub fn bits(&self) -> u32 {
        let count = self.alphabet.count();
        let values = (0..self.digits()).try_fold(Number::ONE, |values, _| values.times(count));
        values.map_or(Number::BITS, Number::log2)
    }

    /// Returns the key under which an action is sent if it is not the caller's own: the mapped key. Returns `None` if
    /// the caller's key `key` is sent as it is.
    ///
    /// `salt` is 0 at first. If another action has the mapped key already, the caller of this function tries the next
    /// number. The salt has no influence on whether a key is mapped. Once a request of the action may have been sent,
    /// its salt must not change.
    #[must_use]
    pub fn sent(&self, dependency: &str, key: &str, salt: u32) -> Option<String> {
        if self.is_sent_as_it_is(key) { None } else { Some(self.mapped(dependency, key, PERFORM, 0, salt)) }
    }

    /// Returns the key under which the cancel of an action is sent. `key` is the key that the caller gave to the
    /// action. `generation` is the number of the cancel key: 0 for the first one, and one more for each new one.
    /// `salt` is the salt of the action, as for [`KeyRules::sent`].
    #[must_use]
    pub fn cancel_key(&self, dependency: &str, key: &str, generation: u32, salt: u32) -> String {
        self.mapped(dependency, key, CANCEL, generation, salt)
    }

    /// Returns whether the provider takes this text as a key.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        (self.min..=self.max).contains(&key.len()) && key.bytes().all(|byte| self.chars.contains(byte))
    }

    fn is_sent_as_it_is(&self, key: &str) -> bool {
        self.fits(key) && !key.as_bytes().starts_with(&self.prefix())
    }

    fn mapped(&self, dependency: &str, key: &str, kind: &str, generation: u32, salt: u32) -> String {
        let alphabet: Vec<u8> = self.alphabet.in_order().collect();
        let mut number = Number::from_hash(hash(dependency, key, kind, generation, salt));
        let mut mapped = vec![0; PREFIX + self.digits()];
        let (prefix, digits) = mapped.split_at_mut(PREFIX);
        prefix.copy_from_slice(&self.prefix());
        for digit in digits.iter_mut().rev() {
            *digit = alphabet[number.divide(self.alphabet.count()) as usize];
        }
        String::from_utf8(mapped).expect("every allowed character is ASCII")
    }

    /// Returns the first characters of every mapped key.
    fn prefix(&self) -> [u8; PREFIX] {
        if self.chars.contains(b's') && self.chars.contains(b'w') {
            return *b"sw";
        }
        let mut bytes = self.alphabet.in_order();
        [(); PREFIX].map(|()| bytes.next().expect("a set has at least two characters"))
    }

    /// Returns the number of characters after the prefix of a mapped key. They are the digits of the hash.
    fn digits(&self) -> usize {
        let least = self.min.saturating_sub(PREFIX);
        let most = self.max.saturating_sub(PREFIX);
        self.needed().max(least).min(most)
    }

    /// Returns the number of characters that [`BITS`] bits of the hash take, if the characters of `alphabet` are the
    /// digits.
    fn needed(&self) -> usize {
        self.alphabet.digits().expect("a mapped key consists of two characters or more")
    }

    /// Returns the errors and notes on these rules: on the least length `min` and the greatest length `max`, and on
    /// mapped keys that have too few bits of the hash.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let KeyRules { min, max, .. } = *self;
        if min == 0 {
            let wrong = Wrong::new("this number must be at least 1");
            problems.push(Problem::error("key.min", wrong.help("no action has an empty key")));
        }
        if min > MAX_MIN {
            let wrong = Wrong::new(format!("this number must be at most {MAX_MIN}"));
            problems.push(Problem::error("key.min", wrong.help("the ledger records no longer keys")));
        }
        if max == 0 {
            let wrong = Wrong::new("this number must be at least 1");
            problems.push(Problem::error("key.max", wrong.help("no key would be short enough")));
        } else if min > max {
            let wrong = Wrong::new(format!("the least length {min} is above the greatest, {max}"));
            problems.push(Problem::error("key.min", wrong).with(&["key.max"]));
        } else {
            problems.extend(self.strength());
        }
        problems
    }

    /// Returns an error if mapped keys have too few bits of the hash, a note if they have few, and `None` if they have
    /// enough.
    fn strength(&self) -> Option<Problem> {
        let (bits, count) = (self.bits(), self.chars.count());
        let help = format!(
            "with these {count} characters, {} bytes would be safe for any number of keys",
            PREFIX + self.needed()
        );
        let problem = if bits < TOO_FEW_BITS {
            let message = format!("keys could collide: a mapped key would have only {bits} bits of its hash");
            Problem::error("key.max", Wrong::new(message).help(help))
        } else if bits < FEW_BITS {
            let message = format!("a mapped key has only {bits} bits of its hash");
            Problem::note("key.max", Wrong::new(message).help(help))
        } else {
            return None;
        };
        Some(problem.with(&["key.chars"]))
    }
}

/// Returns SHA-256 of the fields, in a form from which each field could be read again. So no two lists of fields are
/// written as the same bytes.
fn hash(dependency: &str, key: &str, kind: &str, generation: u32, salt: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [DOMAIN, dependency, key, kind] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    for number in [generation, salt] {
        hash.update(u64::from(number).to_be_bytes());
    }
    hash.finalize().into()
}

/// A number below 2^256, in 32-bit parts. The most significant part is the first.
#[derive(Clone, Copy)]
struct Number([u32; 8]);

impl Number {
    const BITS: u32 = 256;
    const ONE: Number = Number([0, 0, 0, 0, 0, 0, 0, 1]);

    fn from_hash(hash: [u8; 32]) -> Number {
        let mut parts = [0; 8];
        for (part, bytes) in parts.iter_mut().zip(hash.as_chunks().0) {
            *part = u32::from_be_bytes(*bytes);
        }
        Number(parts)
    }

    /// Returns the product of the number and `factor`; `None` if that is 2^256 or more.
    fn times(mut self, factor: u32) -> Option<Number> {
        let mut carry = 0;
        for part in self.0.iter_mut().rev() {
            let product = u64::from(*part) * u64::from(factor) + carry;
            *part = low(product);
            carry = product >> 32;
        }
        (carry == 0).then_some(self)
    }

    /// Returns the logarithm to the base 2, rounded down. For the number 0 it returns 0.
    fn log2(self) -> u32 {
        let first = self.0.iter().position(|&part| part > 0);
        let zeros = first.map_or(Number::BITS - 1, |at| 32 * at as u32 + self.0[at].leading_zeros());
        Number::BITS - 1 - zeros
    }

    /// Divides the number by `divisor`, keeps the quotient, rounded down, as the number, and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0;
        for part in &mut self.0 {
            let dividend = remainder << 32 | u64::from(*part);
            *part = low(dividend / u64::from(divisor));
            remainder = dividend % u64::from(divisor);
        }
        low(remainder)
    }
}

/// Returns the lower 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the upper bits are kept by the caller")]
fn low(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
