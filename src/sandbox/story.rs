//! The sample customers of the demo: fixed ids, one customer for every state a right can be in.
//!
//! | customer | tells of |
//! |---|---|
//! | Contoso | SKU Enabled: a direct seat, one by group, a group in error, none, both, a disabled plan |
//! | Fabrikam, Northwind, Adventure | SKU Warning, Suspended, LockedOut |
//! | Tailspin | a seat of the Dynamics/Power Apps solution |
//! | Woodgrove, Litware | consent but no licence; no consent |
//! | Proseware, Graphic, Lamna, Relecloud, Lucerne | a SaaS subscription in each state |
//! | Wingtip | three seats for five users |
//! | Pat, Coho | bought with a personal account; bought through a reseller (CSP) |

use uuid::{Uuid, uuid};

/// Partner Center publisher id.
pub const PUBLISHER: &str = "vizmaker";
/// Home tenant of the publisher's app registrations.
pub const PUBLISHER_TENANT: Uuid = uuid!("0b0b0b0b-0000-4000-8000-000000000001");
/// The app that talks to Microsoft; also the app of the SaaS offers' technical configuration.
pub const CLIENT_ID: Uuid = uuid!("c11e0700-0000-4000-8000-000000000001");
/// Its secret.
pub const CLIENT_SECRET: &str = "sandbox~secret-of-the-story/1+2=3";
/// A secret that has expired.
pub const EXPIRED_SECRET: &str = "sandbox~secret-of-last-year";
/// The multi-tenant app that signs buyers in, beside [`CLIENT_ID`].
pub const LANDING_CLIENT_ID: Uuid = uuid!("c11e0700-0000-4000-8000-000000000003");
/// Its secret.
pub const LANDING_SECRET: &str = "sandbox~secret-of-the-landing-page";
/// Audience of the marketplace's webhook tokens.
pub const MARKETPLACE_APP_ID: Uuid = CLIENT_ID;
/// App ID URI of the visuals' API (audience of v1 tokens).
pub const VISUAL_AUDIENCE: &str = "https://lic.vizmaker.example/app";
/// Client id of the visuals' API (audience of v2 tokens).
pub const VISUAL_CLIENT_ID: Uuid = uuid!("c11e0700-0000-4000-8000-000000000002");
/// Scope of a visual's token. Source: visuals-and-isv.md 3.4.
pub const VISUAL_SCOPE: &str = "SynopticA1B2C3_CV_ForPBI";
/// Power BI's web front end, the usual caller. Source: visuals-and-isv.md 3.4.
pub const POWER_BI_WEB: &str = "871c010f-5e61-4fb1-83ac-98610a7e9110";
/// Tenant of all personal Microsoft accounts. Source: marketplace-saas.md 5.2.
pub const PERSONAL_TENANT: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

/// `AppSource` visual.
pub const SYNOPTIC_SERVICE_ID: &str = "vizmaker.synoptic.team";
/// `AppSource` visual.
pub const CALENDAR_SERVICE_ID: &str = "vizmaker.calendar.pro";
/// Dynamics/Power Apps solution.
pub const FIELDAPP_SERVICE_ID: &str = "vizmaker.fieldapp.pro";
/// SaaS offer.
pub const SUITE_OFFER: &str = "viz-suite";
/// Flat-rate plan of the SaaS offer.
pub const SUITE_COMPANY: &str = "company";
/// Per-seat plan of the SaaS offer.
pub const SUITE_TEAM: &str = "team";
/// Another per-seat plan of the SaaS offer, which the demo's configuration does not know.
pub const SUITE_ENTERPRISE: &str = "enterprise";

/// The custom dimensions of the flat-rate plan.
pub const METERS: [&str; 2] = ["exports", "refreshes"];

