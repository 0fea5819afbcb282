//! stub
use crate::machine::Stamp;
use std::time::Duration;
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime { For(Duration) }
impl Lifetime { pub fn end(&self, first: Stamp) -> Stamp { match self { Lifetime::For(d) => first.saturating_add(*d) } }
 pub fn shortest(&self) -> Duration { match self { Lifetime::For(d) => *d } } }
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window { For(Duration) }
impl Window { pub fn end(&self, first: Stamp) -> Stamp { match self { Window::For(d) => first.saturating_add(*d) } }
 pub fn shortest(&self) -> Duration { match self { Window::For(d) => *d } } }
