//! The steps of a switch in words: who does what, by which commands, and how one sees that it is done.

use crate::decision::{Switch, SwitchAsked};
use crate::domain::{HybridMode, LicenseKind, Mirror, SwitchAct, SwitchTo};

/// What the words are filled with.
pub(super) struct Words<'a> {
    plan: &'a Switch<'a>,
    hybrid: HybridMode,
    tenant: String,
    product: &'a str,
    plans: String,
    licensee: String,
    license: String,
    activation: Option<String>,
    subscription: Option<String>,
}

/// A word of a shell, quoted where it has to be: customers choose their names.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:@/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let safe: String = text.chars().filter(|it| !it.is_control()).collect();
    format!("'{}'", safe.replace('\'', r"'\''"))
}

impl<'a> Words<'a> {
    pub(super) fn new(
        mirror: &Mirror,
        asked: &SwitchAsked<'a>,
        plan: &'a Switch<'a>,
        name: Option<&str>,
    ) -> Self {
        let book = mirror.licenses();
        let license = plan.license().map(|it| it.license);
        let activation = license.and_then(|it| {
            let bound = book.activations_of(it.id).find(|it| it.tenant == Some(asked.tenant));
            bound.map(|it| it.id.to_string())
        });
        let managed = asked.product.plans.iter().filter(|it| it.channel.is_managed_per_user());
        let plans: Vec<&str> = managed.map(|it| it.service_id.plan()).collect();
        let subscription = mirror
            .subscriptions_of(asked.tenant)
            .find(|it| plan.bought.iter().any(|bought| it.is_of(&bought.plan.service_id)));
        Self {
            plan,
            hybrid: asked.product.hybrid,
            tenant: asked.tenant.to_string(),
            product: asked.product.id.as_str(),
            plans: plans.join(" or "),
            licensee: quoted(name.unwrap_or("<customer>")),
            license: license.map_or_else(|| "<license>".to_owned(), |it| it.id.to_string()),
            activation,
            subscription: subscription.map(|it| it.id.to_string()),
        }
    }

    fn needed(&self) -> String {
        self.plan
            .needed
            .filter(|it| *it > 0)
            .map_or_else(|| "<users>".to_owned(), |it| it.to_string())
    }

    /// Whether the license would go on for ever: it has no period to end with.
    fn endless(&self) -> bool {
        self.plan
            .license()
            .is_some_and(|it| it.license.period_end.is_none() && it.license.paid_at.is_some())
    }