/// SKU of `vizmaker.synoptic.team`.
pub const SYNOPTIC_SKU: Uuid = uuid!("5c000000-aaaa-4000-8000-00000000000a");
/// SKU of `vizmaker.calendar.pro`.
pub const CALENDAR_SKU: Uuid = uuid!("5c000000-aaaa-4000-8000-00000000000b");
/// SKU of `vizmaker.fieldapp.pro`.
pub const FIELDAPP_SKU: Uuid = uuid!("5c000000-aaaa-4000-8000-00000000000c");
/// Microsoft 365 E5: not ours.
pub const E5_SKU: Uuid = uuid!("06ebc4ee-1bb5-47dd-8120-11324bc54e06");
/// Power BI Pro: not ours.
pub const POWER_BI_SKU: Uuid = uuid!("f8a1db68-be16-40ed-86d5-cb42ce701560");
/// Service plan of `vizmaker.synoptic.team`.
pub const SYNOPTIC_PLAN: Uuid = uuid!("9d000000-bbbb-4000-8000-00000000000a");
/// Service plan of `vizmaker.calendar.pro`.
pub const CALENDAR_PLAN: Uuid = uuid!("9d000000-bbbb-4000-8000-00000000000b");
/// Service plan of `vizmaker.fieldapp.pro`.
pub const FIELDAPP_PLAN: Uuid = uuid!("9d000000-bbbb-4000-8000-00000000000c");

/// Contoso's group that carries the synoptic SKU and has a seat for its members.
pub const BI_USERS: Uuid = uuid!("6a000000-cccc-4000-8000-00000000000a");
/// Contoso's group that carries the same SKU and found no seat left.
pub const FINANCE: Uuid = uuid!("6a000000-cccc-4000-8000-00000000000b");

/// Application permissions a consenting customer grants. Source: graph-licensing.md 10.3.
pub const ROLES: [&str; 4] =
    ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All", "Group.Read.All"];

/// A customer of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Entra tenant.
    pub tenant: Uuid,
    /// Company.
    pub name: &'static str,
    /// Found through a SaaS subscription; the others must be named in the configuration.
    pub has_subscription: bool,
    /// Our app may read its directory.
    pub has_consent: bool,
}

/// A person of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// First name.
    pub name: &'static str,
    /// Entra tenant.
    pub tenant: Uuid,
    /// Object id.
    pub user: Uuid,
}

const fn customer(
    n: u8,
    name: &'static str,
    has_subscription: bool,
    has_consent: bool,
) -> Customer {
    Customer { tenant: nth(0xa100, n as u64), name, has_subscription, has_consent }
}

const fn person(n: u8, name: &'static str, of: Customer) -> Person {
    Person { name, tenant: of.tenant, user: nth(0xb1ce, n as u64) }
}

/// The `n`th id of a kind, readable in logs: `0000a100-dada-4000-8000-000000000001`.
pub(crate) const fn nth(kind: u16, n: u64) -> Uuid {
    Uuid::from_u64_pair((kind as u64) << 32 | 0xdada_4000, 0x8000 << 48 | n)
}

/// SKU Enabled; Ana, Ben, Cleo, Dan, Eva, Finn.
pub const CONTOSO: Customer = customer(1, "Contoso", false, true);
/// SKU Warning; Gil.
pub const FABRIKAM: Customer = customer(2, "Fabrikam", false, true);
/// SKU Suspended; Hana.
pub const NORTHWIND: Customer = customer(3, "Northwind", false, true);
/// SKU `LockedOut`; Lena.
pub const ADVENTURE: Customer = customer(4, "Adventure", false, true);
/// Dynamics/Power Apps solution; Ivo.
pub const TAILSPIN: Customer = customer(5, "Tailspin", false, true);
/// Consent, but no licence at all; Jo.
pub const WOODGROVE: Customer = customer(6, "Woodgrove", false, true);
/// No consent: AADSTS700016. Known by a subscription of the `team` plan; Kai.
pub const LITWARE: Customer = customer(7, "Litware", true, false);
/// `company` plan, Subscribed; Mia.
pub const PROSEWARE: Customer = customer(8, "Proseware", true, true);
/// `company` plan, Subscribed, free trial; Noa.
pub const GRAPHIC: Customer = customer(9, "Graphic", true, true);
/// `company` plan, `PendingFulfillmentStart`; Oli.
pub const LAMNA: Customer = customer(10, "Lamna", true, true);
/// `company` plan, Suspended; Pia.
pub const RELECLOUD: Customer = customer(11, "Relecloud", true, true);
/// `company` plan, Unsubscribed; Quin.
pub const LUCERNE: Customer = customer(12, "Lucerne", true, true);
/// `team` plan with 3 seats; Wim, Xia, Yan, Zoe and Abe.
pub const WINGTIP: Customer = customer(13, "Wingtip", true, true);
/// Beneficiary of a purchase by a reseller; Ruth.
pub const COHO: Customer = customer(14, "Coho", true, true);
/// Tenant of the reseller that paid for Coho: no customer.
pub const RESELLER_TENANT: Uuid = nth(0xa100, 0xc59);

