//! How webhooks do: figures for monitoring and a picture for the status page.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::Ops;
use super::facts::{NO_LABELS, gauge};
use super::figures::DAY;
use super::page::{SHOWN, legend, span, table, time};
use super::svg::{self, Part, Text};
use crate::domain::{AskedState, EventState, WebhookEntry, WebhookEvent};
use crate::store::{InboxFigures, Store, WebhookFilter};
use crate::sync::Clock;
use crate::sync::inbox::{Watch, WebhookAlarm};

/// Reads how webhooks do when somebody asks.
pub(super) struct Waiting {
    store: Store,
    watch: Watch,
    clock: Clock,
}

impl Waiting {
    pub(super) fn new(store: Store, watch: Watch, clock: Clock) -> Self {
        Self { store, watch, clock }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl Collector for Waiting {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (inbox, now) = (self.store.inbox(), (self.clock)());
        let count = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        let one = |it: i64| [(NO_LABELS, it)];
        let to = &mut encoder;
        let help = "Webhooks that are not worked off yet";
        gauge(to, "webhooks_waiting", help, None, one(count(inbox.waiting)))?;
        let help = "Webhooks that were given up: `entitled webhooks dead` lists them";
        gauge(to, "webhooks_dead", help, None, one(count(inbox.dead)))?;
        let mirror = self.store.mirror();
        let unanswered = mirror.all_asked().filter(|it| it.state == AskedState::Held).count();
        let help = "Changes that customers asked for and that wait for an operator: `entitled \
                    subscriptions held` lists them";
        gauge(to, "changes_held", help, None, one(count(unanswered)))?;
        let oldest = self.store.waiting_webhooks().first().map(|it| it.received);
        let age = oldest.map_or(0, |it| now.duration_since(it).as_secs().max(0));
        let help = "Age of the oldest webhook that is not worked off yet";
        gauge(to, "webhooks_oldest_waiting_age", help, Some(&Unit::Seconds), one(age))?;
        let last = self.watch.last_valid().map(|it| (NO_LABELS, it.as_second()));
        let help = "When the last webhook came whose token was good";
        gauge(to, "webhook_last_valid_timestamp", help, Some(&Unit::Seconds), last)?;
        let alarm = i64::from(self.watch.alarm().is_some());
        let help = "1 while somebody has to look after the webhooks: `entitled status` says why";
        gauge(to, "webhook_alarm", help, None, one(alarm))
    }
}

/// How webhooks did in the last day.
pub(super) struct WebhookFigures {
    now: Timestamp,
    entries: Vec<WebhookEntry>,
    inbox: InboxFigures,
    dead: Vec<Arc<WebhookEvent>>,
    last_valid: Option<Timestamp>,
    alarm: Option<WebhookAlarm>,
}

impl WebhookFigures {
    pub(super) fn gather(ops: &Ops) -> Self {
        let now = (ops.clock)();
        let dead = WebhookFilter { dead: true, limit: Some(SHOWN), ..WebhookFilter::default() };
        Self {
            now,
            entries: ops.watch.ledger(now.checked_sub(DAY).unwrap_or(now)),
            inbox: ops.store.inbox(),
            dead: ops.store.webhooks(&dead),
            last_valid: ops.watch.last_valid(),
            alarm: ops.watch.alarm(),
        }
    }

    /// The section's content: the alarm, the chart, what was given up.
    pub(super) fn picture(&self) -> String {
        let alarm = self.alarm.as_ref().map_or_else(String::new, |alarm| {
            let words = format!("{alarm}: {}.", alarm.remedy());
            format!("<p class=\"state bad\">{}</p>\n", Text(&words))
        });
        let ago = |it: Timestamp| format!("{} ago", span(self.now.duration_since(it)));
        let figures = format!(
            "<p>the last valid one {} · {} waiting · {} given up</p>\n",
            self.last_valid.map_or_else(|| "never".to_owned(), ago),
            self.inbox.waiting,
            self.inbox.dead,
        );
        let html = alarm + &self.chart() + &figures;
        if self.dead.is_empty() {
            return html;
        }
        let rows = self.dead.iter().rev().map(|it| {
            let why = if let EventState::Dead { why, .. } = &it.state { why } else { "" };
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                it.id.0,
                time(it.received),
                Text(it.said.action.as_str()),
                it.said.subscription.map(|it| it.to_string()).unwrap_or_default(),
                it.tries,
                Text(why),
            )
        });
        html + "<h3>Given up: <code>entitled webhooks show ID</code>, <code>webhooks replay ID</code></h3>"
            + &table(&["id", "came", "action", "subscription", "tries", "why"], rows)
    }

    fn chart(&self) -> String {
        let mut hourly: Vec<BTreeMap<Look, u64>> = vec![BTreeMap::new(); 24];
        let mut totals: BTreeMap<Look, u64> = BTreeMap::new();
        for entry in &self.entries {
            let (look, count) = Look::of(entry);
            *totals.entry(look).or_default() += count;
            let ago = self.now.duration_since(entry.at()).as_hours();
            let hour = usize::try_from(ago).ok().and_then(|ago| 23_usize.checked_sub(ago));
            if let Some(counts) = hour.and_then(|it| hourly.get_mut(it)) {
                *counts.entry(look).or_default() += count;
            }
        }
        let part = |(look, count): (&Look, &u64)| Part {
            value: svg::float(*count),
            class: look.class(),
            title: format!("{count} {}", look.word()),
        };
        let columns: Vec<Vec<Part>> =
            hourly.iter().map(|counts| counts.iter().map(part).collect()).collect();
        let said: Vec<(&str, String)> = totals
            .iter()
            .map(|(look, count)| (look.class(), format!("{count} {}", look.word())))
            .collect();
        let said: Vec<(&str, &str)> =
            said.iter().map(|(class, text)| (*class, text.as_str())).collect();
        svg::columns(&columns) + &legend(&said)
    }
}

/// How a row of the ledger is drawn: the worst that is true of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Done,
    Waiting,
    Late,
    Mismatched,
    Missed,
    Dead,
    Forged,
}

impl Look {
    fn of(entry: &WebhookEntry) -> (Self, u64) {
        match entry {
            WebhookEntry::Forged(it) => (Self::Forged, it.count()),
            WebhookEntry::Missed(_) => (Self::Missed, 1),
            it @ WebhookEntry::Came { .. } => {
                let words = [
                    ("dead", Self::Dead),
                    ("mismatched", Self::Mismatched),
                    ("late", Self::Late),
                    ("waiting", Self::Waiting),
                ];
                let look = words.iter().find(|(word, _)| it.is(word));
                (look.map_or(Self::Done, |(_, look)| *look), 1)
            }
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Mismatched => "mismatched",
            Self::Missed => "missed",
            Self::Dead => "given up",
            Self::Forged => "refused tokens",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Waiting => "info",
            Self::Late => "held",
            Self::Mismatched | Self::Missed => "warn",
            Self::Dead => "bad",
            Self::Forged => "gone",
        }
    }
}
