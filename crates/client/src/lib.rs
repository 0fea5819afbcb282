//! Sends calls to dependencies over real connections.
//!
//! [`Dependency::call`] makes one call. The rules of `seawall-policy` decide what to do next (send, wait or finish),
//! and this crate does it. Connections are made in [`connect`]. Idle connections are kept in a pool, which knows which
//! request may use which connection. Each exchange has one timer, which ends the exchange when a timeout or deadline
//! passes. [`Shared`] holds the guards that all calls share, behind one lock.

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
pub use body::{BodyError, BodyStream, RequestBody};
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
