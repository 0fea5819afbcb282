//! Waits and sends: the driver of Seawall's call machine over real connections.
//!
//! [`Dependency::call`] walks a call: the machine of `seawall-policy` says what to do, this crate does it. Connections
//! are got in [`connect`], kept in a pool that knows which request may take which, and watched by one timer each.
//! [`Shared`] holds the guards that calls share, behind the only lock on the way.

mod answer;
pub mod any;
mod attempt;
mod body;
mod clock;
mod come_back;
pub mod connect;
mod dependency;
mod endings;
mod escape;
mod following;
mod health;
mod line;
mod outcome;
mod pool;
mod reading;
mod request;
mod shared;
mod sync;
mod tracks;
mod trunk;
mod upload;
mod walk;
mod watch;

pub use answer::{AnswerBody, Truncated};
pub use body::{BodyError, RequestBody, Stream};
pub use clock::Clock;
pub use come_back::come_back;
pub use dependency::{Dependency, DependencySettings, EndpointSettings};
pub use escape::percent_encode;
pub use following::OnFollowed;
pub use outcome::Outcome;
pub use pool::{PoolSettings, give_up_idle};
pub use reading::{keep_alive, known, scalar, without_mark};
pub use request::{CallRequest, HealthRequest};
pub use seawall_wire::Limits as AnswerLimits;
pub use shared::{Shared, draw};
