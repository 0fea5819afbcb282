//! Who is told of stuck actions, and what they are told.

use std::sync::Arc;
use std::time::Duration;

use crate::caught::{caught, message};
use crate::store::Boxed;
use crate::store::stuck::StuckAction;

/// The longest time that the receiver may take. Default of [`OnStuck::within`].
const WITHIN: Duration = Duration::from_secs(30);

/// The news of stuck actions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckNews {
    /// The actions, at most 50, those that have been stuck for the longest time first. Further ones follow in the next news.
    pub actions: Vec<StuckAction>,
    /// The number of all actions that are stuck now, told or not. At most 10 000 are counted.
    pub stuck: u64,
}

type Told = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Who is told of stuck actions.
#[derive(Clone)]
pub struct OnStuck {
    tell: Arc<dyn Fn(StuckNews) -> Boxed<'static, Told> + Send + Sync>,
    within: Duration,
}

impl OnStuck {
    /// Makes a receiver of code. If it returns an error, panics, or takes longer than 30 s, the same actions are told again
    /// later: first after a second, then after longer and longer waits of up to five minutes.
    pub fn new<F, R>(tell: F) -> OnStuck
    where
        F: Fn(StuckNews) -> R + Send + Sync + 'static,
        R: Future<Output = Told> + Send + 'static,
    {
        OnStuck { tell: Arc::new(move |news| Box::pin(tell(news))), within: WITHIN }
    }

    /// Sets the longest time that the receiver may take. Default 30 s.
    #[must_use]
    pub fn within(self, within: Duration) -> OnStuck {
        OnStuck { within, ..self }
    }

    /// Returns the longest time that the receiver may take.
    pub(crate) fn longest(&self) -> Duration {
        self.within
    }

    /// Tells the news. Returns why the receiver has not taken it.
    pub(crate) async fn tell(&self, news: StuckNews) -> std::result::Result<(), String> {
        let telling = caught(|| (self.tell)(news));
        match tokio::time::timeout(self.within, telling).await {
            Ok(Ok(told)) => told.map_err(|error| message(&*error)),
            Ok(Err(panic)) => Err(panic),
            Err(_) => Err(format!("it was not taken within {:?}", self.within)),
        }
    }
}
