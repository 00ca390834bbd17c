//! What is asked, what speaks for or against it, and how far the sources have been read.

use std::sync::Arc;

use jiff::Timestamp;

use super::SeatUse;
use crate::domain::{
    Channel, Cloud, Consent, Host, HybridMode, Licence, LicenseId, LicenseKind, OverLimit, Path,
    PathState, Plan, Product, Sku, SkuId, SkuMatch, Standing, Subscription, SubscriptionId,
    TenantId, TenantView, UserId, Via,
};

/// May this user, of this tenant, in this host, use this product?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What he wants to use.
    pub product: &'a Product,
    /// Where.
    pub host: Host,
    /// His tenant, when it is proven or a trusted caller named it.
    pub tenant: Option<TenantId>,
    /// Whether he signed in with a personal account; then [`Self::tenant`] is not looked at.
    pub personal_account: bool,
    /// The user, when he is proven or a trusted caller named him.
    pub user: Option<UserId>,
    /// The page that embeds the product.
    pub site: Option<&'a str>,
    /// Whether something was shown as a license that can be none.
    pub license_refused: bool,
    /// The license that was shown.
    pub shown: Shown<'a>,
    /// A digest of the anonymous id by which a package counts its users.
    pub anonymous: Option<[u8; 16]>,
}

/// A license that an asker shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// None.
    Nothing,
    /// Id and licensee, as somebody typed them.
    Typed {
        /// Its id.
        id: LicenseId,
        /// Whom it is made out to, as it was typed.
        licensee: &'a str,
    },
    /// A package that was verified carries it.
    Package(LicenseId),
    /// Somebody who is trusted names it.
    Named(LicenseId),
}

impl<'a> Question<'a> {
    /// The question whether a user of a tenant may use the product in this host.
    pub const fn of_user(
        product: &'a Product,
        host: Host,
        tenant: TenantId,
        user: Option<UserId>,
    ) -> Self {
        Self {
            product,
            host,
            tenant: Some(tenant),
            personal_account: false,
            user,
            site: None,
            license_refused: false,
            shown: Shown::Nothing,
            anonymous: None,
        }
    }

    /// The question with what became of the license that was shown: refused, unless it is among the
    /// evidence and the product takes it.
    pub(super) fn after_gathering(self, evidence: &[Evidence<'_>]) -> Self {
        let (Shown::Typed { id, .. } | Shown::Package(id) | Shown::Named(id)) = self.shown else {
            return self;
        };
        let shown = |it: &Evidence<'_>| {
            matches!(it, Evidence::License(it)
                if it.id == id.as_str()
                    && it.proof != Proof::EntraActivation
                    && it.proof.is_taken_by(self.product.hybrid))
        };
        Self { license_refused: self.license_refused || !evidence.iter().any(shown), ..self }
    }

    /// The tenant that a right may be keyed on.
    pub fn keyed_tenant(&self) -> Option<TenantId> {
        if self.personal_account { None } else { self.tenant }
    }
}

/// One thing that speaks for or against a question.
#[derive(Clone, Debug)]
pub enum Evidence<'a> {
    /// A marketplace subscription of the tenant.
    Subscription(Subscribed<'a>),
    /// A Microsoft-managed licence of the user.
    Seat(Seat<'a>),
    /// A license of the publisher.
    License(License<'a>),
    /// What Microsoft says of a user's right without saying how he came by it.
    UsageRight(UsageRight<'a>),
}

/// A subscription to a plan with channel `saas`.
#[derive(Clone, Debug)]
pub struct Subscribed<'a> {
    /// The subscription.
    pub subscription: &'a Subscription,
    /// The plan it is one of.
    pub plan: &'a Plan,
    /// Whether the user is covered.
    pub covered: Covered,
}

/// Whether a subscription covers the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// Everyone in the tenant is.
    Tenant,
    /// He holds one of the seats.
    HoldsSeat(SeatUse),
    /// A seat is free for him.
    SeatFree(SeatUse),
    /// All seats are taken by others.
    NoneFree,
    /// Seats are for users, and the question names none.
    NoUser,
}

/// A SKU of the tenant that is assigned, or meant to be assigned, to the user.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    /// The plan it is.
    pub plan: &'a Plan,
    /// The SKU.
    pub sku: &'a Sku,
    /// What of the SKU is the plan.
    pub found: SkuMatch,
    /// What the user holds of the SKU, with its paths.
    pub licence: Arc<Licence>,
    /// Whether the last complete read no longer had it, and the brake holds it.
    pub held_back: bool,
}

