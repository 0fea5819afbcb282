//! To come.

pub mod connect;
