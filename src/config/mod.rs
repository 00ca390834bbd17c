//! Text → a configuration that cannot be wrong.
//!
//! One TOML file ([`tree`]), single keys of it overridden by `ENTITLED_` environment variables
//! ([`environment`]), secrets from files or the environment only ([`secret`]). A section a file:
//! each reads its keys through a [`section::Section`], which notes every value with its
//! [`Origin`], every key that exists, and every problem; what no section asked for is unknown.
//! [`check`] then looks at what single keys cannot know. All problems are reported at once, and
//! a [`Config`] exists only when there are none.

mod caller;
mod check;
mod environment;
mod error;
mod identity;
mod landing;
mod listen;
mod marketplace;
mod microsoft;
mod notices;
mod notify;
mod policy;
mod product;
mod publisher;
mod report;
mod secret;
mod section;
mod solution;
mod store;
mod sync;
mod tenant;
mod tree;
mod value;
mod visuals;

use std::collections::BTreeMap;
use std::path::Path;

pub use caller::{Caller, Permission};
pub use error::{ConfigError, Finding, Loaded, Origin, Setting};
pub use identity::{Assertion, Credential, Identity};
pub use landing::LandingSection;
pub use listen::{Listen, Tls};
pub use marketplace::{AcceptChanges, MarketplaceSection};
pub use microsoft::MicrosoftHosts;
pub use notify::NotifyEndpoint;
pub use policy::PolicySection;
pub use publisher::Publisher;
pub use secret::Secret;
pub use solution::{Install, Solution, SolutionPlan};
pub use store::StoreSection;
pub use sync::{DirectorySchedule, SourceSchedule, SyncSection};
pub use tenant::ConfiguredTenant;
pub use value::duration;
pub use visuals::Visuals;

use crate::domain::{Catalog, Freshness, Messages, Policy, ProductId};
use report::{Places, Report};
use section::Section;

/// The whole configuration. Every field is what its section of `config/entitled.toml` says.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[publisher]`.
    pub publisher: Publisher,
    /// `[identity]`.
    pub identity: Identity,
    /// `[microsoft]`.
    pub microsoft: MicrosoftHosts,
    /// `[store]`.
    pub store: StoreSection,
    /// `[listen]`.
    pub listen: Listen,
    /// `[sync.*]`.
    pub sync: SyncSection,
    /// `[policy]`.
    pub policy: PolicySection,
    /// `[marketplace]`.
    pub marketplace: MarketplaceSection,
    /// `[landing]`.
    pub landing: LandingSection,
    /// `[visuals]`.
    pub visuals: Visuals,
    /// `[[caller]]`.
    pub callers: Vec<Caller>,
    /// `[[notify]]`.
    pub notify: Vec<NotifyEndpoint>,
    /// `[[product]]`.
    pub catalog: Catalog,
    /// What solution packages say of `[[product]]`.
    pub solutions: BTreeMap<ProductId, Solution>,
    /// `[notices]`.
    pub messages: Messages,
    /// `[[tenant]]`.
    pub tenants: Vec<ConfiguredTenant>,
}

impl Config {
    /// Reads the file and the environment.
    ///
    /// A relative name of a secret's file is looked up in `$CREDENTIALS_DIRECTORY`, then beside
    /// the configuration file.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no TOML, or anything in it or in the environment is wrong:
    /// then all problems together.
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let beside = path.parent().map(Path::to_owned);
        read(&text, Some(path), Places::new(environment, beside))
    }

    /// Reads a text in place of a file, and the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn parse(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        read(text, None, Places::new(environment, None))
    }

    /// What the decision needs of `[policy]` and `[sync.*]`.
    pub fn policy(&self) -> Policy {
        let fresh = |max_age, trust_for| Freshness { max_age, trust_for };
        Policy {
            on_stale: self.policy.on_stale,
            grace: self.policy.grace,
            over_limit: self.policy.over_limit,
            release_after: self.policy.release_after,
            subscriptions: fresh(
                self.sync.subscriptions.max_age,
                self.sync.subscriptions.trust_for,
            ),
            directory: fresh(self.sync.directory.max_age, self.sync.directory.trust_for),
            reports: fresh(self.sync.reports.max_age, self.sync.reports.trust_for),
            usage_rights: self.sync.directory.rights.is_some(),
            remove_limit: self.sync.directory.remove_limit,
        }
    }
}

fn read(text: &str, path: Option<&Path>, places: Places) -> Result<Loaded, ConfigError> {
    let syntax = |it: tree::SyntaxError| ConfigError::Syntax {
        path: path.map(Path::to_owned),
        line: it.line,
        message: it.message,
    };
    let mut root = tree::parse(text).map_err(syntax)?;
    let mut report = Report::new(places);
    environment::apply(&mut root, &mut report);
    let config = Section::read_root(root, &mut report, read_sections);
    report.name_unknown_keys();
    if let Some(config) = &config {
        check::whole(config, &mut report);
    }
    report.finish(config, path)
}

/// Every section reports its own problems; only without any is there a whole.
fn read_sections(root: &mut Section<'_>) -> Option<Config> {
    let publisher = Publisher::read(root);
    let identity = Identity::read(root);
    let microsoft = MicrosoftHosts::read(root);
    let store = StoreSection::read(root);
    let listen = Listen::read(root);
    let sync = SyncSection::read(root);
    let policy = PolicySection::read(root);
    let client_id = identity.as_ref().map(|it| it.client_id.clone());
    let marketplace = MarketplaceSection::read(root, client_id.as_deref());
    let landing = LandingSection::read(root, client_id.as_deref());
    let visuals = Visuals::read(root);
    let callers = caller::read(root);
    let notify = notify::read(root);
    let publisher_id = publisher.as_ref().map(|it| it.id.as_str());
    let (catalog, solutions) = product::read(root, publisher_id, policy.release_after);
    let messages = notices::read(root, &catalog);
    let tenants = tenant::read(root);
    Some(Config {
        publisher: publisher?,
        identity: identity?,
        microsoft,
        store,
        listen,
        sync,
        policy,
        marketplace,
        landing,
        visuals,
        callers,
        notify,
        catalog,
        solutions,
        messages,
        tenants,
    })
}
