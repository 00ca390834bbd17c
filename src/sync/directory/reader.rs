//! Reads a tenant by the mode that its mirror asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::{Mode, With, mode};
use crate::domain::{
    OddRecord, Packed, RawRecord, Said, Sku, TenantId, TenantView, UserId, UserLicences,
};
use crate::microsoft::{BatchMiss, ErrorKind, MicrosoftError, Read, UserRow};
use crate::planted::{Mistake, planted};
use crate::sync::lookups::order::Turn;
use crate::sync::plan::Found;
use crate::sync::progress::Gauge;
use crate::sync::reading::{Reading, Relevant, is_odd, merged, readable};
use crate::sync::upstream::DirectoryReads;
use crate::sync::{Begun, apart};

/// Everything a run read, to its end.
#[derive(Default)]
pub(super) struct Complete {
    pub(super) found: Found,
    pub(super) cursor: Arc<str>,
    pub(super) full: bool,
    pub(super) seen: u64,
    pub(super) odd: Vec<OddRecord>,
    /// Records that could not be understood, those of earlier runs over the same enumeration
    /// included.
    pub(super) odd_count: u64,
    /// When the first page was read: in an earlier run, if that one was gone on with.
    pub(super) began: Timestamp,
    /// Which SKUs were ours while it was read.
    relevant: Relevant,
    /// A look-up found a SKU that was not listed yet: who else holds it only a sweep shows.
    pub(super) overtaken: bool,
    /// Who is gone, in so many words.
    gone: BTreeSet<UserId>,
    /// Somebody was not found by name, though his row did not say that he is gone.
    pub(super) unfound: bool,
    /// When Microsoft says that it changed a user's licences, where that is news.
    pub(super) changed_at: BTreeMap<UserId, Timestamp>,
    /// Why the list of all users, which was due, was not read to its end. What changed is read.
    pub(super) unlisted: Option<MicrosoftError>,
}

/// A sequence of pages, read to its end.
pub(super) struct Whole {
    pub(super) reading: Reading,
    /// Records that runs before this one could not understand.
    pub(super) odd_before: u64,
    /// When its first page was read.
    pub(super) began: Timestamp,
}

pub(super) struct Reader<'a, G> {
    pub(super) with: &'a With<'a, G>,
    pub(super) tenant: TenantId,
    pub(super) view: &'a Arc<TenantView>,
    pub(super) begun: &'a Begun,
    pub(super) gauge: &'a Gauge,
    /// In how many parts users lie on disk.
    pub(super) parts: AtomicU32,
}

