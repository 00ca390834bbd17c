//! Where licenses are used: what visuals declare, and from which tenants and addresses a license is
//! shown. Nothing of it decides; the publisher may look.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Public;
use super::question::Asked;
use crate::decision::Decision;
use crate::domain::{
    Cause, Change, Channel, Commit, License, LicenseBook, LicenseId, LicenseKind, Mirror, Sighted,
    SightedKind, Sightings,
};

/// A visual speaks for so many licenses at most.
const LICENSES: usize = 4;

/// What was seen, and by which license.
type News = Vec<(LicenseId, Sighted)>;

impl Public {
    /// Records what is new of where a license is used, and waits for nothing: the answer does not rest
    /// on it, and what cannot be written now is seen again. `from` is the address of somebody who shows
    /// one and is nobody we know.
    pub(super) fn note_sighted(
        &self,
        asked: &Asked,
        decision: &Decision,
        from: Option<IpAddr>,
        now: Timestamp,
    ) {
        if !matches!(decision.source, Some(Channel::Direct | Channel::Hybrid)) {
            return;
        }
        let news = {
            let mirror = self.store.mirror();
            let mut news = declared(mirror.licenses(), asked, now);
            self.shown(mirror.licenses(), asked, from, now, &mut news);
            news
        };
        if !news.is_empty() {
            self.store.decide_unheard(move |mirror| commit(mirror, news));
        }
    }

    /// The tenant and the address of who shows a license, by pseudonyms, where their number says
    /// anything.
    fn shown(
        &self,
        book: &LicenseBook,
        asked: &Asked,
        from: Option<IpAddr>,
        now: Timestamp,
        news: &mut News,
    ) {
        let license = asked.license.as_ref().and_then(|(id, _)| book.license(*id));
        let sold_to_few = |it: &&std::sync::Arc<License>| it.kind == LicenseKind::User;
        let (Some(license), Some(ip)) = (license.filter(sold_to_few), from) else { return };
        let pseudonym = |what: &str| {
            let digest = self.digests.sighting.of(what.as_bytes());
            let short = digest.first_chunk().copied().unwrap_or([0; 8]);
            format!("{:016x}", u64::from_be_bytes(short))
        };
        let tenant = asked.tenant.map(|it| (SightedKind::Tenant, it.to_string()));
        let address = license.max_users().map(|_| (SightedKind::Address, ip.to_string()));
        for (kind, what) in tenant.into_iter().chain(address) {
            put(book, license, Sighted { kind, text: pseudonym(&what).into(), at: now }, news);
        }
    }
}

/// The capacity and the page that a visual says it runs on: nobody can prove it.
fn declared(book: &LicenseBook, asked: &Asked, now: Timestamp) -> News {
    let mut news = News::new();
    let declared = [
        (SightedKind::Capacity, asked.capacity.as_deref()),
        (SightedKind::Site, asked.site.as_deref()),
    ];
    if declared.iter().all(|(_, text)| text.is_none()) {
        return news;
    }
    let bound = asked.tenant.into_iter().flat_map(|it| book.bound(it, &asked.product.id));
    let shown = asked.license.iter().filter_map(|(id, _)| book.license(*id));
    for license in bound.chain(shown).take(LICENSES) {
        for (kind, text) in declared {
            let Some(text) = text.map(str::trim).filter(|it| !it.is_empty()) else { continue };
            let text = text.chars().take(Sightings::LONGEST).collect::<String>().into();
            put(book, license, Sighted { kind, text, at: now }, &mut news);
        }
    }
    news
}

fn put(book: &LicenseBook, license: &License, it: Sighted, news: &mut News) {
    if book.sightings(license.id).is_none_or(|all| all.is_news(&it)) {
        news.push((license.id, it));
    }
}

/// With a line in the journal for what becomes odd by it. What was seen twice before this was written is
/// no news any more.
fn commit(mirror: &Mirror, mut news: News) -> Option<Commit> {
    let book = mirror.licenses();
    news.retain(|(id, it)| book.sightings(*id).is_none_or(|all| all.is_news(it)));
    if news.is_empty() {
        return None;
    }
    let odd = news.iter().filter_map(|(id, seen)| {
        let odd = book.new_anomaly(book.license(*id)?, seen)?;
        Some(Change::noted_of_license(seen.at, Cause::Activation, *id, odd.to_string()))
    });
    Some(Commit { changes: odd.collect(), sighted: news, ..Commit::default() })
}
