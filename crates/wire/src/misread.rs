//! The reasons why bytes are not a valid message.

use std::fmt;

/// What is wrong with bytes that should be a message of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misread {
    /// The first bytes are not those of a status line.
    NotHttp,
    /// The status line is malformed, or its status is not 100 to 999.
    StatusLine,
    /// A line feed comes without its carriage return, or a carriage return without its line feed.
    LineEnd,
    /// A field is malformed: its name or its value is not valid, or the value goes on in the next line.
    Field,
    /// The head has more bytes than the limit allows.
    HeadTooLong,
    /// The head has more fields than the limit allows.
    TooManyFields,
    /// There is more than one `Content-Length`, or one that is not a number below 2^63.
    Length,
    /// There is a `Transfer-Encoding` that is not exactly one `chunked`. In HTTP/1.0, any `Transfer-Encoding` is wrong.
    Coding,
    /// Both `Transfer-Encoding` and `Content-Length`.
    TwoLengths,
    /// A malformed chunk size.
    ChunkSize,
    /// The data of a chunk is longer than the chunk's size says, or has no line end after it.
    ChunkEnd,
    /// The server switched the connection to another protocol (status 101), but the request did not ask for that.
    Switched,
    /// A body came where no body is allowed, or an answer came before anything of its request was sent.
    Unasked,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misread::NotHttp => "the answer does not begin with HTTP/1.1 or HTTP/1.0",
            Misread::StatusLine => "the status line is malformed",
            Misread::LineEnd => "a line does not end with a carriage return and a line feed",
            Misread::Field => "a header field is malformed",
            Misread::HeadTooLong => "the head is longer than `answer.header_bytes` allows",
            Misread::TooManyFields => "the head has more fields than `answer.headers` allows",
            Misread::Length => "the content-length is not one number",
            Misread::Coding => "the transfer-encoding is not one `chunked`",
            Misread::TwoLengths => "both transfer-encoding and content-length",
            Misread::ChunkSize => "the size of a chunk is malformed",
            Misread::ChunkEnd => "a chunk does not end where its size says",
            Misread::Switched => "101: nobody asked for another protocol",
            Misread::Unasked => "a body where there must be none",
        })
    }
}

impl std::error::Error for Misread {}