/// How a seat is held, or why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By at least one path that was assigned to the user himself.
    Direct,
    /// Only through groups.
    ByGroup,
    /// Held; by which path was not told.
    PathUnknown,
    /// Not held: Microsoft could not assign it.
    InError,
    /// Not held: the service plan is switched off.
    SwitchedOff,
    /// Not held: it is only an intention.
    NotAssigned,
}

impl Seat<'_> {
    /// How it is held, or why it is not.
    ///
    /// Source: contract section 2 rule 2, section 4 (`disabledPlans`), section 7.
    pub fn standing(&self) -> Found {
        let paths = self.licence.paths.as_slice();
        if self.licence.holds(self.found) {
            let direct = |it: &Path| self.carries(it) && it.via == Via::Direct;
            return match paths {
                [] => Found::PathUnknown,
                paths if paths.iter().any(direct) => Found::Direct,
                _ => Found::ByGroup,
            };
        }
        if paths.iter().any(|it| it.state == PathState::Error) {
            Found::InError
        } else if self.licence.assigned {
            Found::SwitchedOff
        } else {
            Found::NotAssigned
        }
    }

    fn carries(&self, path: &Path) -> bool {
        let off = match self.found {
            SkuMatch::Sku => false,
            SkuMatch::ServicePlan(plan) => path.disabled_plans.contains(&plan),
        };
        path.state != PathState::Error && !off
    }
}

/// A license that the publisher sold itself, and how the asker proved that it is his.
#[derive(Clone, Debug)]
pub struct License<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it is sold by.
    pub kind: LicenseKind,
    /// What was last done to it.
    pub standing: Standing,
    /// When its trial ends; `None` if it was sold without one.
    pub trial_end: Option<Timestamp>,
    /// When it was paid first; a trial that nobody has paid has none.
    pub paid_at: Option<Timestamp>,
    /// Until when it is paid; `None` for ever.
    pub period_end: Option<Timestamp>,
    /// Its maximum of users, and how many were there before this one.
    pub users: Option<Users>,
    /// What happens over the maximum, in place of the policy.
    pub over_limit: Option<OverLimit>,
    /// The asker's place among its users.
    pub seat: Option<SeatUse>,
    /// How the asker proved that it is his.
    pub proof: Proof,
    /// The domain of a `site`.
    pub domain: Option<&'a str>,
}

/// A maximum of distinct users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// So many may use it.
    pub max: u64,
    /// So many came before this user; all of them when he is new.
    pub before: u64,
}

/// How an asker proved that a license is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The package that he runs carries it.
    Package,
    /// His tenant was bound to it by its activation key.
    EntraActivation,
    /// He named its id and its licensee.
    IdAndLicensee,
}

impl Proof {
    /// The channel that a license proven like this speaks for.
    ///
    /// Source: contract section 2, rule 5.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Package => Channel::Direct,
            Self::EntraActivation | Self::IdAndLicensee => Channel::Hybrid,
        }
    }

    /// Whether a product with this mode takes a license that is proven like this.
    ///
    /// Source: contract section 2, rule 5; section 7.
    pub const fn is_taken_by(self, hybrid: HybridMode) -> bool {
        match (self, hybrid) {
            (Self::Package, _) => true,
            (Self::EntraActivation, HybridMode::Entra | HybridMode::Licensee) => true,
            (Self::IdAndLicensee, HybridMode::Licensee) => true,
            (Self::IdAndLicensee, HybridMode::Entra) => false,
            (Self::EntraActivation | Self::IdAndLicensee, HybridMode::None) => false,
        }
    }
}

/// A usage right of the user, as Graph tells it.
///
/// Source: Graph beta, `usageRight`: `visuals-and-isv.md` section 4.7.
#[derive(Clone, Debug)]
pub struct UsageRight<'a> {
    /// The plan that its `serviceIdentifier` names.
    pub plan: &'a Plan,
    /// `state`: `active`, `warning`, `suspended`, `inactive`, or a word added later.
    pub state: &'a str,
    /// When it was read.
    pub as_of: Timestamp,
}

