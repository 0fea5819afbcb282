//! Signs the webhooks that the gateway sends, so that their receiver knows who sent them.
//!
//! The scheme is that of Standard Webhooks (<https://www.standardwebhooks.com>), so that receivers need not write code of their
//! own: HMAC-SHA256 over the id of the message, the time of sending and the body, with dots between them. A signature of the
//! body alone would be the obvious one. Then somebody who has recorded a message could send it again at any time, and the
//! receiver could not tell.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The beginning of a secret that is written in base64, as tools for Standard Webhooks make it.
const ENCODED: &str = "whsec_";

/// The least number of bytes of a secret. A shorter one could be found by trying.
const SHORTEST: usize = 16;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The secret by which webhooks are signed.
#[derive(Clone)]
pub(crate) struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads the secret from the text of its file: the text itself without the white space around it, or `whsec_` and base64.
    ///
    /// # Errors
    /// If it is too short or no base64. The error does not show the secret.
    pub(crate) fn read(text: &str) -> Result<SigningKey, String> {
        let text = text.trim();
        let bytes = match text.strip_prefix(ENCODED) {
            Some(encoded) => decode(encoded).ok_or("what stands behind `whsec_` is not base64")?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < SHORTEST {
            return Err(format!("the secret is shorter than {SHORTEST} bytes"));
        }
        Ok(SigningKey(bytes))
    }

    /// Returns the value of the header `webhook-signature` for a message that is sent now. `timestamp` is the time in seconds
    /// since 1970.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", encode(&mac.finalize().into_bytes()))
    }
}

/// Returns the bytes in base64 (RFC 4648), with padding.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let six = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= three.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}

/// Returns the bytes of a text in base64, with or without padding; `None` if it is none.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let mut bits = 0_u32;
        for letter in four {
            let six = ALPHABET.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(six).ok()?;
        }
        bits <<= 6 * (4 - four.len());
        out.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_standard_webhooks_has_its_signature() {
        let key = SigningKey::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn base64_there_and_back() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(encode(&[0xff, 0xfe, 0xfd]), "//79");
        assert!(decode("Zm9v!").is_none() && decode("Z").is_none());
    }

    #[test]
    fn bad_secrets_are_refused_in_words() {
        for (text, part) in
            [("", "shorter"), ("short", "shorter"), ("whsec_Zm9v", "shorter"), ("whsec_?", "base64")]
        {
            assert!(SigningKey::read(text).err().unwrap().contains(part), "{text}");
        }
        assert!(SigningKey::read("  a-secret-of-sixteen-or-more \n").is_ok());
    }
}
