//! The pages about one purchase: what was bought, and where it stands.

use axum::http::StatusCode;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::access::Addresses;
use super::seal::Person;
use super::words::{person_line, support_line};
use crate::domain::{
    Coverage, Mirror, Party, Plan, Product, Subscription, SubscriptionStatus, TenantId, has_passed,
};
use crate::http::markup::Text;
use crate::http::public::page::Page;

/// What a page about a purchase shows.
pub(super) struct Shown<'a> {
    pub(super) subscription: &'a Subscription,
    pub(super) addresses: &'a Addresses,
    pub(super) person: &'a Person,
    pub(super) mirror: &'a Mirror,
    /// The product and the plan of the catalog.
    pub(super) known: Option<(&'a Product, &'a Plan)>,
    /// What Microsoft calls the plan.
    pub(super) plan_name: Option<&'a str>,
    /// Below which path our pages are.
    pub(super) path: &'a str,
    /// What the form brings back.
    pub(super) form: &'a str,
    /// When the activation was asked for.
    pub(super) asked: Option<Timestamp>,
    pub(super) has_support: bool,
    pub(super) now: Timestamp,
}

/// How long an activation usually takes at most.
///
/// Source: `marketplace-saas.md` section 6.2: minutes.
const USUAL: SignedDuration = SignedDuration::from_mins(10);

/// After this an activation that was asked for and does not show may be asked for again.
pub(super) const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(30);

