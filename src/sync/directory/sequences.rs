//! Reads sequences of pages to their end: delta rounds, the first enumeration, sweeps.
//!
//! A page token that has run out starts a sequence again, once. The long ones, which name every
//! user, are gone on with where an earlier run had to leave them.

use std::sync::Arc;

use super::reader::{Reader, Whole};
use super::unfinished::Laying;
use crate::domain::{OddRecord, Said, Sequence, UserId, UserLicences};
use crate::microsoft::{DeltaFrom, ErrorKind, Link, MicrosoftError, PageEnd};
use crate::planted::{Mistake, planted};
use crate::sync::reading::{Reading, Relevant};
use crate::sync::upstream::DirectoryReads;

impl<G: DirectoryReads> Reader<'_, G> {
    /// A list of all users, over what the mirror has of them.
    pub(super) fn list(&self) -> Reading {
        Reading::of_list(&self.view.users, self.with.sizes.loose_max)
    }

    /// A delta round to its end, all its pages or nothing, and the cursor after it.
    pub(super) async fn delta(
        &self,
        cursor: &str,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(Whole, Arc<str>), MicrosoftError> {
        let before = odd.len();
        let reading = Reading::default;
        let from = DeltaFrom::Cursor(cursor);
        let (reading, cursor) = match self.pages(reading(), from, relevant, odd, None).await {
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                odd.truncate(before);
                self.pages(reading(), from, relevant, odd, None).await?
            }
            result => result?,
        };
        Ok((Whole { reading, odd_before: 0, began: self.begun.started }, cursor))
    }

    /// The first enumeration, from where an earlier run had to leave it, or from its beginning, and
    /// the cursor after it.
    pub(super) async fn enumeration(
        &self,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(Whole, Arc<str>), MicrosoftError> {
        let (before, of) = (odd.len(), Sequence::Enumeration);
        let now_said = |user, said| self.unless_known_otherwise(relevant, user, said);
        if let Some((mut laying, reading, link)) =
            Laying::resumed(self, of, relevant, now_said).await
        {
            match self.go_on(reading, &link, relevant, odd, &mut laying).await {
                Err(error) if begins_anew(&error) => odd.truncate(before),
                result => return result.map(|(read, cursor)| (laying.ended(read), cursor)),
            }
        }
        let mut laying = Laying::new(self, of, relevant);
        loop {
            laying.clear().await;
            let from = (self.list().in_parts(), DeltaFrom::Start);
            match self.pages(from.0, from.1, relevant, odd, Some(&mut laying)).await {
                Err(error)
                    if error.kind() == ErrorKind::RestartSequence && !laying.has_started_over() =>
                {
                    odd.truncate(before);
                    laying.start_over();
                }
                result => return result.map(|(read, cursor)| (laying.ended(read), cursor)),
            }
        }
    }

    /// What an enumeration said before it was interrupted. Whatever changed since delta tells after
    /// it, but late: nobody loses by an old word alone.
    fn unless_known_otherwise(&self, relevant: &Relevant, user: UserId, said: Said) -> Said {
        match &said {
            Said::Holds(_) if self.view.users.contains(user) => {
                if self.says_the_same(relevant, user, &said) { said } else { Said::Ask }
            }
            Said::Holds(_) | Said::Removed | Said::Ask => said,
        }
    }

    /// The rest of an enumeration that was cut off, and what happened since it began: its first
    /// pages are old, and nobody must lose by that.
    async fn go_on(
        &self,
        reading: Reading,
        link: &Link,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
        laying: &mut Laying<'_, G>,
    ) -> Result<(Reading, Arc<str>), MicrosoftError> {
        let rest = self.pages(reading, DeltaFrom::Next(link), relevant, odd, Some(laying));
        let (reading, cursor) = rest.await?;
        let since = self.pages(reading, DeltaFrom::Cursor(&cursor), relevant, odd, None);
        let (mut reading, cursor) = since.await?;
        reading.ask_for_unnamed();
        Ok((reading, cursor))
    }

    /// The pages of a delta sequence, from one to its last.
    async fn pages(
        &self,
        mut reading: Reading,
        from: DeltaFrom<'_>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
        mut laying: Option<&mut Laying<'_, G>>,
    ) -> Result<(Reading, Arc<str>), MicrosoftError> {
        let mut next: Option<Link> = None;
        loop {
            let from = next.as_ref().map_or(from, DeltaFrom::Next);
            let page = self.graph().delta_page(&self.gauge.meter, self.tenant, from).await?;
            for row in page.rows {
                self.take(&mut reading, row, relevant, odd);
            }
            self.gauge.page(reading.seen).await;
            match page.end {
                PageEnd::Next(link) => {
                    if let Some(laying) = &mut laying {
                        laying.lay_down(&mut reading, &link, odd).await;
                    }
                    next = Some(link);
                }
                PageEnd::Delta(cursor) => return Ok((reading, cursor)),
            }
        }
    }

    /// Every user of the tenant, from where an earlier sweep had to leave them, or from the first.
    /// `changes` are those since the last run that ended, read just before.
    pub(super) async fn sweep(
        &self,
        changes: &Reading,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<Whole, MicrosoftError> {
        let (before, of) = (odd.len(), Sequence::Sweep);
        let now_said = |user, said: Said| self.as_changed(changes, relevant, user, said);
        // So much is in doubt that it is read sooner once more than asked for?
        let too_much = |list: &Reading| list.to_ask().len() > self.with.sizes.ask_max;
        let resumed = Laying::resumed(self, of, relevant, now_said).await;
        if let Some((mut laying, reading, link)) = resumed.filter(|(_, list, _)| !too_much(list)) {
            let rest = self.list_pages(reading, Some(link), relevant, odd, Some(&mut laying));
            match rest.await {
                Ok(mut list) => {
                    if !planted(Mistake::TrustOldPages) {
                        list.with_changes(changes);
                        list.ask_for_unnamed();
                    }
                    if !too_much(&list) {
                        return Ok(laying.ended(list));
                    }
                }
                Err(error) if begins_anew(&error) => {}
                Err(error) => return Err(error),
            }
            odd.truncate(before);
        }
        let mut laying = Laying::new(self, of, relevant);
        loop {
            laying.clear().await;
            let list = self.list().in_parts();
            match self.list_pages(list, None, relevant, odd, Some(&mut laying)).await {
                Err(error)
                    if error.kind() == ErrorKind::RestartSequence && !laying.has_started_over() =>
                {
                    odd.truncate(before);
                    laying.start_over();
                }
                result => return result.map(|list| laying.ended(list)),
            }
        }
    }

    /// What a sweep said before it was interrupted, as changes tell it now. No delta comes after
    /// it that would put an old word right.
    fn as_changed(&self, changes: &Reading, relevant: &Relevant, user: UserId, said: Said) -> Said {
        if planted(Mistake::TrustOldPages) {
            return said;
        }
        let now = changes.said(user);
        now.unwrap_or_else(
            || {
                if self.says_the_same(relevant, user, &said) { said } else { Said::Ask }
            },
        )
    }

    /// Whether an old word about a user is what the mirror has of him.
    fn says_the_same(&self, relevant: &Relevant, user: UserId, said: &Said) -> bool {
        let Said::Holds(holds) = said else { return false };
        let unmarked = |it: Option<UserLicences>| {
            it.map(|it| UserLicences { missing_since: None, ..it }).unwrap_or_default()
        };
        unmarked(self.view.users.get(user)) == unmarked(relevant.ours_of(holds))
    }

    /// Every user of the tenant, in one go.
    pub(super) async fn listed(
        &self,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<Reading, MicrosoftError> {
        let before = odd.len();
        match self.list_pages(self.list(), None, relevant, odd, None).await {
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                odd.truncate(before);
                self.list_pages(self.list(), None, relevant, odd, None).await
            }
            result => result,
        }
    }

    /// The pages of the list of users, from one to the last.
    async fn list_pages(
        &self,
        mut list: Reading,
        mut next: Option<Link>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
        mut laying: Option<&mut Laying<'_, G>>,
    ) -> Result<Reading, MicrosoftError> {
        loop {
            let page =
                self.graph().users_page(&self.gauge.meter, self.tenant, next.as_ref()).await?;
            for row in page.records {
                self.take(&mut list, row, relevant, odd);
            }
            self.gauge.page(list.seen).await;
            let Some(link) = page.next else { return Ok(list) };
            if let Some(laying) = &mut laying {
                laying.lay_down(&mut list, &link, odd).await;
            }
            next = Some(link);
        }
    }
}

/// Whether a reading that was gone on with has to begin anew.
fn begins_anew(error: &MicrosoftError) -> bool {
    matches!(error.kind(), ErrorKind::RestartSequence | ErrorKind::Resync)
}
