//! Reads from the body of a request how much money the action moves. This is done when the action is recorded.
//!
//! With the amount in its row, the ledger can say how much money is moved by actions whose effect is unknown, and
//! reconciliation compares the amount with the provider's list. The amount is read from the digits of the body and
//! never through a float. If the body has no amount, the action is refused. The obvious rule would record the action
//! without an amount. Then every sum would be too low, and nobody would notice.

use seawall_ledger::Money;
use seawall_ledger::reconcile::Amount;
use seawall_policy::Wrong;

use crate::template::{Pointer, Raw};

/// The maximum number of decimal places of a currency's minor unit, such as the cent. No currency of ISO 4217 has more.
const MOST_MINOR: u8 = 4;

/// Says where the body of a request has the amount of money, and in which currency the amount is.
#[derive(Clone, Debug, PartialEq)]
pub struct AmountAt {
    /// The JSON pointer to the amount in the body. The amount there is a number, or a text with a decimal number.
    value: Pointer,
    /// The currency of the amount.
    currency: CurrencyAt,
    /// The number of decimal places by which the body's amount is shifted to get units of the currency: 2 if the body
    /// says 1050 for 10.50. With 0, the body has units of the currency.
    minor: u8,
}

/// The currency of an amount.
#[derive(Clone, Debug, PartialEq)]
pub enum CurrencyAt {
    /// This code of ISO 4217, for every action.
    Code(String),
    /// The code that the request's body has at this pointer.
    Body(Pointer),
}

impl CurrencyAt {
    /// Reads a currency as it is declared: a code of three capital letters such as `KRW`, or a JSON pointer to the code
    /// in the body, such as `/currency`.
    ///
    /// # Errors
    /// If the text is neither such a code nor a JSON pointer.
    pub fn parse(written: &str) -> Result<CurrencyAt, Wrong> {
        if written.starts_with('/') {
            return Pointer::parse(written).map(CurrencyAt::Body);
        }
        if is_code(written) {
            return Ok(CurrencyAt::Code(written.to_owned()));
        }
        Err(Wrong::new("this is not a currency")
            .help("write its code (ISO 4217) such as \"KRW\", or where the body has it: \"/currency\""))
    }
}

impl std::fmt::Display for CurrencyAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CurrencyAt::Code(code) => f.write_str(code),
            CurrencyAt::Body(pointer) => write!(f, "the currency at {pointer}"),
        }
    }
}

impl AmountAt {
    /// Declares that the amount stands at `value` in the body. `minor` is 0 if the body has the amount in units of the
    /// currency. Otherwise it is the number of decimal places of the currency's minor unit: 2 if the body says 1050 for
    /// 10.50.
    ///
    /// # Errors
    /// If `minor` is above 4.
    pub fn new(value: Pointer, currency: CurrencyAt, minor: u8) -> Result<AmountAt, Wrong> {
        if minor > MOST_MINOR {
            let wrong = Wrong::new(format!("this number must lie between 0 and {MOST_MINOR}"));
            return Err(wrong.help("the number of decimal places: 2 if 1050 means 10.50"));
        }
        Ok(AmountAt { value, currency, minor })
    }

    /// Reads the amount of an action from the body of its request, and returns it in units of its currency.
    ///
    /// # Errors
    /// If the body has no amount or no currency at the declared place, or if the amount is not an exact decimal number
    /// with at most 30 decimal places.
    pub fn read(&self, body: &[u8]) -> Result<Money, String> {
        let found = |pointer: &Pointer| Raw::at(body, pointer).and_then(|raw| raw.text());
        let at = &self.value;
        let text = found(at).ok_or_else(|| format!("the body has no amount at `{at}`"))?;
        let read = text.parse().ok().and_then(|amount: Amount| amount.shifted(-self.shift()));
        let amount = read.ok_or_else(|| format!("the amount at `{at}` is not an exact decimal number"))?;
        let currency = match &self.currency {
            CurrencyAt::Code(code) => code.clone(),
            CurrencyAt::Body(at) => {
                let code = found(at).ok_or_else(|| format!("the body has no currency at `{at}`"))?;
                if !is_code(&code) {
                    return Err(format!("the currency at `{at}` is not a code of three capital letters"));
                }
                code
            }
        };
        Ok(Money { amount, currency })
    }

    fn shift(&self) -> i8 {
        i8::try_from(self.minor).expect("the number of decimal places was checked")
    }
}

/// Writes where the amount is, such as `/amount (KRW)`.
impl std::fmt::Display for AmountAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.value, self.currency)?;
        if self.minor > 0 {
            write!(f, ", with {} decimal places left out", self.minor)?;
        }
        Ok(())
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(currency: &str, minor: u8) -> AmountAt {
        let value = Pointer::parse("/amount").unwrap();
        AmountAt::new(value, CurrencyAt::parse(currency).unwrap(), minor).unwrap()
    }

    #[test]
    fn amounts_are_read_digit_by_digit() {
        for (body, currency, minor, expected) in [
            (r#"{"amount": 1000}"#, "KRW", 0, "1000 KRW"),
            (r#"{"amount": "10.50"}"#, "USD", 0, "10.5 USD"),
            (r#"{"amount": 1050}"#, "USD", 2, "10.5 USD"),
            // As floats, these digits would change.
            (r#"{"amount": 9007199254740993}"#, "KRW", 0, "9007199254740993 KRW"),
            (r#"{"amount": 0.1234567890123456789}"#, "USD", 0, "0.1234567890123456789 USD"),
            (r#"{"amount": 7, "currency": "EUR"}"#, "/currency", 0, "7 EUR"),
        ] {
            let money = at(currency, minor).read(body.as_bytes()).unwrap();
            assert_eq!(format!("{} {}", money.amount, money.currency), expected, "{body}");
        }
    }

    #[test]
    fn a_body_without_an_exact_amount_is_refused() {
        for (body, says) in [
            ("{}", "the body has no amount at `/amount`"),
            ("", "the body has no amount at `/amount`"),
            ("amount=1", "the body has no amount at `/amount`"),
            (r#"{"amount": null, "currency": "KRW"}"#, "the body has no amount at `/amount`"),
            (r#"{"amount": [1], "currency": "KRW"}"#, "the body has no amount at `/amount`"),
            (
                r#"{"amount": true, "currency": "KRW"}"#,
                "the amount at `/amount` is not an exact decimal number",
            ),
            (r#"{"amount": "1,000", "currency": "KRW"}"#, "the amount at `/amount` is not an exact decimal"),
            (
                r#"{"amount": 1e99, "currency": "KRW"}"#,
                "the amount at `/amount` is not an exact decimal number",
            ),
            (r#"{"amount": 1}"#, "the body has no currency at `/currency`"),
            (r#"{"amount": 1, "currency": "krw"}"#, "the currency at `/currency` is not a code"),
        ] {
            let refused = at("/currency", 0).read(body.as_bytes()).unwrap_err();
            assert!(refused.starts_with(says), "{body}: {refused}");
        }
    }

    #[test]
    fn a_currency_is_a_code_or_a_place() {
        for bad in ["", "krw", "WON!", "KRWX", "currency", "/a~"] {
            assert!(CurrencyAt::parse(bad).is_err(), "{bad}");
        }
        assert!(AmountAt::new(Pointer::parse("/a").unwrap(), CurrencyAt::parse("KRW").unwrap(), 5).is_err());
    }
}
