//! A purchase to be activated in a browser.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::sandbox::{Purchase, Sandbox, story};

/// Gives the daemon a public address that a browser reaches: it must be known before the daemon
/// listens, since Entra sends people back to it.
pub(super) fn reachable(mut config: Config) -> anyhow::Result<Config> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    let address = free.local_addr().context("find a free port")?;
    config.listen.public = address;
    config.listen.public_url = Some(format!("http://{address}").parse()?);
    Ok(config)
}

/// Jo of Woodgrove buys; the link behind "Configure account".
pub(super) fn link(sandbox: &Sandbox, daemon: &Daemon) -> anyhow::Result<String> {
    let purchase = Purchase {
        tenant: story::JO.tenant,
        user: story::JO.user,
        name: "Viz Suite for Woodgrove".to_owned(),
        plan: story::SUITE_TEAM.to_owned(),
        quantity: Some(5),
        auto_activate: false,
        reseller: None,
    };
    let token = sandbox.with_world(|world| {
        let bought = world.buy(purchase)?;
        world.landing_token(bought)
    })?;
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    Ok(format!("http://{}/marketplace/landing?token={token}", daemon.public))
}
