//! A provider's answer whose body was read up to a bound.

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body_util::BodyExt;
use seawall_client::{AnswerBody, Truncated};

/// An answer of a provider. Its body was read up to a bound, so that the answer can be judged and recorded. A caller
/// that passes the answer on sends [`LiveAnswer::read`] first, and then [`LiveAnswer::rest`].
#[derive(Debug)]
pub struct LiveAnswer {
    /// The status and all headers, as the provider sent them.
    pub head: Parts,
    /// The part of the body that was read. This is the whole body, unless the body is longer than the bound or broke
    /// off. Trailers are not kept.
    pub read: Bytes,
    /// The rest of the body, if the body is longer than the bound; otherwise `None`. If this value is dropped, the
    /// connection is reset.
    pub rest: Option<AnswerBody>,
    /// Whether the body broke off before its end, while it was being read up to the bound: a timeout passed, the
    /// connection was lost, or the bytes were not valid.
    pub broken: bool,
}

impl LiveAnswer {
    /// Reads the body of an answer until its end, or until more than `bound` bytes were read. If the body breaks before
    /// that, also returns the error.
    pub(crate) async fn read(answer: Response<AnswerBody>, bound: usize) -> (LiveAnswer, Option<Truncated>) {
        let (head, mut body) = answer.into_parts();
        let mut pieces = Pieces::default();
        let (rest, truncated) = loop {
            match body.frame().await {
                None => break (None, None),
                Some(Err(truncated)) => break (None, Some(truncated)),
                Some(Ok(frame)) => pieces.extend(frame.into_data().unwrap_or_default()),
            }
            if pieces.len > bound {
                break (Some(body), None);
            }
        };
        let broken = truncated.is_some();
        (LiveAnswer { head, read: pieces.joined(), rest, broken }, truncated)
    }

    /// Returns the body, if it was read to its end. Returns `None` if it is longer than the bound or broke off.
    #[must_use]
    pub fn whole(&self) -> Option<&Bytes> {
        (self.rest.is_none() && !self.broken).then_some(&self.read)
    }
}

/// The pieces of a body. Most answers come in one piece, which is not copied.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Pieces {
    fn extend(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn joined(mut self) -> Bytes {
        match self.pieces.len() {
            0 | 1 => self.pieces.pop().unwrap_or_default(),
            _ => self.pieces.concat().into(),
        }
    }
}
