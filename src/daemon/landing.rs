//! What the pages for people take from the configuration: the landing page and the consent page.

use std::sync::Arc;

use crate::config::Config;
use crate::http::public::{ConsentSettings, LandingSettings};
use crate::microsoft::{Microsoft, Secret};
use crate::sync::admission::Doorkeeper;
use crate::sync::keys::EntraKeys;
use crate::sync::orders::Orders;
use crate::sync::sign_in::SignIn;
use crate::sync::{Clock, SyncHandle};
use crate::telemetry;

/// What the landing page needs. What keeps people from signing in stops nothing else: the page
/// says what it is.
pub(super) fn settings(
    config: &Config,
    microsoft: &Microsoft,
    entra: &Arc<EntraKeys>,
    orders: Orders,
    clock: &Clock,
) -> LandingSettings {
    LandingSettings {
        sign_in: sign_in(config, microsoft, entra, clock),
        orders,
        publisher: publisher(config),
        support: config.landing.support.clone(),
        public_url: config.listen.public_url.clone(),
    }
}

/// What the page needs that administrators come back to after consenting.
pub(super) fn consent(
    config: &Config,
    microsoft: &Arc<Microsoft>,
    sync: SyncHandle,
) -> ConsentSettings {
    ConsentSettings {
        link: super::settings::consent_link(config),
        doorkeeper: Doorkeeper::new(Arc::clone(microsoft)),
        sync,
        publisher: publisher(config),
        support: config.landing.support.clone(),
    }
}

/// What pages call the publisher.
fn publisher(config: &Config) -> String {
    let publisher = config.landing.publisher.as_ref().unwrap_or(&config.publisher.id);
    publisher.trim().to_owned()
}

fn sign_in(
    config: &Config,
    microsoft: &Microsoft,
    entra: &Arc<EntraKeys>,
    clock: &Clock,
) -> Result<SignIn, String> {
    let Some(public_url) = &config.listen.public_url else {
        return Err("Set [listen] public_url to what the outside calls this daemon, and register \
                    {public_url}/marketplace/landing/return as a redirect URI (platform Web) of \
                    the app that signs people in."
            .to_owned());
    };
    let landing = &config.landing;
    let own = &config.identity.client_id;
    let client_id = landing.client_id.as_ref().unwrap_or(own);
    let other_app = match &landing.secret {
        Some(secret) => Some((client_id.clone(), Secret::new(secret.expose()))),
        None if client_id == own => None,
        None => {
            return Err("Set [landing] secret_file to a file with the secret of the app that \
                        [landing] client_id names."
                .to_owned());
        }
    };
    let redirect = LandingSettings::redirect(public_url);
    let login = &config.microsoft.login;
    let (entra, clock) = (Arc::clone(entra), Arc::clone(clock));
    SignIn::new(microsoft, login, other_app, redirect, entra, clock)
        .map_err(|error| telemetry::chain(&error))
}
