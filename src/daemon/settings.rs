//! The configuration as each part wants it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{self, Config};
use crate::domain::{Cause, Change, Commit, Tenant};
use crate::http::ConsentLink;
use crate::microsoft::{self, Hosts, Microsoft};
use crate::notify::{self, NotifyError, NotifyHandle, Patience};
use crate::store::{Opened, Store, StoreError};
use crate::sync::doctor::Upstreams;
use crate::sync::freshness::Ages;
use crate::sync::inbox::Ledger;
use crate::sync::keys::{EntraKeys, Fetch, FetchError};
use crate::sync::lookups::{AlsoLook, Lookups};
use crate::sync::notifications::{self, Address, GroupsTold, Notifications};
use crate::sync::reports::Desk;
use crate::sync::rights::UsageRights;
use crate::sync::{
    Clock, Limits, RequestError, Schedule, Sources, SyncError, SyncHandle, needs_directory,
};
use crate::tokens::{UserRules, WebhookRules};

/// Where Microsoft is, and who we are there.
pub(super) fn microsoft(config: &Config) -> microsoft::Settings {
    let hosts = &config.microsoft;
    microsoft::Settings {
        hosts: Hosts {
            login: hosts.login.clone(),
            marketplace: hosts.marketplace.clone(),
            graph: hosts.graph.clone(),
            partner_center: hosts.partner_center.clone(),
            report_hosts: hosts.report_hosts.clone(),
        },
        tenant: config.publisher.tenant,
        client_id: config.identity.client_id.clone(),
        credential: credential(&config.identity.credential),
        identity_endpoint: None,
    }
}

