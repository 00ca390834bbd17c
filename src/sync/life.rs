//! Watches over the lives of subscriptions: looks closer at those that may change soon, says once
//! when a deadline comes near, and removes what belonged to customers who are long gone.
//!
//! | file | subject |
//! |---|---|
//! | `looks` | which subscriptions are read alone, when, and what becomes of it |
//! | `notices` | log lines, each once |
//! | `purge` | what goes when a subscription has been over for long |
//!
//! Operations of which a webhook came are followed by the inbox, for a day and more closely than
//! here; those that we ordered and of which no end was seen are looked at here.

mod looks;
mod notices;
mod purge;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::looks::Looks;
use self::notices::Notices;
use super::{Sources, SyncError};
use crate::domain::{Mirror, SourceKey, has_passed};

/// How often the clock is looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The watch over subscriptions.
pub struct Lives {
    sources: Sources,
    /// How long what belongs to a customer is kept after the end.
    keep: SignedDuration,
    figures: LifeFigures,
    looks: Looks,
    notices: Notices,
    seen: Option<Seen>,
}

/// What was looked at last, and when.
struct Seen {
    mirror: Arc<Mirror>,
    at: Timestamp,
}

/// What the watch counts. Cheap to clone: all clones are one.
#[derive(Clone, Debug, Default)]
pub struct LifeFigures {
    looks: Family<LookLabel, Counter>,
    purged: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabel {
    outcome: &'static str,
}

impl LifeFigures {
    /// Registers the figures under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Subscriptions that were read alone, by what came of it";
        registry.register("subscription_looks", help, self.looks.clone());
        let help = "Ended subscriptions whose customers' data was removed";
        registry.register("subscriptions_purged", help, self.purged.clone());
    }

    fn looked(&self, outcome: &'static str) {
        self.looks.get_or_create(&LookLabel { outcome }).inc();
    }
}

impl Lives {
    /// The watch; `keep` is `[marketplace] keep_cancelled`.
    pub fn new(sources: Sources, keep: SignedDuration) -> Self {
        Self {
            sources,
            keep,
            figures: LifeFigures::default(),
            looks: Looks::default(),
            notices: Notices::default(),
            seen: None,
        }
    }

    /// What it counts.
    pub fn figures(&self) -> LifeFigures {
        self.figures.clone()
    }

    /// Watches until cancelled. What fails is tried again.
    ///
    /// # Errors
    ///
    /// None: the signature is that of all tasks.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), SyncError> {
        let mut revisions = self.sources.store.revisions();
        loop {
            if let Some(mirror) = self.news() {
                // What is read there and not yet written may be thrown away.
                if cancel.run_until_cancelled(self.watch(&mirror)).await.is_none() {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                Ok(()) = revisions.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The mirror, if there is anything in it to look at since the last time: most commits are about
    /// other things.
    fn news(&mut self) -> Option<Arc<Mirror>> {
        let (mirror, now) = (self.sources.store.snapshot(), (self.sources.clock)());
        let run = |it: &Mirror| it.source(SourceKey::SUBSCRIPTIONS).and_then(|it| it.last_run);
        let every = SignedDuration::try_from(LOOK_EVERY).unwrap_or_default();
        let same = self.seen.as_ref().is_some_and(|seen| {
            seen.mirror.shares_subscriptions(&mirror)
                && run(&seen.mirror) == run(&mirror)
                && !has_passed(every, seen.at, now)
        });
        if same {
            return None;
        }
        self.seen = Some(Seen { mirror: Arc::clone(&mirror), at: now });
        Some(mirror)
    }

    async fn watch(&mut self, mirror: &Mirror) {
        let now = (self.sources.clock)();
        self.notices.tell(mirror, now);
        let purged = purge::purge(&self.sources, mirror, self.keep, now).await;
        let looked = self.looks.round(&self.sources, &self.figures, mirror, now).await;
        match purged {
            Ok(count) => drop(self.figures.purged.inc_by(count)),
            Err(error) => complain(&error, "What is to be purged stays for now"),
        }
        if let Err(error) = looked {
            complain(&error, "What was read of subscriptions could not be written down");
        }
    }
}

fn complain(error: &SyncError, message: &str) {
    warn!(error = error as &dyn std::error::Error, "{message}");
}