impl Shown<'_> {
    /// The page that fits where the purchase stands.
    pub(super) fn page(&self) -> Page {
        let waiting = self.asked.filter(|at| !has_passed(ASK_AGAIN, *at, self.now));
        match (&self.subscription.status, waiting) {
            (SubscriptionStatus::PendingFulfillmentStart, Some(at)) => self.following(at),
            (SubscriptionStatus::PendingFulfillmentStart, None) => self.confirm(),
            (SubscriptionStatus::Subscribed, _) => self.active(),
            (SubscriptionStatus::Suspended, _) => self.suspended(),
            (SubscriptionStatus::Unsubscribed, _) if self.asked.is_some() => self.failed(),
            (SubscriptionStatus::Unsubscribed, _) => self.ended(),
            (SubscriptionStatus::Unrecognized(word), _) => self.unrecognized(word),
        }
    }

    fn product(&self) -> &str {
        match self.known {
            Some((product, _)) => &product.name,
            None if self.subscription.offer.is_empty() => "your subscription",
            None => &self.subscription.offer,
        }
    }

    fn confirm(&self) -> Page {
        let (path, form) = (Text(self.path), Text(self.form));
        let again = match self.asked {
            None => "",
            Some(_) => {
                "<p>It was asked to be activated before, but Microsoft does not show it. You can \
                 try again: nothing is charged twice.</p>\n"
            }
        };
        Page::new(StatusCode::OK, format!("Activate {}", self.product()))
            .state("warn", "Not active yet")
            .text("Thank you for your purchase. Please check that this is it, then activate it.")
            .html(again)
            .html(&self.facts())
            .html(&format!(
                "<form method=\"post\" action=\"{path}/purchase\">\n\
                 <input type=\"hidden\" name=\"form\" value=\"{form}\">\n\
                 <button type=\"submit\" aria-describedby=\"billing\">Activate subscription\
                 </button>\n<p id=\"billing\">Microsoft begins to bill with the activation.</p>\n\
                 </form>\n"
            ))
            .html(&self.who())
    }

    /// Follows the activation to its end, more and more rarely.
    fn following(&self, asked: Timestamp) -> Page {
        let since = self.now.duration_since(asked);
        let refresh_s = match since.as_mins() {
            ..2 => 5,
            2..10 => 15,
            _ => 60,
        };
        let page = Page::new(StatusCode::OK, format!("Activating {}", self.product()))
            .state("warn", "In progress")
            .refresh(refresh_s)
            .text("Microsoft has been asked to activate your subscription. This can take some minutes.")
            .html("<p><progress aria-label=\"Activation in progress\"></progress></p>\n");
        let page = if since < USUAL {
            page.text("This page looks again by itself. You may close it: the activation goes on.")
        } else {
            page.text(&format!(
                "It takes longer than usual. You may close this page and come back later.{}",
                support_line(self.has_support)
            ))
        };
        page.button(&format!("{}/purchase", self.path), "Look again now")
            .html(&self.facts())
            .html(&self.who())
    }

    fn active(&self) -> Page {
        let company = self.subscription.beneficiary.tenant_id().is_some();
        let coverage = self.known.map(|(_, plan)| plan.coverage).filter(|_| company);
        let covered = match (coverage, self.subscription.quantity) {
            (Some(Coverage::Tenant), _) => "Everybody in the organization can use it now.".into(),
            (Some(Coverage::Seats), Some(quantity)) => format!(
                "The first {quantity} people of the organization who use it take the seats; a seat \
                 that is not used for some time is free again."
            ),
            (Some(Coverage::Seats), None) | (None, _) => "It can be used now.".to_owned(),
        };
        Page::new(StatusCode::OK, format!("{} is active", capital(self.product())))
            .state("ok", "Active")
            .text(&format!("There is nothing more to do here. {covered}"))
            .html(&self.facts())
            .html("<h2>Change or cancel</h2>\n")
            .text(self.where_to_change())
            .html(&self.who())
    }

    fn suspended(&self) -> Page {
        Page::new(StatusCode::OK, format!("{} is suspended", capital(self.product())))
            .state("bad", "Suspended")
            .text(
                "Microsoft has suspended this subscription, usually because a payment did not go \
                 through. Nothing has been deleted.",
            )
            .steps(&[
                "Ask whoever pays for it to settle the payment: in the Azure portal under Cost \
                 Management + Billing, or in the Microsoft 365 admin center under Billing.",
                "Microsoft then reinstates the subscription by itself. It ends if that does not \
                 happen within 30 days.",
            ])
            .html(&self.facts())
            .html(&self.who())
    }

    fn ended(&self) -> Page {
        Page::new(StatusCode::OK, format!("{} has ended", capital(self.product())))
            .state("bad", "Ended")
            .text(
                "This subscription was cancelled or has run out. It cannot be revived: to go on, \
                 buy it again where you bought it, which makes a new subscription.",
            )
            .html(&self.facts())
            .html(&self.who())
    }

    fn failed(&self) -> Page {
        Page::new(StatusCode::OK, "The activation did not succeed")
            .state("bad", "Not activated")
            .text(&format!(
                "Microsoft could not activate this subscription and has ended it. You are not \
                 billed for it. Buy it again where you bought it; if it fails again, check the \
                 payment method there.{}",
                support_line(self.has_support)
            ))
            .html(&self.facts())
            .html(&self.who())
    }

    fn unrecognized(&self, word: &str) -> Page {
        Page::new(StatusCode::OK, capital(self.product()))
            .state("warn", "Please wait")
            .text(&format!(
                "Microsoft says that this subscription is “{word}”, and it cannot be activated \
                 now. Please come back later.{}",
                support_line(self.has_support)
            ))
            .html(&self.facts())
            .html(&self.who())
    }

    fn where_to_change(&self) -> &'static str {
        if self.is_through_partner() {
            "You bought it through a partner: ask that partner to change or cancel it."
        } else {
            "Plan, seats and renewal are changed where it was bought: in the Azure portal under \
             SaaS, or in the Microsoft 365 admin center under Billing, Your products."
        }
    }

    fn is_through_partner(&self) -> bool {
        let it = self.subscription;
        it.purchaser.tenant.is_some() && it.purchaser.tenant != it.beneficiary.tenant
    }

    /// What was bought, for whom and by whom.
    fn facts(&self) -> String {
        let it = self.subscription;
        let product = capital(self.product());
        let offer = format!("<small>offer {}</small>", Text(&it.offer));
        let offer = if self.known.is_some() { offer } else { String::new() };
        let mut rows = vec![("Product", format!("{}{offer}", Text(&product)))];
        let plan = self.plan_name.unwrap_or(&it.plan);
        rows.push(("Plan", Text(plan).to_string()));
        if let Some(quantity) = it.quantity {
            rows.push(("Seats", quantity.to_string()));
        }
        rows.push(("Term", Text(&self.term()).to_string()));
        rows.push(("For", self.party(&it.beneficiary, self.addresses.beneficiary.as_deref())));
        let buyer = self.party(&it.purchaser, self.addresses.purchaser.as_deref());
        rows.push(("Bought by", buyer));
        if !it.name.is_empty() {
            rows.push(("Name", Text(&it.name).to_string()));
        }
        rows.push(("Reference", Text(&it.id.to_string()).to_string()));
        let rows = rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n"));
        format!("<h2>Your purchase</h2>\n<dl>\n{}</dl>\n", rows.collect::<Vec<_>>().concat())
    }

    fn term(&self) -> String {
        let it = self.subscription;
        let length = it.term_unit.as_deref().map(length);
        let mut words = match (it.term_start, it.term_end, length) {
            (Some(from), Some(to), Some(length)) => {
                format!("{length}: {} to {}", day(from), day(to))
            }
            (Some(from), Some(to), None) => format!("{} to {}", day(from), day(to)),
            (_, _, Some(length)) => format!("{length}, beginning with the activation"),
            (_, _, None) => "begins with the activation".to_owned(),
        };
        if it.free_trial {
            words.push_str(", free trial");
        }
        match it.auto_renew {
            Some(true) if it.status == SubscriptionStatus::Subscribed => {
                words.push_str(", renews by itself");
            }
            Some(false) => words.push_str(", does not renew"),
            Some(true) | None => {}
        }
        words
    }

    fn party(&self, party: &Party, address: Option<&str>) -> String {
        let name = match party.tenant_id() {
            Some(tenant) => {
                let known = self.mirror.tenant(tenant).and_then(|it| it.tenant.name.clone());
                known.map_or_else(|| format!("Organization {tenant}"), |it| it.to_string())
            }
            None if party.tenant == Some(TenantId::PERSONAL_ACCOUNTS) => {
                "A personal account".to_owned()
            }
            None => "Not told by Microsoft".to_owned(),
        };
        let address = address.map(|it| format!("<small>{}</small>", Text(it)));
        format!("{}{}", Text(&name), address.unwrap_or_default())
    }

    fn who(&self) -> String {
        person_line(self.person, self.path)
    }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|it| it.to_uppercase().collect::<String>()).unwrap_or_default();
    first + chars.as_str()
}

/// `P1M` as people say it; what is no such term stays as it is.
fn length(unit: &str) -> String {
    let told = unit.strip_prefix('P').and_then(|rest| {
        let (number, word) = match (rest.strip_suffix('M'), rest.strip_suffix('Y')) {
            (Some(number), _) => (number, "month"),
            (_, Some(number)) => (number, "year"),
            (None, None) => return None,
        };
        let number: u32 = number.parse().ok()?;
        Some(format!("{number} {word}{}", if number == 1 { "" } else { "s" }))
    });
    told.unwrap_or_else(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_said_as_people_say_them() {
        let check = |unit: &str, words: &str| assert_eq!(length(unit), words);
        check("P1M", "1 month");
        check("P18M", "18 months");
        check("P1Y", "1 year");
        check("P3Y", "3 years");
        check("PAY", "PAY");
        check("", "");
        check("P1Y6M", "P1Y6M");
    }
}
