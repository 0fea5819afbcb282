//! The benchmarks, with one file or folder for each, and the parts that they share.

mod beside;
mod call;
mod cell;
mod durable;
mod gateway;
pub(crate) mod ledger;
mod load;
mod measure;
mod proxies;
mod report;
pub(crate) mod simulate;
mod slow;
mod still;
mod upstream;

pub(crate) use beside::{Options as BesideOptions, beside_stalled};
pub(crate) use call::{Options as CallOptions, call};
pub(crate) use durable::{Durable, run as run_durable};
pub(crate) use gateway::{Options, gateway};
pub(crate) use load::{Load, run as run_load};
pub(crate) use slow::{Options as SlowOptions, slow_readers};
pub(crate) use upstream::serve as serve_upstream;