fn credential(credential: &config::Credential) -> microsoft::Credential {
    let secret = |it: &config::Secret| microsoft::Secret::new(it.expose());
    match credential {
        config::Credential::Secret(it) => microsoft::Credential::Secret(secret(it)),
        config::Credential::Certificate { pem } => {
            microsoft::Credential::Certificate { pem: secret(pem) }
        }
        config::Credential::ManagedIdentity { client_id } => {
            microsoft::Credential::ManagedIdentity { client_id: client_id.clone() }
        }
        config::Credential::WorkloadIdentity { token_file } => {
            microsoft::Credential::WorkloadIdentity { token_file: token_file.clone() }
        }
        config::Credential::Federated { assertion } => {
            let assertion = match assertion {
                config::Assertion::File(path) => microsoft::Assertion::File(path.clone()),
                config::Assertion::ManagedIdentity { client_id } => {
                    microsoft::Assertion::ManagedIdentity { client_id: client_id.clone() }
                }
            };
            microsoft::Credential::Federated { assertion }
        }
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    let directory = &config.sync.directory;
    Limits {
        sweep: directory.sweep,
        remove_limit: directory.remove_limit,
        groups: config.sync.groups,
        rights: directory.rights,
    }
}

/// What is looked at beside the licences of whoever was refused.
pub(super) fn also_looked_at(sources: &Sources) -> Vec<Arc<dyn AlsoLook>> {
    let rights = sources.limits.rights.map(|_| UsageRights::new(sources.clone()));
    rights.into_iter().map(|it| Arc::new(it) as Arc<dyn AlsoLook>).collect()
}

/// What every run works with.
pub(super) fn sources(
    config: &Config,
    store: &Store,
    microsoft: &Arc<Microsoft>,
    clock: &Clock,
) -> Sources {
    Sources {
        store: store.clone(),
        microsoft: Arc::clone(microsoft),
        catalog: Arc::new(config.catalog.clone()),
        clock: Arc::clone(clock),
        ledger: Ledger::default(),
        reports: reports(config),
        lookups: Lookups::default(),
        freshness: Ages::default(),
        groups_told: GroupsTold::default(),
        limits: limits(config),
    }
}

/// Where Graph notifies us, if it is asked to, and the task that follows.
pub(super) fn notifications(
    config: &Config,
    sources: &Sources,
    sync: &SyncHandle,
    cancel: &CancellationToken,
) -> (Notifications, impl Future<Output = ()> + Send + use<>) {
    let wanted = config.sync.directory.notifications;
    let url = config.listen.public_url.as_ref();
    let url = url.filter(|it| wanted.unwrap_or(it.scheme() == "https"));
    let address = url.map(Address::below);
    let notifications = Notifications::new(address, sources.groups_told.clone());
    let (sources, sync, cancel) = (sources.clone(), sync.clone(), cancel.clone());
    let worker = notifications::worker(sources, sync, notifications.clone(), cancel);
    (notifications, worker)
}

/// How often the licence report is read by itself.
pub(super) fn reports(config: &Config) -> Desk {
    Desk::new(if !needs_directory(&config.catalog) {
        Err(RequestError::NoReports)
    } else if config.microsoft.mixes_stand_in() {
        Err(RequestError::StandIn)
    } else {
        Ok(config.sync.reports.every)
    })
}

pub(super) fn schedule(config: &Config) -> Schedule {
    Schedule {
        subscriptions: config.sync.subscriptions.every,
        directory: config.sync.directory.every,
    }
}

/// Which users' tokens are for us.
pub(super) fn user_rules(config: &Config) -> UserRules {
    UserRules::new(
        config.microsoft.login.as_str(),
        config.microsoft.issuer_v1.as_str(),
        config.visuals.audience.iter().cloned(),
        config.visuals.callers.iter().cloned(),
    )
}

/// Which tokens are the marketplace's.
pub(super) fn webhook_rules(config: &Config) -> WebhookRules {
    WebhookRules::new(
        config.microsoft.login.as_str(),
        config.microsoft.issuer_v1.as_str(),
        config.publisher.tenant,
        &config.marketplace.app_id,
    )
}

/// What signed answers name as their issuer: what the outside calls us.
///
/// `public` is the address that was bound, for a configuration that does not say.
pub(super) fn issuer(config: &Config, public: SocketAddr) -> String {
    let called = config.listen.public_url.as_ref();
    let text = called.map_or_else(|| format!("http://{public}"), ToString::to_string);
    text.trim_end_matches('/').to_owned()
}

/// Tells the operator what was found on disk.
pub(super) fn report_opened(opened: &Opened, store: &Store) {
    let mirror = store.mirror();
    let (subscriptions, tenants) = (mirror.subscription_count(), mirror.tenants().count());
    match opened {
        Opened::Fresh => info!("The store is new: everything is read from Microsoft"),
        Opened::Loaded => {
            info!("The store holds {subscriptions} subscriptions and {tenants} tenants");
        }
        Opened::Rebuilt { why, quarantine: None, .. } => error!(
            "The store is whole but older than what was written last ({why}): some of what was \
             acknowledged is gone, the disk did not keep it; everything is read anew"
        ),
        Opened::Rebuilt { why, quarantine: Some(moved_to), export } => {
            let from = export.as_ref().map_or_else(
                || String::from("nothing: there was no export that could be believed"),
                |export| export.display().to_string(),
            );
            error!(
                "The store was damaged ({why}): moved to {}, rebuilt from {from} with \
                 {subscriptions} subscriptions and {tenants} tenants; everything is read anew; \
                 keep the folder until you know why",
                moved_to.display()
            );
        }
    }
}

/// Who is told what happens.
///
/// # Errors
///
/// [`NotifyError`].
pub(super) fn notifier(
    config: &Config,
    store: &Store,
    clock: &Clock,
    cancel: &CancellationToken,
) -> Result<(NotifyHandle, impl Future<Output = Result<(), SyncError>> + Send + use<>), NotifyError>
{
    let patience = Patience {
        subscriptions: config.sync.subscriptions.max_age,
        directory: config.sync.directory.max_age,
    };
    let (store, clock) = (store.clone(), Arc::clone(clock));
    let (handle, telling) =
        notify::notifier(store, &config.notify, patience, clock, cancel.clone())?;
    Ok((handle, async move { telling.await.map_err(SyncError::Panicked) }))
}

/// Looks at what stands upstream.
pub(super) fn upstreams(microsoft: &Arc<Microsoft>, clock: &Clock) -> Upstreams {
    Upstreams::new(Arc::clone(microsoft), Arc::clone(clock))
}

/// What a link to admin consent is made of.
pub(super) fn consent_link(config: &Config) -> ConsentLink {
    ConsentLink {
        login: config.microsoft.login.clone(),
        scope: microsoft::graph_scope(&config.microsoft.graph),
        client_id: config.identity.client_id.clone(),
        public_url: config.listen.public_url.clone(),
    }
}

/// Entra's signing keys, fetched when they are needed.
pub(super) fn entra_keys(store: &Store, microsoft: &Arc<Microsoft>, clock: &Clock) -> EntraKeys {
    let microsoft = Arc::clone(microsoft);
    let fetch: Fetch = Arc::new(move || {
        let microsoft = Arc::clone(&microsoft);
        Box::pin(async move {
            let fetched = microsoft.keys().fetch().await;
            fetched.map_err(|error| FetchError(Box::new(error)))
        })
    });
    EntraKeys::new(store.clone(), fetch, Arc::clone(clock))
}

/// Makes the configured tenants known, and takes over the names that the operator gives them.
///
/// # Errors
///
/// [`StoreError`]: they are not written down.
pub(super) async fn introduce(
    config: &Config,
    store: &Store,
    clock: &Clock,
) -> Result<(), StoreError> {
    let mirror = store.snapshot();
    let mut commit = Commit::default();
    for configured in &config.tenants {
        let known = mirror.tenant(configured.id).map(|it| &it.tenant);
        let mut tenant = known.cloned().unwrap_or_else(|| Tenant::heard_of(configured.id, None));
        if configured.name.is_some() {
            tenant.name.clone_from(&configured.name);
        }
        if known == Some(&tenant) {
            continue;
        }
        if known.is_none() {
            let change = Change::of_tenant(clock(), Cause::Command, None, &tenant);
            commit.changes.push(change);
        }
        commit.tenants.push(tenant);
    }
    if !commit.tenants.is_empty() {
        store.commit(commit).await?;
    }
    Ok(())
}
