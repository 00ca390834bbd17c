//! `[sync.*]`: how often sources are read and how long they are believed.

use jiff::SignedDuration;

use super::section::Section;
use super::value::{Often, in_words};
use crate::domain::Share;

/// How often sources are read and how long they are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSection {
    /// Subscriptions of the marketplace.
    pub subscriptions: SourceSchedule,
    /// Graph, a tenant at a time.
    pub directory: DirectorySchedule,
    /// Between two readings of a tenant's licensed groups, with its directory.
    pub groups: SignedDuration,
    /// The licence report of Partner Center.
    pub reports: SourceSchedule,
}

/// One source's times. Invariant: `every ≤ max_age ≤ trust_for`, none zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSchedule {
    /// Between two runs.
    pub every: SignedDuration,
    /// Older answers say `stale: true`.
    pub max_age: SignedDuration,
    /// Older rights fall under `policy.on_stale`.
    pub trust_for: SignedDuration,
}

/// The directory's times, and its brake. Invariant: as [`SourceSchedule`], and `every ≤ sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectorySchedule {
    /// Between two runs.
    pub every: SignedDuration,
    /// Between two full reads.
    pub sweep: SignedDuration,
    /// Older answers say `stale: true`.
    pub max_age: SignedDuration,
    /// Older rights fall under `policy.on_stale`.
    pub trust_for: SignedDuration,
    /// The brake: a removal of more than this share of a tenant's seats, and of more than 5, in
    /// one run needs a second complete read.
    pub remove_limit: Share,
    /// Whether Graph is asked to notify of changes; takes effect with a `listen.public_url`. `None`:
    /// where that is an https address, which is what Graph takes.
    pub notifications: Option<bool>,
    /// How often known usage rights are read again, and how long an empty answer waits for a second
    /// one; `None`: they are not read.
    pub rights: Option<SignedDuration>,
}

impl SyncSection {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let hours = SignedDuration::from_hours;
        root.section("sync", |sync| Self {
            subscriptions: sync.section("subscriptions", |it| {
                let every = SignedDuration::from_mins(15);
                SourceSchedule::read(it, every, hours(1), hours(72))
            }),
            directory: sync.section("directory", DirectorySchedule::read),
            groups: sync.section("groups", |it| it.period("every", hours(1))),
            reports: sync.section("reports", |it| {
                SourceSchedule::read(it, hours(24), hours(48), hours(7 * 24))
            }),
        })
    }
}

impl SourceSchedule {
    fn read(
        it: &mut Section<'_>,
        every: SignedDuration,
        max_age: SignedDuration,
        trust_for: SignedDuration,
    ) -> Self {
        let every = it.period("every", every);
        let max_age = it.period("max_age", max_age);
        let trust_for = it.period("trust_for", trust_for);
        at_least(
            it,
            ("max_age", max_age),
            ("every", every),
            "every answer would be stale between two runs",
        );
        at_least(
            it,
            ("trust_for", trust_for),
            ("max_age", max_age),
            "a right would lapse before it is even called stale",
        );
        Self { every, max_age, trust_for }
    }
}

impl DirectorySchedule {
    fn read(it: &mut Section<'_>) -> Self {
        let hours = SignedDuration::from_hours;
        let times = SourceSchedule::read(it, SignedDuration::from_mins(10), hours(1), hours(72));
        let sweep = it.period("sweep", hours(24));
        at_least(it, ("sweep", sweep), ("every", times.every), "every run would be a full read");
        let remove_limit = it.or("remove_limit", Share::FIFTH);
        if remove_limit.is_all() {
            it.warning(
                "remove_limit",
                "at 100% nothing ever brakes a mass removal; \"20%\" is the default",
            );
        }
        let notifications = it.optional("notifications");
        let SourceSchedule { every, max_age, trust_for } = times;
        let Often(rights) = it.or("rights", Often(Some(SignedDuration::from_mins(30))));
        if let Some(rights) = rights {
            at_least(
                it,
                ("max_age", max_age),
                ("rights", rights),
                "every answer that stands on a usage right would be stale between two looks",
            );
        }
        Self { every, sweep, max_age, trust_for, remove_limit, notifications, rights }
    }
}

/// Warns of a key that is shorter than another: senseless, but no reason to refuse to answer.
fn at_least(
    it: &mut Section<'_>,
    (long, longer): (&str, SignedDuration),
    (short, shorter): (&str, SignedDuration),
    else_: &str,
) {
    if longer < shorter {
        let (longer, shorter) = (in_words(longer), in_words(shorter));
        it.warning(long, format!("`{longer}` is shorter than {short} (`{shorter}`): {else_}; raise {long} or lower {short}"));
    }
}
