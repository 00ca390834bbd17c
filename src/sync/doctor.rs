//! Live checks of what stands upstream: the clock, our credential, each API. Asks Microsoft now,
//! changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::timeout;

use super::Clock;
use crate::domain::{Access, Grant, Permission, TenantId};
use crate::microsoft::{ErrorKind, LicenceQuery, Meter, Microsoft, MicrosoftError};

/// How long one check may take.
const CHECK_MAX: Duration = Duration::from_secs(30);

/// How far the clock may be off: tokens are valid for minutes around their times.
///
/// Source: contract section 5 (webhook tokens: 60 s of skew).
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Looks at what stands upstream.
#[derive(Clone)]
pub struct Upstreams {
    microsoft: Arc<Microsoft>,
    clock: Clock,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and somebody should look at it.
    Fair,
    /// It does not work.
    Bad,
}

impl Health {
    /// For programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Fair => "warning",
            Self::Bad => "failed",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub health: Health,
    /// In words.
    pub found: String,
    /// What to do next; `None` if all is well.
    pub next: Option<String>,
}

impl Checked {
    /// All is well.
    pub fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), health: Health::Good, found: found.into(), next: None }
    }

    /// Not all is well, and this is what to do next.
    pub fn ill(
        what: impl Into<String>,
        health: Health,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), health, found: found.into(), next: Some(next.into()) }
    }
}

impl Upstreams {
    /// Asks with our own app.
    pub const fn new(microsoft: Arc<Microsoft>, clock: Clock) -> Self {
        Self { microsoft, clock }
    }

    /// The machine's clock against Entra's; also whether Entra can be reached.
    pub async fn clock(&self) -> Checked {
        let what = "clock and Entra";
        match within(self.microsoft.keys().their_time()).await {
            Ok(Some(theirs)) => clock(what, (self.clock)().duration_since(theirs)),
            Ok(None) => Checked::good(what, "Entra answers; it did not say what time it is"),
            Err(error) => failed(what, &error),
        }
    }

    /// Our credential, and the marketplace that it opens.
    pub async fn marketplace(&self) -> Checked {
        let what = "marketplace (credential, SaaS fulfillment API)";
        let meter = Meter::new().urgent().of_an_operator();
        match within(self.microsoft.marketplace().list_page(&meter, None)).await {
            Ok(_) => Checked::good(what, "it gives us a token and lists subscriptions"),
            Err(error) => failed(what, &error),
        }
    }

    /// The licence report's API: whether it knows our app, and has licences to tell of. It explains and
    /// decides nothing, so no answer of its own is a failure.
    pub async fn partner_center(&self) -> Checked {
        let meter = Meter::new().urgent().of_an_operator();
        report(within(self.microsoft.partner_center().licence_query(&meter)).await)
    }

    /// A tenant's directory: its token, what it permits, and whether Graph answers.
    pub async fn graph(&self, tenant: TenantId) -> Checked {
        let what = format!("Graph (tenant {tenant})");
        let meter = Meter::new().urgent().of_an_operator();
        let answered = within(self.microsoft.graph().subscribed_skus(&meter, tenant)).await;
        permits(what, tenant, answered.err(), &meter.access())
    }
}

/// What the licence report's line is called.
pub const REPORT: &str = "Partner Center (licence report)";

fn report(answer: Result<Option<LicenceQuery>, MicrosoftError>) -> Checked {
    let by_hand = "download the License dashboard's CSV (Insights, Licenses, Download data) and bring \
                   it in: `entitled reports import FILE`";
    let (found, next) = match answer {
        Ok(Some(_)) => return Checked::good(REPORT, "it knows our app and offers licences"),
        Ok(None) => {
            let found = "it answers, and offers our app no data set of licences";
            (found.to_owned(), by_hand.to_owned())
        }
        // The credential opens everything else too: that is what to mend.
        Err(error) if error.kind() == ErrorKind::Credential => return failed(REPORT, &error),
        Err(error) => {
            let next = match error.kind() {
                ErrorKind::Consent => "do what the message says",
                ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Locked => {
                    "wait some minutes and look again"
                }
                ErrorKind::National
                | ErrorKind::Resync
                | ErrorKind::RestartSequence
                | ErrorKind::NotFound
                | ErrorKind::Refused
                | ErrorKind::Rejected
                | ErrorKind::Credential
                | ErrorKind::Unreadable => "check [microsoft] partner_center",
            };
            let next = format!("{next}; licences count all the same. Until then, {by_hand}");
            (crate::telemetry::chain(&error), next)
        }
    };
    Checked::ill(REPORT, Health::Fair, found, next)
}

async fn within<T>(
    call: impl Future<Output = Result<T, MicrosoftError>>,
) -> Result<T, MicrosoftError> {
    timeout(CHECK_MAX, call).await.unwrap_or_else(|_elapsed| {
        let what = format!("Microsoft did not answer within {} s", CHECK_MAX.as_secs());
        Err(MicrosoftError::new(ErrorKind::Transient, what))
    })
}

