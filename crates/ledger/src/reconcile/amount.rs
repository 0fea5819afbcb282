//! Exact amounts of money.
//!
//! An amount is a whole number together with a number of decimal places. It is read from the digits in the JSON text,
//! and never through a float. `10`, `10.00`, `"10.0"` and `1e1` are equal amounts.
//!
//! The obvious type would be a float. But as floats, 0.1 + 0.2 is not 0.3, and the sum over a day of payments is not
//! exact.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The maximum number of decimal places of an amount. It also bounds the power of ten in a text such as `1e30`. A
/// number that goes beyond this bound is not accepted as an amount.
const MOST_PLACES: i32 = 30;

/// An exact decimal number, positive or negative.
///
/// ```
/// use seawall_ledger::reconcile::Amount;
///
/// let price: Amount = "10.50".parse()?;
/// assert_eq!(price, "1050e-2".parse()?);
/// assert_eq!(price.shifted(2).unwrap().to_string(), "1050");
/// # Ok::<(), seawall_ledger::reconcile::NoAmount>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amount {
    /// All digits of the amount, without the decimal point. Zeros at the end of the decimal places are left out, so
    /// that 10.5 and 10.50 are stored in the same way.
    digits: i128,
    places: u8,
}

/// The error of a text that is not an amount: it is no decimal number, or it has too many digits or decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAmount;

impl fmt::Display for NoAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an exact decimal number")
    }
}

impl std::error::Error for NoAmount {}

impl Amount {
    /// The amount zero.
    pub const ZERO: Amount = Amount { digits: 0, places: 0 };

    /// Returns `digits` times ten to the power of `power`; `None` if the result is too large or has too many decimal
    /// places.
    fn made(digits: i128, power: i32) -> Option<Amount> {
        let (mut digits, mut power) = (digits, power);
        if digits == 0 {
            return Some(Amount::ZERO);
        }
        while power < 0 && digits % 10 == 0 {
            digits /= 10;
            power += 1;
        }
        if !(-MOST_PLACES..=MOST_PLACES).contains(&power) {
            return None;
        }
        while power > 0 {
            digits = digits.checked_mul(10)?;
            power -= 1;
        }
        Some(Amount { digits, places: u8::try_from(-power).ok()? })
    }

    /// Returns this amount times ten to the power of `by`. With `by` = 2, 10.50 becomes 1050. Returns `None` if the
    /// result is too large or has too many decimal places.
    #[must_use]
    pub fn shifted(self, by: i8) -> Option<Amount> {
        Amount::made(self.digits, i32::from(by) - i32::from(self.places))
    }

    /// Returns the sum of both amounts; `None` if the sum is too large.
    #[must_use]
    pub fn plus(self, other: Amount) -> Option<Amount> {
        let places = self.places.max(other.places);
        let widened = |amount: Amount| {
            let factor = 10_i128.checked_pow(u32::from(places - amount.places))?;
            amount.digits.checked_mul(factor)
        };
        Amount::made(widened(self)?.checked_add(widened(other)?)?, -i32::from(places))
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<Ordering> {
        let minus = Amount { digits: other.digits.checked_neg()?, places: other.places };
        Some(self.plus(minus)?.digits.cmp(&0))
    }
}

impl From<i64> for Amount {
    fn from(whole: i64) -> Amount {
        Amount { digits: i128::from(whole), places: 0 }
    }
}

impl FromStr for Amount {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Amount, NoAmount> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, exponent(power)?),
            None => (text, 0),
        };
        let (whole, part) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(NoAmount),
            Some(both) => both,
            None => (mantissa, ""),
        };
        if whole.is_empty() {
            return Err(NoAmount);
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(part.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(NoAmount);
            }
            let more = digits.checked_mul(10).and_then(|tens| tens.checked_add(i128::from(byte - b'0')));
            digits = more.ok_or(NoAmount)?;
        }
        let places = i32::try_from(part.len()).map_err(|_| NoAmount)?;
        Amount::made(if negative { -digits } else { digits }, power.saturating_sub(places)).ok_or(NoAmount)
    }
}

fn exponent(text: &str) -> Result<i32, NoAmount> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoAmount);
    }
    text.parse().map_err(|_| NoAmount)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs();
        let places = usize::from(self.places);
        if places == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = places + 1);
        let (whole, part) = padded.split_at(padded.len() - places);
        write!(f, "{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_amount_are_equal_and_others_are_not() {
        for same in ["10", "10.0", "10.00", "1e1", "1E+1", "100e-1", "010"] {
            assert_eq!(amount(same), Amount::from(10), "{same}");
        }
        assert_eq!(amount("-0"), Amount::ZERO);
        assert_eq!(amount("0.000"), Amount::ZERO);
        assert_ne!(amount("10.001"), amount("10"));
        assert_ne!(amount("-10"), amount("10"));
        // As floats, these two numbers would be equal.
        assert_ne!(amount("9007199254740993"), amount("9007199254740992"));
        assert_ne!(amount("0.12345678901234567890"), amount("0.12345678901234567891"));
    }

    #[test]
    fn what_is_no_decimal_number_is_no_amount() {
        let long = "9".repeat(60);
        for bad in
            ["", "-", ".5", "5.", "1,5", "1e", "e1", "1e99999999999", "1e31", "+1", " 1", "0x1", "NaN", &long]
        {
            assert_eq!(bad.parse::<Amount>(), Err(NoAmount), "{bad}");
        }
    }

    #[test]
    fn sums_are_exact_and_shifts_too() {
        assert_eq!(amount("0.1").plus(amount("0.2")), Some(amount("0.3")));
        assert_eq!(amount("0.05").plus(amount("-0.05")), Some(Amount::ZERO));
        assert_eq!(amount("12.34").shifted(2), Some(Amount::from(1234)));
        assert_eq!(Amount::from(1234).shifted(-2), Some(amount("12.34")));
        assert_eq!(Amount::made(i128::MAX, 0).unwrap().plus(Amount::from(1)), None);
        assert_eq!(Amount::made(i128::MAX, 0).unwrap().shifted(1), None);
        assert!(amount("-0.07") < amount("0.007"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(digits in any::<i64>(), places in 0..20_i32) {
            let amount = Amount::made(i128::from(digits), -places).unwrap();
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        }

        #[test]
        fn sums_agree_with_whole_numbers(a in any::<i32>(), b in any::<i32>(), places in 0..9_i32) {
            let made = |whole: i64| Amount::made(i128::from(whole), -places).unwrap();
            let sum = made(i64::from(a)).plus(made(i64::from(b)));
            prop_assert_eq!(sum, Some(made(i64::from(a) + i64::from(b))));
        }
    }
}