impl<G: DirectoryReads> Reader<'_, G> {
    pub(super) fn graph(&self) -> &G {
        self.with.graph
    }

    /// Reads by the mode that the mirror asks for; a cursor that Microsoft no longer takes means
    /// a full enumeration, in the same run.
    pub(super) async fn read(&self) -> Result<Complete, MicrosoftError> {
        let state = &self.view.directory;
        let mode = mode(self.with, state, self.begun.full, self.begun.started);
        match self.read_by(mode).await {
            Err(error)
                if error.kind() == ErrorKind::Resync
                    && mode != Mode::Enumerate
                    && !planted(Mistake::KeepDeadCursor) =>
            {
                info!(tenant.id = %self.tenant, "The delta cursor is no longer valid: reading in full");
                self.read_by(Mode::Enumerate).await
            }
            result => result,
        }
    }

    async fn read_by(&self, mode: Mode) -> Result<Complete, MicrosoftError> {
        let name = self.name().await;
        let mut odd = Vec::new();
        let (mut skus, whole) = self.skus(&mut odd).await?;
        let among = |skus: &[Sku], whole| {
            let relevant = Relevant::among(skus, self.with.catalog, &self.view.mappings);
            relevant.unless_whole(whole)
        };
        let mut relevant = among(&skus, whole);

        let from = self.view.directory.cursor.as_deref().filter(|_| mode != Mode::Enumerate);
        let (delta, cursor) = match from {
            Some(cursor) => self.delta(cursor, &relevant, &mut odd).await?,
            None => self.enumeration(&relevant, &mut odd).await?,
        };
        let Whole { reading: mut told, mut odd_before, mut began } = delta;
        let (mut swept, mut unlisted) = (None, None);
        if mode == (Mode::Delta { sweep: true }) {
            (swept, unlisted) = self.swept(&told, &relevant, &mut odd).await?;
        }

        let of_sweep = swept.iter().flat_map(|it| &it.reading.strangers);
        if told.strangers.iter().chain(of_sweep).count() > 0 {
            // Somebody holds a SKU that the list did not have yet: it was made in between.
            let (again, whole) = self.skus(&mut odd).await?;
            relevant = among(&again, whole);
            skus = again;
        }
        let mut overtaken = false;
        if mode != Mode::Enumerate && swept.is_none() && self.names_new_skus(&skus, &relevant) {
            // Who held one before it was listed, or while its record could not be understood, was
            // told by earlier rounds, and delta tells nothing twice.
            if unlisted.is_none() {
                (swept, unlisted) = self.swept(&told, &relevant, &mut odd).await?;
            }
            overtaken = swept.is_none();
        }
        let mut swept = swept.map(|it| {
            odd_before = odd_before.saturating_add(it.odd_before);
            began = it.began;
            it.reading
        });
        if told.to_ask().len() > self.with.sizes.ask_max {
            self.ask_by_list(&mut told, &mut swept, &relevant, &mut odd).await?;
        }
        self.ask(&mut told, &relevant, &mut odd).await?;
        if let Some(swept) = &mut swept {
            self.ask(swept, &relevant, &mut odd).await?;
        }

        let full = swept.is_some() || mode == Mode::Enumerate;
        let listed = (skus, relevant, name);
        let odd_count = odd_before.saturating_add(u64::try_from(odd.len()).unwrap_or(u64::MAX));
        let read = self.complete(mode, told, swept, listed, odd_count).await;
        Ok(Complete { cursor, full, odd, began, overtaken, unlisted, ..read })
    }

    /// A sweep, or why there is none: what changed counts all the same. Only what says that nothing may
    /// be read, or that nothing read counts, ends the run.
    async fn swept(
        &self,
        changes: &Reading,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(Option<Whole>, Option<MicrosoftError>), MicrosoftError> {
        let before = odd.len();
        let error = match self.sweep(changes, relevant, odd).await {
            Ok(whole) => return Ok((Some(whole), None)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::RestartSequence
            | ErrorKind::NotFound
            | ErrorKind::Unreadable
            | ErrorKind::Rejected
            | ErrorKind::Locked => {
                // They are of no reading that counts: the next one meets them again.
                odd.truncate(before);
                Ok((None, Some(error)))
            }
            ErrorKind::Consent
            | ErrorKind::National
            | ErrorKind::Credential
            | ErrorKind::Refused
            | ErrorKind::Resync => Err(error),
        }
    }

    /// What was read, as it is to be planned.
    async fn complete(
        &self,
        mode: Mode,
        mut told: Reading,
        mut swept: Option<Reading>,
        (mut skus, mut relevant, name): (Vec<Sku>, Relevant, Option<Arc<str>>),
        odd_count: u64,
    ) -> Complete {
        skus.retain(|it| relevant.is_ours(it.id));
        relevant.keep_unlisted(&self.view.skus);
        let seen = told.seen.saturating_add(swept.as_ref().map_or(0, |it| it.seen));
        let mut unfound = !told.unfound.is_empty();
        unfound |= swept.as_ref().is_some_and(|it| !it.unfound.is_empty());
        let gone = told.removed_in_words().into_keys().collect();
        let mut changed_at = std::mem::take(&mut told.changed_at);
        changed_at.extend(swept.iter_mut().flat_map(|it| std::mem::take(&mut it.changed_at)));
        let ours = relevant.clone();
        let found = apart(seen, move || {
            // One of the records that could not be understood may be a user: absence proves nothing
            // in this run.
            let keeps = odd_count > 0;
            let mut found = Found { skus, name, unsure: keeps, ..Found::default() };
            if mode == Mode::Enumerate {
                found.told = told.removed_in_words();
                found.enumerated = Some(told.table(&ours, keeps));
            } else {
                found.told = told.holdings(&ours);
                found.enumerated = swept.map(|it| it.table(&ours, keeps));
            }
            found
        });
        let found = found.await;
        Complete {
            found,
            seen,
            odd_count,
            relevant,
            gone,
            unfound,
            changed_at,
            ..Complete::default()
        }
    }

    /// What was read, made as new as what look-ups found since: whomever it would change although
    /// he was looked up lately is asked for once more, by name.
    pub(super) async fn settled(
        &self,
        mut read: Complete,
        before: &TenantView,
        turn: &Turn,
    ) -> Result<Complete, MicrosoftError> {
        if planted(Mistake::OvertakeLookups) {
            return Ok(read);
        }
        let listed: BTreeSet<_> = read.found.skus.iter().map(|it| it.id).collect();
        let newer = self.view.skus.iter().filter(|it| before.sku(it.id).is_none());
        let newer: Vec<Sku> = newer.filter(|it| !listed.contains(&it.id)).cloned().collect();
        read.overtaken |= !newer.is_empty();
        read.relevant.extend(&newer);
        read.found.skus.extend(newer);

        let found = &mut read.found;
        let differs = |user: &UserId| {
            let has = self.view.users.get(*user);
            let lists = found.enumerated.as_ref().map(|it| it.get(*user));
            found.told.get(user).is_some_and(|it| *it != has) || lists.is_some_and(|it| it != has)
        };
        // Whoever was nobody when the run began, and is somebody by a look-up: rows that said that he
        // holds nothing, or is gone, were passed over, and delta tells nothing twice.
        let unsaid = |user: &UserId| {
            let new = !before.users.contains(*user) && self.view.users.contains(*user);
            new && !found.told.contains_key(user)
        };
        let unsaid: BTreeSet<UserId> = turn.lately().filter(unsaid).collect();
        let mut again = Reading::default();
        let of_concern = |user: &UserId| unsaid.contains(user) || differs(user);
        turn.lately().filter(of_concern).for_each(|user| again.put(user, Said::Ask));
        let odd_before = read.odd.len();
        self.ask(&mut again, &read.relevant, &mut read.odd).await?;
        read.changed_at.append(&mut again.changed_at);
        let odd = read.odd.len().saturating_sub(odd_before);
        read.odd_count = read.odd_count.saturating_add(u64::try_from(odd).unwrap_or(u64::MAX));
        // Whoever is not found keeps what the look-up, which is newer, says of him, unless delta said
        // in so many words that he is gone, or only this run was told anything of him: one who is
        // there may not be found for a while.
        let told = |user: &UserId| {
            let told = found.told.get(user).is_some_and(Option::is_some);
            told || found.enumerated.as_ref().is_some_and(|it| it.contains(*user))
        };
        let unsaid_of =
            |user: &UserId| self.view.users.get(*user).is_none_or(|it| it.licences.is_empty());
        let gone = &read.gone;
        again.leave_unfound(|user| gone.contains(user) || unsaid_of(user) && told(user));
        read.unfound |= !again.unfound.is_empty();
        let holds = again.holdings(&read.relevant);
        for (user, holds) in &holds {
            if unsaid.contains(user) || found.told.contains_key(user) {
                found.told.insert(*user, holds.clone());
            }
        }
        if let Some(enumerated) = &mut found.enumerated {
            *enumerated = enumerated.patched(&holds.into_iter().collect::<Vec<_>>());
        }
        Ok(read)
    }

    /// Whether a SKU of ours is listed that the mirror does not have.
    fn names_new_skus(&self, skus: &[Sku], relevant: &Relevant) -> bool {
        skus.iter().any(|it| relevant.is_ours(it.id) && self.view.sku(it.id).is_none())
    }

    /// What the tenant calls itself, asked once. It is a nicety: a refusal of it says nothing.
    async fn name(&self) -> Option<Arc<str>> {
        if self.view.tenant.name.is_some()
            || !self.begun.full && self.view.directory.cursor.is_some()
        {
            return None;
        }
        match self.graph().organization(&self.gauge.meter, self.tenant).await {
            Ok(organization) => organization.name,
            Err(error) => {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "A tenant's name could not be read"
                );
                None
            }
        }
    }

    /// All SKUs, with the moment at which each will next change its status; and whether each row
    /// of the list was understood.
    async fn skus(&self, odd: &mut Vec<OddRecord>) -> Result<(Vec<Sku>, bool), MicrosoftError> {
        let records = self.graph().subscribed_skus(&self.gauge.meter, self.tenant).await?;
        let before = odd.len();
        let mut skus = merged(records.into_iter().filter_map(|it| self.understood(it, odd)));
        if odd.len() > before {
            // One of those that could not be understood may be one that is known: it stays, and
            // with it whatever users hold of it.
            let listed: BTreeSet<_> = skus.iter().map(|it| it.id).collect();
            skus.extend(self.view.skus.iter().filter(|it| !listed.contains(&it.id)).cloned());
        }
        let lifecycles = match self.graph().lifecycles(&self.gauge.meter, self.tenant).await {
            Ok(lifecycles) => lifecycles,
            Err(error) => {
                // `Organization.Read.All` may not be granted. What is known still lies ahead.
                debug!(
                    error = &error as &dyn std::error::Error,
                    "directory/subscriptions could not be read"
                );
                let known = self.view.skus.iter();
                known.filter_map(|it| Some((it.id, it.next_lifecycle?))).collect()
            }
        };
        for sku in &mut skus {
            let of = lifecycles.iter().filter(|(id, at)| *id == sku.id && *at > self.begun.started);
            sku.next_lifecycle = of.map(|(_, at)| *at).min();
        }
        Ok((skus, odd.len() == before))
    }

    /// So many users whose rows did not say what they hold that they are read sooner page by page
    /// than by name.
    async fn ask_by_list(
        &self,
        told: &mut Reading,
        swept: &mut Option<Reading>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(), MicrosoftError> {
        let list = match swept {
            Some(swept) => swept,
            none => none.insert(self.listed(relevant, odd).await?),
        };
        self.ask(list, relevant, odd).await?;
        for user in told.to_ask() {
            match list.said(user) {
                Some(said) => told.put(user, said),
                // Whom neither of two lists names is not there.
                None => drop(told.is_nowhere(user)),
            }
        }
        Ok(())
    }

    /// Asks by name for the users whose rows did not say what they hold. What cannot be understood
    /// keeps what the mirror has.
    async fn ask(
        &self,
        reading: &mut Reading,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(), MicrosoftError> {
        let users = reading.to_ask();
        if users.is_empty() {
            return Ok(());
        }
        let answers =
            self.graph().assignment_states(&self.gauge.meter, self.tenant, &users).await?;
        let mut left: BTreeSet<_> = users.into_iter().collect();
        for (user, answer) in answers {
            left.remove(&user);
            match answer.and_then(|row| readable(row, relevant)) {
                Ok(row) => {
                    reading.seen = reading.seen.saturating_sub(1);
                    reading.take_named(&row, relevant, self.view);
                }
                // One who is there may not be found for a while: only delta says that he is gone,
                // and a sweep, which is due soon then, that he is not listed.
                Err(BatchMiss::Gone) if reading.is_nowhere(user) => {}
                Err(BatchMiss::Gone) => {
                    reading.unfound.insert(user);
                    left.insert(user);
                }
                Err(BatchMiss::Odd(why)) => {
                    odd.push(self.odd(why, user.to_string().into()));
                    reading.take_odd(user, self.view);
                }
            }
        }
        left.extend(reading.to_ask());
        for user in left {
            // Nothing was said about him after all: what is known stays, and what is not known is not
            // what he does not hold.
            let known = self.view.users.get(user).unwrap_or_default();
            let known = UserLicences { missing_since: None, unread: true, ..known };
            reading.put(user, Said::Holds(Packed::of(&known)));
        }
        Ok(())
    }

    /// Takes in a row about a user, understood or not.
    pub(super) fn take(
        &self,
        reading: &mut Reading,
        row: Read<UserRow>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) {
        let row = match row {
            Read::Understood(it, raw) => match is_odd(&it, relevant) {
                Some(why) => Read::Odd { why, raw },
                None => Read::Understood(it, raw),
            },
            odd @ Read::Odd { .. } => odd,
        };
        let id = row.odd_user();
        match self.understood(row, odd) {
            Some(row) => reading.take(&row, relevant, self.view),
            None => id.into_iter().for_each(|user| reading.take_odd(user, self.view)),
        }
    }

    pub(super) fn understood<T>(&self, record: Read<T>, odd: &mut Vec<OddRecord>) -> Option<T> {
        match record {
            Read::Understood(it, _) => Some(it),
            Read::Odd { why, raw } => {
                warn!(tenant.id = %self.tenant, why, "A record could not be understood: kept as it came, skipped");
                odd.push(self.odd(why, raw));
                None
            }
        }
    }

    fn odd(&self, why: String, raw: RawRecord) -> OddRecord {
        OddRecord { at: self.begun.started, key: self.begun.key, why: why.into(), raw }
    }
}
