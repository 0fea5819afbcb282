//! Sends the health request, only while a breaker is open.
//!
//! An open breaker gets no calls, so it can only guess how long it should stay open. If the provider has a request that
//! reports its health, a good answer (2xx) to this request ends the wait.
//!
//! The health request is not a probe. Neither breaker nor limit is asked before it is sent, and it never carries a
//! caller's request. After a good answer the breaker is half-open as usual, with a single probe at a time. A bad
//! answer, or no answer, changes nothing.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderMap;
use seawall_policy::{Attempt, Ending, Idempotency, Rules, Time};

use crate::attempt::Sending;
use crate::body::{RequestBody, Source};
use crate::dependency::Dependency;
use crate::request::Template;

/// The time between two checks of whether the health request is due. The request is late by this time at most.
const LOOK: Duration = Duration::from_millis(100);
/// A health request that is not answered within this time counts as a bad answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Dependency {
    /// Sends the health request to each endpoint where it is due, until the dependency is dropped. Returns immediately
    /// if the dependency has no health request. Several workers may watch one dependency: when a request is due, the
    /// shared guards say so to only one of them.
    pub async fn watch_health(watched: Weak<Dependency>) {
        loop {
            {
                let Some(dependency) = watched.upgrade().filter(|found| found.health.is_some()) else {
                    return;
                };
                for endpoint in 0..dependency.endpoints.len() {
                    let now = dependency.clock.now();
                    if dependency.shared.with(|guards| guards.health_due(endpoint, now)) {
                        let asked = Arc::clone(&dependency);
                        tokio::spawn(async move { asked.ask_health(endpoint).await });
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask_health(&self, endpoint: usize) {
        let Some(asked) = &self.health else { return };
        let rules = Rules::of(Idempotency::Safe);
        let template = Template {
            method: asked.method.clone(),
            path: asked.path.clone(),
            headers: HeaderMap::new(),
            via: None,
        };
        let source = Source::new(RequestBody::Empty, 0);
        let sending = Sending {
            rules: &rules,
            template: &template,
            source: &source,
            deadline_header: None,
            tracks: None,
            clock: self.clock,
        };
        let now = self.clock.now();
        let tried = sending.attempt(&self.endpoints[endpoint], &patient(endpoint, now), false, now).await;
        let well = matches!(tried.ending, Ending::Answered(answer) if (200..300).contains(&answer.status));
        let dependency = self.followers.name.as_str();
        if !well {
            tracing::debug!(
                dependency,
                endpoint,
                detail = tried.detail,
                "the health request was not answered well"
            );
            return;
        }
        let now = self.clock.now();
        if self.shared.with(|guards| guards.health_answered(endpoint, now)) {
            tracing::info!(dependency, endpoint, "the health request was answered: probing begins");
        }
    }
}

fn patient(endpoint: usize, now: Time) -> Attempt {
    let end_by = now.saturating_add(PATIENCE);
    Attempt {
        number: 1,
        endpoint,
        connect_by: end_by,
        read: PATIENCE,
        end_by,
        callers_deadline: false,
        own_connect_by: end_by,
        own_end_by: end_by,
    }
}
