//! What the publisher sells: products, their plans, channels, hosts and features.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{ProductId, ServiceId, ServicePlanId, SkuId};

/// The text is none of the words that a list knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no {what}; known are: {known}")]
pub struct UnknownWord {
    /// What was read, as [`Quoted`](super::Quoted) shows it.
    pub text: String,
    /// Which list it was looked up in.
    pub what: &'static str,
    /// The words of that list, separated by commas.
    pub known: String,
}

/// An enum whose variants are one word each: both directions from one table.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that stands for it outside.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.iter().copied().find(|it| it.as_str() == text);
                found.ok_or_else(|| UnknownWord {
                    text: $crate::domain::Quoted(text).to_string(),
                    what: $what,
                    known: Self::ALL.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
pub(super) use words;

words!(
    /// How a right came to be.
    Channel, "channel" {
        /// Microsoft-managed licence of a visual or SaaS plan.
        Appsource = "appsource",
        /// Marketplace SaaS subscription without Microsoft-managed licences.
        Saas = "saas",
        /// Dynamics 365 / Power Apps licence.
        IsvApp = "isv_app",
        /// The publisher's license, carried by the package.
        Direct = "direct",
        /// Package from AppSource, license of the publisher.
        Hybrid = "hybrid",
    }
);

words!(
    /// Where the product runs.
    Host, "host" {
        /// powerbi.com.
        Web = "web",
        /// Power BI Desktop.
        Desktop = "desktop",
        /// The mobile apps.
        Mobile = "mobile",
        /// A tile on a dashboard.
        Dashboard = "dashboard",
        /// Power BI Embedded.
        Embed = "embed",
        /// Power BI Report Server.
        ReportServer = "report_server",
        /// A public web page.
        PublishToWeb = "publish_to_web",
        /// Export to PDF or to slides.
        Export = "export",
    }
);

impl Host {
    /// The host that a number of the visuals API's `hostEnv` flags means; `None` for no known one.
    ///
    /// Flags: `Web` 1, `PublishToWeb` 2, `Desktop` 4, `Embed` 8, `ReportServer` 16,
    /// `ExportReportHost` 32, `Mobile` 64, `DashboardHost` 128. When several are set, the one that restricts most speaks, so
    /// that a combination never opens what one of its parts closes.
    ///
    /// Source: powerbi-visuals-api 5.11.1, `CustomVisualHostEnv`.
    pub fn from_env_flags(flags: u64) -> Option<Self> {
        const STRICTEST_FIRST: [(u64, Host); 8] = [
            (2, Host::PublishToWeb),
            (32, Host::Export),
            (16, Host::ReportServer),
            (8, Host::Embed),
            (128, Host::Dashboard),
            (64, Host::Mobile),
            (4, Host::Desktop),
            (1, Host::Web),
        ];
        STRICTEST_FIRST.iter().find(|(flag, _)| flags & flag != 0).map(|(_, host)| *host)
    }
}

impl Channel {
    /// Whether Microsoft keeps its licences, a user at a time, in customers' tenants.
    pub const fn is_managed_per_user(self) -> bool {
        match self {
            Self::Appsource | Self::IsvApp => true,
            Self::Saas | Self::Direct | Self::Hybrid => false,
        }
    }
}

words!(
    /// Whom a SaaS plan covers.
    Coverage, "coverage" {
        /// Everyone in the beneficiary tenant.
        Tenant = "tenant",
        /// The first `quantity` distinct users to ask.
        Seats = "seats",
    }
);

words!(
    /// How a product's hybrid licenses are activated.
    HybridMode, "hybrid mode" {
        /// A key pasted once binds the tenant; afterwards the user's Entra token decides.
        Entra = "entra",
        /// License id and licensee, typed per report.
        Licensee = "licensee",
        /// The product has no hybrid model.
        None = "none",
    }
);

/// A feature of a product, as the publisher calls it.
pub type Feature = Arc<str>;

/// A set of features: sorted, without repeats, shared.
pub type Features = Arc<[Feature]>;

/// One sellable plan of a product on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Microsoft's name of it.
    pub service_id: ServiceId,
    /// How its rights come to be.
    pub channel: Channel,
    /// Whom it covers; decides for channel [`Channel::Saas`] only.
    pub coverage: Coverage,
    /// The channel's features and the plan's own.
    pub features: Features,
    /// SKUs known to be this plan.
    pub sku_ids: Vec<SkuId>,
    /// Service plans known to be this plan.
    pub service_plan_ids: Vec<ServicePlanId>,
    /// After how long an unused seat is free again.
    pub release_after: SignedDuration,
}

/// What a user runs: one visual or app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The publisher's id of it.
    pub id: ProductId,
    /// What people call it.
    pub name: Arc<str>,
    /// How hybrid licenses of it are activated.
    pub hybrid: HybridMode,
    /// Features by channel.
    pub features: BTreeMap<Channel, Features>,
    /// Its plans, in the order of the configuration.
    pub plans: Vec<Plan>,
}

impl Product {
    /// Whether any plan of it is sold on this channel.
    pub fn sells_on(&self, channel: Channel) -> bool {
        self.plans.iter().any(|plan| plan.channel == channel)
    }
}

/// All products of the publisher.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Catalog {
    products: BTreeMap<ProductId, Arc<Product>>,
    fingerprint: u64,
}

impl Catalog {
    /// The catalog of these products; a later product of the same id replaces an earlier one.
    pub fn new(products: impl IntoIterator<Item = Product>) -> Self {
        let products: BTreeMap<_, _> =
            products.into_iter().map(|it| (it.id.clone(), Arc::new(it))).collect();
        let fingerprint = fingerprint(&products);
        Self { products, fingerprint }
    }

    /// The product of this id.
    pub fn product(&self, id: &str) -> Option<&Arc<Product>> {
        self.products.values().find(|it| it.id.as_str() == id)
    }

    /// All of them, by id.
    pub fn products(&self) -> impl Iterator<Item = &Arc<Product>> {
        self.products.values()
    }

    /// Changes whenever other SKUs or service plans would match: the mirror of a tenant's
    /// licences was filtered by it, so a new one needs a full read.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// FNV-1a over everything that decides which licences are ours.
fn fingerprint(products: &BTreeMap<ProductId, Arc<Product>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for plan in products.values().flat_map(|product| &product.plans) {
        eat(plan.service_id.as_str().as_bytes());
        plan.sku_ids.iter().for_each(|id| eat(id.as_bytes()));
        plan.service_plan_ids.iter().for_each(|id| eat(id.as_bytes()));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for host in Host::ALL {
            assert_eq!(host.as_str().parse::<Host>(), Ok(*host));
        }
        for channel in Channel::ALL {
            assert_eq!(channel.as_str().parse::<Channel>(), Ok(*channel));
        }
        let error = "webb".parse::<Host>().unwrap_err();
        assert!(error.to_string().contains("report_server"), "{error}");
    }

    #[test]
    fn flags_together_never_open_what_one_of_them_closes() {
        assert_eq!(Host::from_env_flags(1), Some(Host::Web));
        assert_eq!(Host::from_env_flags(128), Some(Host::Dashboard));
        assert_eq!(Host::from_env_flags(1 | 8), Some(Host::Embed));
        assert_eq!(Host::from_env_flags(0), None);
        assert_eq!(Host::from_env_flags(256), None);
    }
}
