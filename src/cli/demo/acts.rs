//! A customer's life with a subscription: it is bought, changed, suspended, reinstated and
//! cancelled at the stand-in, whose signed webhooks tell the daemon, and the answers follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use uuid::Uuid;

use super::questions::{SUITE, WEB, ask, by};
use crate::cli::output::{Printer, Progress};
use crate::daemon::Daemon;
use crate::domain::SubscriptionId;
use crate::sandbox::{Purchase, Sandbox, Webhook, World, WorldError, story};
use crate::store::WebhookFilter;
use crate::sync::Clock;

/// Jo's colleague.
pub(super) const LEE: story::Person = story::Person {
    name: "Lee",
    tenant: story::WOODGROVE.tenant,
    user: Uuid::from_u128(0x0000_b1ce_dada_4000_8000_0000_0000_1ee0),
};

/// How often the mirror is looked at while it has to change.
const LOOK: Duration = Duration::from_millis(20);
/// After so many looks something is wrong.
const LOOKS_MAX: u64 = 1_500;
/// By how much time is moved on, and how often, while Microsoft carries out what was accepted.
const SKIP_S: i64 = 2;
const SKIPS_MAX: u32 = 3;

/// A clock that can be moved on, so that nobody waits for Microsoft to carry something out.
#[derive(Clone)]
pub(super) struct Skipping {
    clock: Clock,
    skipped_s: Arc<AtomicI64>,
}

impl Skipping {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, skipped_s: Arc::default() }
    }

    /// The clock that everybody in the demo reads.
    pub(super) fn clock(&self) -> Clock {
        let it = self.clone();
        Arc::new(move || {
            let skipped = SignedDuration::from_secs(it.skipped_s.load(Ordering::Relaxed));
            let now = (it.clock)();
            now.checked_add(skipped).unwrap_or(now)
        })
    }

    pub(super) fn skip(&self, seconds: i64) {
        self.skipped_s.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// What happens at Microsoft, and what two users of the customer are answered then.
struct Act {
    what: &'static str,
    action: &'static str,
    happens: fn(&mut World, Uuid) -> Result<Uuid, WorldError>,
    jo: &'static str,
    lee: &'static str,
}

const ACTIVE: &str = "active subscription_active";
const SUSPENDED: &str = "suspended subscription_suspended";
const ENDED: &str = "expired subscription_ended";

const ACTS: [Act; 6] = [
    Act {
        what: "buys Viz Suite, plan team, one seat, activated by itself",
        action: "Subscribe",
        happens: |_, id| Ok(id),
        jo: ACTIVE,
        lee: "unlicensed no_free_seat",
    },
    Act {
        what: "wants two seats",
        action: "ChangeQuantity",
        happens: |world, id| world.change_quantity(id, 2),
        jo: ACTIVE,
        lee: ACTIVE,
    },
    Act {
        what: "moves to the plan company, which has no alerts",
        action: "ChangePlan",
        happens: |world, id| world.change_plan(id, story::SUITE_COMPANY),
        jo: ACTIVE,
        lee: ACTIVE,
    },
    Act {
        what: "does not pay",
        action: "Suspend",
        happens: World::suspend,
        jo: SUSPENDED,
        lee: SUSPENDED,
    },
    Act {
        what: "has paid",
        action: "Reinstate",
        happens: World::reinstate,
        jo: ACTIVE,
        lee: ACTIVE,
    },
    Act {
        what: "cancels",
        action: "Unsubscribe",
        happens: World::unsubscribe,
        jo: ENDED,
        lee: ENDED,
    },
];

/// What the acts take place between.
pub(super) struct Stage<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) daemon: &'a Daemon,
    pub(super) sandbox: &'a Sandbox,
    pub(super) time: &'a Skipping,
    pub(super) out: &'a Printer,
}

impl Stage<'_> {
    /// Plays all acts; the subscription, and how many answers were not the expected ones.
    pub(super) async fn play(&self) -> anyhow::Result<(Uuid, usize)> {
        let to = format!("http://{}/marketplace/webhook", self.daemon.public);
        self.sandbox.with_world(|world| world.set_webhook(Some(Webhook::to(&to))));
        self.out.line("A subscription's life, told by the marketplace's webhooks:")?;
        let mut wrong = self.ask("Woodgrove before", "unlicensed not_licensed", None).await?;
        let id = self.sandbox.with_world(|world| world.buy(purchase())).context("buy")?;
        for act in &ACTS {
            self.sandbox.with_world(|world| (act.happens)(world, id)).context(act.what)?;
            let webhook = self.settled(id, act).await?;
            let title = format!("Woodgrove {} (webhook {}: {webhook})", act.what, act.action);
            wrong += self.ask(&title, act.jo, Some(act.lee)).await?;
        }
        self.out.line("")?;
        Ok((id, wrong))
    }

    /// Waits until the mirror shows what Microsoft has, moving time on where Microsoft takes its
    /// own; what became of the webhook.
    async fn settled(&self, id: Uuid, act: &Act) -> anyhow::Result<&'static str> {
        let bar = Progress::default().line("Waiting for the webhook");
        let subscription = SubscriptionId::from_uuid(id);
        let mut skips = 0;
        for look in 0..LOOKS_MAX {
            bar.at(look, act.action);
            let events = self.daemon.store.webhooks(&WebhookFilter::default());
            let last = events.iter().rev().find(|it| it.said.action.as_str() == act.action);
            let untold = self.sandbox.with_world(|world| world.webhooks_waiting());
            if let Some(event) = last.filter(|it| it.state.over_since().is_some() && untold == 0) {
                let known = self.daemon.store.snapshot().subscription(subscription).is_some();
                anyhow::ensure!(known, "the subscription {id} is not in the mirror");
                bar.done();
                return Ok(event.answered.map_or("taken over", |it| it.as_str()));
            }
            if skips < SKIPS_MAX && last.is_some_and(|it| it.answered.is_some()) {
                skips += 1;
                self.time.skip(SKIP_S);
            }
            tokio::time::sleep(LOOK).await;
        }
        bar.done();
        anyhow::bail!("the webhook {} did not come or was not worked off", act.action)
    }

    /// Asks for Jo, and for Lee where that is of interest; how many answers were not as expected.
    async fn ask(
        &self,
        title: &str,
        jo: &'static str,
        lee: Option<&'static str>,
    ) -> anyhow::Result<usize> {
        self.out.line(&format!("  {title}"))?;
        let mut questions = vec![by(story::JO, SUITE, WEB, "Jo", jo)];
        questions.extend(lee.map(|lee| by(LEE, SUITE, WEB, "Lee", lee)));
        let mut told = Vec::new();
        let mut wrong = 0;
        for question in &questions {
            let answered = ask(self.client, self.daemon, self.sandbox, question).await?;
            wrong += usize::from(answered.instead_of.is_some());
            told.push(format!("{} {}", question.who(), answered.in_words()));
        }
        self.out.line(&format!("     {}", told.join("   ")))?;
        Ok(wrong)
    }
}

fn purchase() -> Purchase {
    Purchase {
        tenant: story::WOODGROVE.tenant,
        user: story::JO.user,
        name: "Viz Suite for Woodgrove".to_owned(),
        plan: story::SUITE_TEAM.to_owned(),
        quantity: Some(1),
        auto_activate: true,
        reseller: None,
    }
}
