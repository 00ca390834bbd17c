//! What the visual should show beside an answer, in the terms of the visuals API: one table.
//!
//! Source: `visuals-and-isv.md` sections 2.2 and 2.4.

use jiff::{SignedDuration, Timestamp};

use super::{Decision, Notice, Reason, State};
use crate::domain::{Host, MessageKey};

/// A right that nobody will renew is announced to end from so long before on.
pub const ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How the visual shows a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// `notifyLicenseRequired(General)`: an icon, to those who edit the report.
    General,
    /// `notifyLicenseRequired(VisualIsBlocked)`: over the whole visual, with a way to buy.
    VisualIsBlocked,
    /// `notifyLicenseRequired(UnsupportedEnv)`: over the whole visual, without one.
    UnsupportedEnv,
    /// `notifyFeatureBlocked(text)`: a banner, for ten seconds.
    FeatureBanner,
}

impl Show {
    /// The name in the visuals API; the banner has none there.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "General",
            Self::VisualIsBlocked => "VisualIsBlocked",
            Self::UnsupportedEnv => "UnsupportedEnv",
            Self::FeatureBanner => "FeatureBanner",
        }
    }
}

/// What to show, and what its text is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How.
    pub show: Show,
    /// Which text.
    pub key: MessageKey,
    /// Whole days until [`Told::date`], rounded up.
    pub days_left: Option<i64>,
    /// When it ends.
    pub date: Option<Timestamp>,
    /// So many users are allowed.
    pub max: Option<u64>,
}

impl Told {
    const fn new(show: Show, key: MessageKey) -> Self {
        Self { show, key, days_left: None, date: None, max: None }
    }

    fn until(
        show: Show,
        (dated, open): (MessageKey, MessageKey),
        end: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let key = if end.is_some() { dated } else { open };
        Self { days_left: end.map(|it| days(it, now)), date: end, ..Self::new(show, key) }
    }
}

/// What the visual should show beside this answer in this host; `None` for nothing.
///
/// A usable answer never covers the visual. Where nobody of the customer's looks (what is
/// published or exported) warnings are left out; where Power BI sells nothing, a refusal is shown
/// as `UnsupportedEnv`, the only overlay that appears there.
pub fn told(decision: &Decision, host: Host, now: Timestamp) -> Option<Told> {
    let warns = !matches!(host, Host::PublishToWeb | Host::Export);
    let blocked = match host {
        Host::Web | Host::Desktop | Host::Mobile | Host::Dashboard => Show::VisualIsBlocked,
        Host::Embed | Host::ReportServer | Host::PublishToWeb | Host::Export => {
            Show::UnsupportedEnv
        }
    };
    match decision.state {
        State::Active | State::Trial | State::Grace => working(decision, now).filter(|_| warns),
        State::Pending => Some(Told::new(blocked, MessageKey::Pending)),
        State::Suspended => Some(Told::new(blocked, MessageKey::Suspended)),
        State::Expired => Some(Told::new(blocked, MessageKey::Expired)),
        State::Unlicensed => Some(unlicensed(decision.reason, blocked)),
        State::Unknown => Some(Told::new(
            Show::General,
            if decision.reason == Reason::NoConsent {
                MessageKey::ConsentNeeded
            } else {
                MessageKey::Unknown
            },
        )),
    }
}

/// The most pressing of what may be told: what ends first is what people can act on.
fn working(decision: &Decision, now: Timestamp) -> Option<Told> {
    let banner = |key| Told::new(Show::FeatureBanner, key);
    match (decision.state, decision.notice) {
        (State::Grace, _) if decision.reason == Reason::Stale => Some(banner(MessageKey::Stale)),
        (State::Grace, _) => {
            let keys = (MessageKey::Grace, MessageKey::GraceOpen);
            Some(Told::until(Show::FeatureBanner, keys, decision.grace_end, now))
        }
        (_, Some(Notice::OverLimit { max })) => {
            Some(Told { max: Some(max), ..banner(MessageKey::OverLimit) })
        }
        (State::Trial, _) => {
            let keys = (MessageKey::Trial, MessageKey::TrialOpen);
            Some(Told::until(Show::FeatureBanner, keys, decision.period_end, now))
        }
        (_, Some(Notice::Ends)) => {
            let end = decision.period_end.filter(|it| it.duration_since(now) <= ENDS_SOON)?;
            let keys = (MessageKey::EndsSoon, MessageKey::EndsSoon);
            Some(Told::until(Show::FeatureBanner, keys, Some(end), now))
        }
        (_, Some(Notice::HeldBack)) => Some(banner(MessageKey::HeldBack)),
        (_, None) => None,
    }
}

fn unlicensed(reason: Reason, blocked: Show) -> Told {
    let key = [
        (Reason::NoFreeSeat, MessageKey::NoFreeSeat),
        (Reason::OverLimit, MessageKey::TooManyUsers),
        (Reason::LicenseNotRecognized, MessageKey::NotRecognized),
    ]
    .iter()
    .find(|(it, _)| *it == reason)
    .map_or(MessageKey::Unlicensed, |(_, key)| *key);
    if reason == Reason::HostUnsupported {
        Told::new(Show::UnsupportedEnv, MessageKey::HostUnsupported)
    } else {
        Told::new(blocked, key)
    }
}