/// Direct seat of the synoptic visual, and of the calendar.
pub const ANA: Person = person(1, "Ana", CONTOSO);
/// Seat through "BI users".
pub const BEN: Person = person(2, "Ben", CONTOSO);
/// Only path, through "Finance", in `CountViolation`.
pub const CLEO: Person = person(3, "Cleo", CONTOSO);
/// No licence of ours.
pub const DAN: Person = person(4, "Dan", CONTOSO);
/// Direct and through "BI users".
pub const EVA: Person = person(5, "Eva", CONTOSO);
/// Has the SKU with our service plan in `disabledPlans`.
pub const FINN: Person = person(6, "Finn", CONTOSO);
/// Seat of a SKU in Warning.
pub const GIL: Person = person(7, "Gil", FABRIKAM);
/// Seat of a suspended SKU.
pub const HANA: Person = person(8, "Hana", NORTHWIND);
/// Seat of a locked-out SKU.
pub const LENA: Person = person(9, "Lena", ADVENTURE);
/// Seat of the solution.
pub const IVO: Person = person(10, "Ivo", TAILSPIN);
/// No licence anywhere.
pub const JO: Person = person(11, "Jo", WOODGROVE);
/// Nobody may look at his directory.
pub const KAI: Person = person(12, "Kai", LITWARE);
/// Covered by the company's subscription.
pub const MIA: Person = person(13, "Mia", PROSEWARE);
/// Covered by a trial.
pub const NOA: Person = person(14, "Noa", GRAPHIC);
/// Purchase not activated yet.
pub const OLI: Person = person(15, "Oli", LAMNA);
/// Subscription suspended.
pub const PIA: Person = person(16, "Pia", RELECLOUD);
/// Subscription ended.
pub const QUIN: Person = person(17, "Quin", LUCERNE);
/// First of five colleagues with three seats.
pub const WIM: Person = person(18, "Wim", WINGTIP);
/// Second.
pub const XIA: Person = person(19, "Xia", WINGTIP);
/// Third.
pub const YAN: Person = person(20, "Yan", WINGTIP);
/// Fourth: no seat is left when the others asked first.
pub const ZOE: Person = person(21, "Zoe", WINGTIP);
/// Fifth.
pub const ABE: Person = person(22, "Abe", WINGTIP);
/// Covered by what a reseller bought.
pub const RUTH: Person = person(23, "Ruth", COHO);
/// Bought with a personal account.
pub const PAT: Person = Person {
    name: "Pat",
    tenant: PERSONAL_TENANT,
    user: uuid!("00000000-0000-0000-dada-0000000b1ce1"),
};

/// Every customer, in the order of the story.
pub const CUSTOMERS: [Customer; 14] = [
    CONTOSO, FABRIKAM, NORTHWIND, ADVENTURE, TAILSPIN, WOODGROVE, LITWARE, PROSEWARE, GRAPHIC,
    LAMNA, RELECLOUD, LUCERNE, WINGTIP, COHO,
];

/// Every person with a directory, in the order of the story.
pub const PEOPLE: [Person; 23] = [
    ANA, BEN, CLEO, DAN, EVA, FINN, GIL, HANA, LENA, IVO, JO, KAI, MIA, NOA, OLI, PIA, QUIN, WIM,
    XIA, YAN, ZOE, ABE, RUTH,
];