/// Which kind of evidence an answer stands on; of two that are equal in all else the earlier one
/// is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// A Microsoft-managed licence with the path it came by.
    Seat,
    /// A Microsoft-managed licence without it.
    UsageRight,
    /// A subscription of the marketplace.
    Subscription,
    /// A license of the publisher.
    License,
}

impl EvidenceKind {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seat => "seat",
            Self::UsageRight => "usage_right",
            Self::Subscription => "subscription",
            Self::License => "license",
        }
    }
}

/// Which piece of evidence; orders pieces that are equal in everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceId<'a> {
    /// A subscription.
    Subscription(SubscriptionId),
    /// A SKU of the tenant.
    Sku(SkuId),
    /// A license of the publisher.
    License(&'a str),
    /// A Service ID.
    ServiceId(&'a str),
}

impl<'a> Evidence<'a> {
    /// Which kind it is.
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Subscription(_) => EvidenceKind::Subscription,
            Self::Seat(_) => EvidenceKind::Seat,
            Self::License(_) => EvidenceKind::License,
            Self::UsageRight(_) => EvidenceKind::UsageRight,
        }
    }

    /// The source's own word for where it stands; a license of the publisher has none.
    pub fn said(&self) -> &'a str {
        match self {
            Self::Subscription(it) => it.subscription.status.as_str(),
            Self::Seat(it) => it.sku.status.as_str(),
            Self::License(_) => "",
            Self::UsageRight(it) => it.state,
        }
    }

    /// Which piece it is.
    pub fn id(&self) -> EvidenceId<'a> {
        match self {
            Self::Subscription(it) => EvidenceId::Subscription(it.subscription.id),
            Self::Seat(it) => EvidenceId::Sku(it.sku.id),
            Self::License(it) => EvidenceId::License(it.id),
            Self::UsageRight(it) => EvidenceId::ServiceId(it.plan.service_id.as_str()),
        }
    }

    /// The channel it speaks for.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Subscription(it) => it.plan.channel,
            Self::Seat(it) => it.plan.channel,
            Self::License(it) => it.proof.channel(),
            Self::UsageRight(it) => it.plan.channel,
        }
    }

    /// The plan it is one of; the publisher's licenses have none.
    pub fn plan(&self) -> Option<&'a Plan> {
        match self {
            Self::Subscription(it) => Some(it.plan),
            Self::Seat(it) => Some(it.plan),
            Self::License(_) => None,
            Self::UsageRight(it) => Some(it.plan),
        }
    }
}

/// How far one source has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Known {
    /// When its last complete read began; `None` if there was none.
    pub last_complete: Option<Timestamp>,
    /// Whether we may not read it: consent is missing or was revoked.
    pub refused: bool,
    /// Whether it holds something that could have been evidence and could not be read.
    pub unread: bool,
    /// Whether the tenant has licences that its directory does not list, and what this user holds of
    /// them was not read.
    pub rights_unread: bool,
}

impl Known {
    /// How far a tenant's directory has been read, whoever is asked about.
    pub fn of_directory(view: &TenantView) -> Self {
        let refused = match view.tenant.consent {
            Consent::Missing | Consent::Revoked => true,
            Consent::Granted | Consent::Unknown => false,
        };
        Self { last_complete: view.directory.last_complete, refused, ..Self::default() }
    }
}

/// How far the sources have been read that could hold evidence for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knowledge {
    /// The list of SaaS subscriptions.
    pub subscriptions: Known,
    /// The tenant's directory.
    pub directory: Known,
    /// Whether it is not on record which licenses of the publisher there were: only of a moment in
    /// the past.
    pub licenses_forgotten: bool,
    /// The cloud that the tenant lives in.
    pub cloud: Cloud,
}

impl Knowledge {
    /// Both sources were read as far as this.
    pub const fn of(read: Known, cloud: Cloud) -> Self {
        Self { subscriptions: read, directory: read, licenses_forgotten: false, cloud }
    }
}
