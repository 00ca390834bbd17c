//! What no section can know alone.

use url::Url;

use super::Config;
use super::report::Report;
use crate::domain::{Channel, HybridMode, Product};

/// Looks at the whole.
pub(super) fn whole(config: &Config, report: &mut Report) {
    audience(config, report);
    notifications(config, report);
    stand_in(config, report);
    if config.catalog.products().next().is_none() {
        report.warning(
            "product",
            "there is no product, so every question will be refused; add a [[product]]",
        );
    }
    if !config.listen.public.ip().is_loopback() && config.listen.public_url.is_none() {
        report.warning(
            "listen.public_url",
            "it is not set; set it to what the outside calls us, such as \"https://lic.example\"",
        );
    }
}

/// Graph notifies https addresses only; a stand-in on this machine is not that strict.
fn notifications(config: &Config, report: &mut Report) {
    let reachable = |it: &Url| {
        it.scheme() == "https"
            || it.host_str().is_some_and(|it| ["127.0.0.1", "localhost"].contains(&it))
    };
    if config.sync.directory.notifications == Some(true)
        && !config.listen.public_url.as_ref().is_some_and(reachable)
    {
        report.warning(
            "sync.directory.notifications",
            "it has no effect without an https address as listen.public_url that Microsoft reaches",
        );
    }
}

/// A stand-in's token is worth nothing at Microsoft's, and has no business there.
fn stand_in(config: &Config, report: &mut Report) {
    if config.microsoft.mixes_stand_in() {
        report.warning(
            "microsoft.partner_center",
            "it is Microsoft's own, and [microsoft] login is not: licence reports are not read; \
             name the stand-in's Partner Center (the sandbox: its address and /partner_center)",
        );
    }
}

/// Visuals ask with tokens, and no token fits an empty audience.
fn audience(config: &Config, report: &mut Report) {
    let takes_tokens = |it: &&std::sync::Arc<Product>| {
        let microsoft = [Channel::Appsource, Channel::Saas, Channel::IsvApp];
        it.hybrid == HybridMode::Entra || microsoft.iter().any(|channel| it.sells_on(*channel))
    };
    let Some(product) = config.catalog.products().find(takes_tokens) else { return };
    if !config.visuals.audience.is_empty() {
        return;
    }
    let message = format!(
        "it is empty, but product `{}` is asked for with users' tokens; write the App ID URI and \
         the client id of the app registration",
        product.id
    );
    // No reason to refuse to start: servers ask with their keys, and commands need no token.
    report.warning("visuals.audience", message);
}