fn clock(what: &str, off: SignedDuration) -> Checked {
    let seconds = off.as_secs();
    if off.abs() <= SKEW_MAX {
        return Checked::good(what, format!("Entra answers; the clocks differ by {seconds} s"));
    }
    Checked::ill(
        what,
        Health::Bad,
        format!("this machine's clock is {seconds} s away from Entra's"),
        "set the clock (chronyd or systemd-timesyncd): tokens are refused outside their times",
    )
}

fn permits(
    what: String,
    tenant: TenantId,
    error: Option<MicrosoftError>,
    access: &Access,
) -> Checked {
    if let Some(error) = error {
        return failed(what, &error);
    }
    let missing: Vec<String> = access
        .missing()
        .filter(|it| *it != Permission::GroupRead)
        .map(|it| format!("{it} is missing ({})", access.without(it)))
        .collect();
    if missing.is_empty() {
        return Checked::good(what, "it gives us a token and answers");
    }
    // Without that nobody's licence is seen.
    let blind = access.grant(Permission::UserRead) == Grant::Missing;
    let health = if blind { Health::Bad } else { Health::Fair };
    let next =
        format!("send its administrator the link of `entitled tenants consent-url {tenant}`");
    Checked::ill(what, health, missing.join("; "), next)
}

/// What a failed call says, and who has to do what about it.
fn failed(what: impl Into<String>, error: &MicrosoftError) -> Checked {
    let next = match error.kind() {
        ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Locked => {
            "wait some minutes and look again; answers go on from what is known"
        }
        ErrorKind::Consent => {
            "let the tenant's administrator consent (`entitled tenants consent-url`); for the \
             marketplace, register the app in Partner Center (Technical configuration)"
        }
        ErrorKind::Credential => {
            "mend [identity] as the message says (`entitled config show` names each value's origin)"
        }
        ErrorKind::National => "nothing: only channel direct speaks in national clouds",
        ErrorKind::Unreadable | ErrorKind::Refused => {
            "check [microsoft] in the configuration, and the proxy or firewall that stands between"
        }
        ErrorKind::Resync
        | ErrorKind::RestartSequence
        | ErrorKind::NotFound
        | ErrorKind::Rejected => "look again; if it stays, report it with the daemon's log",
    };
    Checked::ill(what, Health::Bad, crate::telemetry::chain(error), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do_next() {
        let kinds = [
            (ErrorKind::Transient, "wait some minutes"),
            (ErrorKind::Throttled, "wait some minutes"),
            (ErrorKind::Consent, "consent-url"),
            (ErrorKind::Credential, "[identity]"),
            (ErrorKind::National, "only channel direct"),
            (ErrorKind::Unreadable, "[microsoft]"),
            (ErrorKind::NotFound, "report it"),
        ];
        for (kind, words) in kinds {
            let checked = failed("x", &MicrosoftError::new(kind, "broken"));
            assert_eq!((checked.health, &*checked.found), (Health::Bad, "broken"));
            assert!(checked.next.unwrap().contains(words), "{kind:?}");
        }
    }

    #[test]
    fn a_licence_report_that_cannot_be_read_is_a_warning_and_says_what_helps() {
        let check = |answer, health, words: &str| {
            let checked = report(answer);
            assert_eq!((checked.health, checked.next.is_some()), (health, health != Health::Good));
            assert!(checked.next.unwrap_or(checked.found).contains(words), "{words}");
        };
        let error = |kind| Err(MicrosoftError::new(kind, "broken"));
        let system = LicenceQuery::System { id: "q".to_owned() };
        check(Ok(Some(system)), Health::Good, "offers licences");
        check(Ok(None), Health::Fair, "reports import");
        check(error(ErrorKind::Consent), Health::Fair, "do what the message says");
        check(error(ErrorKind::Credential), Health::Bad, "[identity]");
        check(error(ErrorKind::Transient), Health::Fair, "wait some minutes");
        check(error(ErrorKind::Unreadable), Health::Fair, "[microsoft] partner_center");
    }

    #[test]
    fn a_clock_may_be_a_minute_off() {
        let check = |seconds: i64, health: Health| {
            let checked = clock("x", SignedDuration::from_secs(seconds));
            assert_eq!(checked.health, health, "{seconds}");
            assert_eq!(checked.next.is_some(), health != Health::Good);
        };
        check(0, Health::Good);
        check(-60, Health::Good);
        check(61, Health::Bad);
        check(-3600, Health::Bad);
    }

    #[test]
    fn what_a_tenant_does_not_permit_is_named() {
        let tenant = "0b0b0b0b-1111-4222-8333-444444444444".parse().unwrap();
        let check = |roles: &[&str], health: Health, words: &str| {
            let access = Access::of_roles(roles.iter().copied());
            let checked = permits("x".to_owned(), tenant, None, &access);
            assert_eq!(checked.health, health, "{roles:?}");
            assert!(checked.found.contains(words), "{}", checked.found);
        };
        check(&["Directory.Read.All"], Health::Good, "answers");
        check(&["User.Read.All", "Organization.Read.All"], Health::Fair, "everything works");
        check(&["LicenseAssignment.Read.All"], Health::Bad, "User.Read.All is missing");
    }
}