    pub(super) const fn who(&self, act: SwitchAct) -> &'static str {
        match act {
            SwitchAct::Activate if !matches!(self.hybrid, HybridMode::None) => "customer",
            SwitchAct::StopRenewal | SwitchAct::Buy | SwitchAct::Assign => "customer",
            SwitchAct::Read if self.plan.refused => "customer",
            SwitchAct::Lapse | SwitchAct::Expire => "nobody",
            SwitchAct::Read
            | SwitchAct::Issue
            | SwitchAct::Activate
            | SwitchAct::Raise
            | SwitchAct::Cover
            | SwitchAct::Cancel
            | SwitchAct::Release => "publisher",
        }
    }

    pub(super) fn what(&self, act: SwitchAct) -> String {
        match act {
            SwitchAct::Read if self.plan.refused => {
                "an administrator of the customer lets us read who holds seats, by the link".into()
            }
            SwitchAct::Read => "who holds seats is read".into(),
            SwitchAct::Issue if self.plan.seats_end.is_some() => format!(
                "sell a license for {} users; it counts from its activation on, and the period that \
                 is paid begins when the seats end, so nothing is paid twice",
                self.needed()
            ),
            SwitchAct::Issue => format!(
                "sell a license for {} users; when the seats end is not known here: ask the customer, \
                 and name that day as --period-start, so that nothing is paid twice",
                self.needed()
            ),
            SwitchAct::Activate => match self.hybrid {
                HybridMode::Entra => "one user of the customer pastes the activation key into the \
                    visual, once for the whole tenant; its administrator must allow AppSource visuals \
                    single sign-on, and our app"
                    .into(),
                HybridMode::Licensee => {
                    "license id and licensee are typed into the visual, in each report".into()
                }
                HybridMode::None => "the visual of the direct package replaces the one from AppSource \
                    in each report; build it with the token of this license"
                    .into(),
            },
            SwitchAct::Raise => format!(
                "raise its maximum to {}: there are more seats than places; unless its paid period lies \
                 ahead, a new one begins, and what was not used of the old one is shown",
                self.plan.too_small().unwrap_or_default()
            ),
            SwitchAct::Cover => {
                "wait until everybody who holds a seat is covered by the license too".into()
            }
            SwitchAct::StopRenewal => "switch off recurring billing of the seats (Microsoft 365 admin \
                center, Billing, Your products), not before the step above is done; they then run to \
                the end of their term, whereas cancelling may end them at once"
                .into(),
            SwitchAct::Lapse => {
                "the seats end with their term; the license carries on alone".into()
            }
            SwitchAct::Buy => {
                format!("buy at least {} seats of {} in AppSource", self.needed(), self.plans)
            }
            SwitchAct::Assign => "assign a seat to everybody listed here, or to a group of all of \
                them (Microsoft 365 admin center)"
                .into(),
            SwitchAct::Cancel if self.endless() => {
                "end the license, which has no period to end with: this takes effect at once and for good"
                    .into()
            }
            SwitchAct::Cancel => "cancel the license: it ends with its period, without grace; not \
                before the step above is done"
                .into(),
            SwitchAct::Release => "let the tenant go of the license, which others go on using; this \
                takes effect at once, so not before the step above is done"
                .into(),
            SwitchAct::Expire => "the license ends; the seats carry on alone".into(),
        }
    }

    pub(super) fn commands(&self, act: SwitchAct) -> Vec<String> {
        let Self { tenant, product, license, .. } = self;
        match act {
            SwitchAct::Read => {
                let consent = format!("entitled tenants consent-url {tenant}");
                let read = format!("entitled sync directory --tenant {tenant}");
                if self.plan.refused { vec![consent, read] } else { vec![read] }
            }
            SwitchAct::Issue => {
                let start = self.plan.seats_end.map(|it| format!(" --period-start {it}"));
                vec![format!(
                    "entitled licenses issue --product {product} --kind user --max {} --licensee {} \
                     --cycle yearly{}",
                    self.needed(),
                    self.licensee,
                    start.unwrap_or_default()
                )]
            }
            SwitchAct::Activate if self.hybrid == HybridMode::None => {
                vec![format!("entitled licenses package {license}")]
            }
            SwitchAct::Activate => Vec::new(),
            SwitchAct::Raise => {
                let max = self.plan.too_small().unwrap_or_default();
                vec![format!("entitled licenses change {license} --max {max}")]
            }
            SwitchAct::Cover => vec![
                self.again(),
                format!("entitled query {product} --tenant {tenant} --user <user> --explain"),
            ],
            SwitchAct::StopRenewal => {
                let show = |it: &String| format!("entitled subscriptions show {it}");
                self.subscription.iter().map(show).collect()
            }
            SwitchAct::Lapse | SwitchAct::Assign => vec![
                format!("entitled sync directory --tenant {tenant}"),
                format!("entitled seats --tenant {tenant} --product {product}"),
            ],
            SwitchAct::Buy => vec![
                format!("entitled sync directory --tenant {tenant}"),
                format!("entitled seats --figures --tenant {tenant} --product {product}"),
            ],
            SwitchAct::Cancel if self.endless() => {
                vec![format!("entitled licenses revoke {license}")]
            }
            SwitchAct::Cancel => vec![format!("entitled licenses cancel {license}")],
            SwitchAct::Release => {
                let remove = |it: &String| format!("entitled activations remove {it}");
                self.activation.iter().map(remove).collect()
            }
            SwitchAct::Expire => vec![format!("entitled licenses show {license}")],
        }
    }

    /// This plan once more.
    fn again(&self) -> String {
        let license = match self.plan.license() {
            Some(it) if !it.bound => format!(" --license {}", it.license.id),
            Some(_) | None => String::new(),
        };
        let Self { tenant, product, plan, .. } = self;
        format!(
            "entitled licenses switch-plan {tenant} --product {product} --to {}{license}",
            plan.to
        )
    }

    pub(super) fn done_when(&self, act: SwitchAct) -> String {
        match act {
            SwitchAct::Read => {
                "`entitled tenants` says granted and names a last complete read".into()
            }
            SwitchAct::Issue if self.hybrid == HybridMode::Entra => {
                "it is in `entitled licenses list`; until it is activated, ask for this plan with \
                 --license and its id"
                    .into()
            }
            SwitchAct::Issue => {
                "it is in `entitled licenses list`; ask for this plan with --license and its id"
                    .into()
            }
            SwitchAct::Activate if self.hybrid == HybridMode::Entra => {
                "`entitled activations list` has this tenant".into()
            }
            SwitchAct::Activate => {
                "`entitled licenses show` of it counts users under `coverage`".into()
            }
            SwitchAct::Raise => "this plan has no such step any more".into(),
            SwitchAct::Cover => {
                "this plan says that nobody would lose access at the end; everybody \
                is in `entitled licenses overlap` until then"
                    .into()
            }
            SwitchAct::StopRenewal if self.subscription.is_some() => {
                "the subscription says auto_renew no".into()
            }
            SwitchAct::StopRenewal => {
                "the customer says so: Microsoft does not tell publishers".into()
            }
            SwitchAct::Lapse => "no seat is listed any more, and nobody was refused".into(),
            SwitchAct::Buy => "so many are bought by `entitled seats --figures`".into(),
            SwitchAct::Assign => "this plan says that nobody would lose access at the end".into(),
            SwitchAct::Cancel if self.endless() => "the license is expired".into(),
            SwitchAct::Cancel => "the license's standing is cancelled".into(),
            SwitchAct::Release => "`entitled activations list` has this tenant no more".into(),
            SwitchAct::Expire => "the license is expired, and nobody was refused".into(),
        }
    }

    /// What the plan does not know.
    pub(super) fn doubts(&self) -> Vec<String> {
        let plan = self.plan;
        let mut doubts = Vec::new();
        if plan.refused {
            doubts.push(
                "who holds seats may not be read (no consent), so nobody can tell who would lose \
                 access; the number of users is that of the licence report"
                    .to_owned(),
            );
        } else if plan.read.is_none() {
            doubts.push(
                "who holds seats was never read completely, so nobody can tell who would lose access"
                    .to_owned(),
            );
        }
        let unnamed = |kind| plan.owned.iter().any(|it| it.usable && it.license.kind == kind);
        if plan.to == SwitchTo::Appsource
            && (unnamed(LicenseKind::Capacity) || unnamed(LicenseKind::Site))
        {
            doubts.push(
                "a license by capacity or site counts no users: ask the customer how many seats he \
                 needs"
                    .to_owned(),
            );
        }
        let anonymous = plan.anonymous();
        if anonymous > 0 {
            doubts.push(format!(
                "{anonymous} users of the license are known by their number alone (packages tell no \
                 names): whether they have seats nobody can tell, so ask the customer before the old \
                 system ends"
            ));
        }
        if self.hybrid == HybridMode::None {
            doubts.push(
                "this product has no license for the visual from AppSource: the visual is replaced \
                 in each report, and users of packages are counted without names"
                    .to_owned(),
            );
        }
        if plan.to == SwitchTo::License && plan.seats_end.is_none() && !plan.users.is_empty() {
            doubts.push(
                "when the seats end is not told (the permission Organization.Read.All would tell): \
                 the dates are for the customer to say"
                    .to_owned(),
            );
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_is_one_word_of_a_shell_whatever_it_has() {
        assert_eq!(quoted("Contoso"), "Contoso");
        assert_eq!(quoted("Contoso (ana@contoso.example)"), "'Contoso (ana@contoso.example)'");
        assert_eq!(quoted("$(rm -rf ~)'; x"), r"'$(rm -rf ~)'\''; x'");
        assert_eq!(quoted("a\nb"), "'ab'");
        assert_eq!(quoted(""), "''");
    }
}