/// Days until then, a begun one counted whole: `1` on the last day.
fn days(end: Timestamp, now: Timestamp) -> i64 {
    const DAY_S: i64 = 86_400;
    let left = end.duration_since(now).as_secs().max(0);
    left.saturating_add(DAY_S - 1) / DAY_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Features, ProductId};

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    fn decision(state: State, reason: Reason) -> Decision {
        Decision {
            product: "panel".parse::<ProductId>().unwrap(),
            state,
            usable: state.is_usable(),
            reason,
            proof: None,
            source: None,
            plan: None,
            features: Features::default(),
            period_end: None,
            grace_end: None,
            notice: None,
            as_of: Some(now()),
            stale: false,
            check_after_s: 3600,
            valid_until: now(),
            seat: None,
            license_refused: false,
        }
    }

    fn check(decision: &Decision, host: Host, show: &str) {
        let text = told(decision, host, now()).map_or_else(String::new, |it| {
            let days = it.days_left.map_or_else(String::new, |days| format!(" {days}"));
            format!("{} {}{days}", it.show.as_str(), it.key)
        });
        assert_eq!(text, show, "{} {} {host}", decision.state, decision.reason);
    }

    #[test]
    fn what_works_is_warned_of_and_never_covered() {
        let web = |it: &Decision, show: &str| check(it, Host::Web, show);
        let hours = |it| Some(now() + SignedDuration::from_hours(it));
        let active = decision(State::Active, Reason::LicenseActive);
        web(&active, "");
        web(&Decision { period_end: hours(5), ..active.clone() }, "");
        let ends = Decision { notice: Some(Notice::Ends), ..active.clone() };
        web(&ends, "");
        web(&Decision { period_end: hours(14 * 24), ..ends.clone() }, "FeatureBanner ends_soon 14");
        web(&Decision { period_end: hours(14 * 24 + 1), ..ends.clone() }, "");
        web(&Decision { period_end: hours(1), ..ends }, "FeatureBanner ends_soon 1");
        let over = Some(Notice::OverLimit { max: 5 });
        web(&Decision { notice: over, ..active }, "FeatureBanner over_limit");
        let trial = decision(State::Trial, Reason::LicenseTrial);
        web(&trial, "FeatureBanner trial_open");
        web(&Decision { period_end: hours(12 * 24), ..trial.clone() }, "FeatureBanner trial 12");
        web(&Decision { notice: over, period_end: hours(9), ..trial }, "FeatureBanner over_limit");
        let grace = decision(State::Grace, Reason::LicenseGrace);
        web(&grace, "FeatureBanner grace_open");
        web(&Decision { grace_end: hours(25), ..grace.clone() }, "FeatureBanner grace 2");
        web(&Decision { grace_end: hours(25), notice: over, ..grace }, "FeatureBanner grace 2");
        web(&decision(State::Grace, Reason::Stale), "FeatureBanner stale");
        let held = Some(Notice::HeldBack);
        web(
            &Decision { notice: held, ..decision(State::Active, Reason::SeatDirect) },
            "FeatureBanner held_back",
        );
        for host in Host::ALL {
            for state in [State::Active, State::Trial, State::Grace] {
                let it = decision(state, Reason::LicenseGrace);
                let banner = |it: Told| it.show == Show::FeatureBanner;
                assert!(told(&it, *host, now()).is_none_or(banner), "{state} {host}");
            }
        }
    }

    #[test]
    fn the_public_and_exports_are_not_told_of_the_customers_license() {
        for host in [Host::PublishToWeb, Host::Export] {
            check(&decision(State::Grace, Reason::LicenseGrace), host, "");
            check(&decision(State::Trial, Reason::LicenseTrial), host, "");
            check(
                &decision(State::Expired, Reason::LicenseExpired),
                host,
                "UnsupportedEnv expired",
            );
        }
    }

    #[test]
    fn a_refusal_covers_the_visual_and_says_why() {
        for (state, reason, show) in [
            (State::Pending, Reason::SubscriptionPending, "VisualIsBlocked pending"),
            (State::Suspended, Reason::SeatSuspended, "VisualIsBlocked suspended"),
            (State::Expired, Reason::LicenseRevoked, "VisualIsBlocked expired"),
            (State::Unlicensed, Reason::NotLicensed, "VisualIsBlocked unlicensed"),
            (State::Unlicensed, Reason::NoFreeSeat, "VisualIsBlocked no_free_seat"),
            (State::Unlicensed, Reason::OverLimit, "VisualIsBlocked too_many_users"),
            (State::Unlicensed, Reason::LicenseNotRecognized, "VisualIsBlocked not_recognized"),
            (State::Unlicensed, Reason::HostUnsupported, "UnsupportedEnv host_unsupported"),
        ] {
            for host in [Host::Web, Host::Desktop, Host::Mobile, Host::Dashboard] {
                check(&decision(state, reason), host, show);
            }
            let elsewhere = show.replace("VisualIsBlocked", "UnsupportedEnv");
            for host in [Host::Embed, Host::ReportServer, Host::PublishToWeb, Host::Export] {
                check(&decision(state, reason), host, &elsewhere);
            }
        }
    }

    #[test]
    fn what_is_not_known_blocks_nothing() {
        for host in Host::ALL {
            check(&decision(State::Unknown, Reason::NeverRead), *host, "General unknown");
            check(&decision(State::Unknown, Reason::Stale), *host, "General unknown");
            check(&decision(State::Unknown, Reason::NoConsent), *host, "General consent_needed");
        }
    }
}
