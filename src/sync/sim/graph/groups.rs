//! Groups in the simulation: lists, and sequences that tell members in slices.

use std::collections::VecDeque;

use super::{Answer, Graph, State};
use crate::domain::{GroupId, SkuId, TenantId};
use crate::microsoft::{
    DeltaFrom, DeltaPage, ErrorKind, GroupRow, Link, Meter, MicrosoftError, PageEnd, Read,
};
use crate::sync::sim::tenant::{GROUPS, group_number};
use crate::sync::upstream::GroupReads;

/// A sequence under way.
#[derive(Clone)]
pub(super) struct Told {
    tenant: usize,
    /// Slices of groups still to be told.
    left: VecDeque<(u8, Vec<u8>)>,
    /// What the next cursor stands for.
    began: u64,
    /// Which groups it is limited to, whatever is asked for later; a bit each.
    filter: u8,
}

impl Told {
    fn cursor(&self) -> String {
        format!("{} {}", self.began, self.filter)
    }
}

/// Since when, and of which groups.
fn cursor(words: &str) -> (u64, u8) {
    let (began, filter) = words.split_once(' ').unwrap();
    (began.parse().unwrap(), filter.parse().unwrap())
}

impl State {
    fn group_call(&mut self, tenant: TenantId, in_sequence: bool) -> Answer<usize> {
        let index = self.call(tenant, in_sequence)?;
        if self.tenants[index].hides_groups {
            return Err(MicrosoftError::new(ErrorKind::Consent, "not the groups"));
        }
        Ok(index)
    }

    /// A sequence begins.
    fn tell_groups(&mut self, tenant: usize, filter: u8, since: Option<u64>) -> Answer<usize> {
        let model = &self.tenants[tenant];
        if since.is_some_and(|it| it < model.oldest) {
            return Err(MicrosoftError::new(ErrorKind::Resync, "the cursor is dead"));
        }
        let mut left = VecDeque::new();
        for group in 0..GROUPS {
            // The filter is not always kept to.
            if filter & (1 << group) == 0 && !self.chance.once_in(6) {
                continue;
            }
            let told = match since {
                Some(since) => model.moved_since(group, since, &mut self.chance),
                None => model.all_of_group(group, &mut self.chance),
            };
            let Some(users) = told else { continue };
            if users.is_empty() {
                left.push_back((group, users));
                continue;
            }
            let size = 1 + self.chance.below(4);
            left.extend(users.chunks(size).map(|it| (group, it.to_vec())));
        }
        self.told.push(Told { tenant, left, began: model.now, filter });
        Ok(self.told.len() - 1)
    }

    fn group_page(&mut self, sequence: usize) -> (Vec<Read<GroupRow>>, bool) {
        let mut rows = Vec::new();
        for _ in 0..self.chance.below(4) {
            let tenant = self.told[sequence].tenant;
            let Some((group, users)) = self.told[sequence].left.pop_front() else { break };
            let row = self.tenants[tenant].group_row(group, &users);
            if self.chance.once_in(8) {
                // It comes once more on a later page.
                self.told[sequence].left.push_back((group, users));
            }
            let row = self.read(row);
            rows.push(row);
        }
        (rows, self.told[sequence].left.is_empty())
    }
}

impl GroupReads for Graph {
    async fn licensed_groups(
        &self,
        _: &Meter,
        tenant: TenantId,
        sku: SkuId,
    ) -> Answer<Vec<Read<GroupRow>>> {
        let call = move |state: &mut State| {
            let tenant = state.group_call(tenant, false)?;
            let rows = state.tenants[tenant].groups_with(sku);
            Ok(rows.into_iter().map(|it| state.read(it)).collect())
        };
        self.on_its_way(call).await
    }

    async fn groups_page(
        &self,
        _: &Meter,
        tenant: TenantId,
        groups: &[GroupId],
        from: DeltaFrom<'_>,
    ) -> Answer<DeltaPage<GroupRow>> {
        let filter = groups.iter().fold(0, |all, it| all | (1 << group_number(*it)));
        let call = move |state: &mut State| {
            let tenant = state.group_call(tenant, matches!(from, DeltaFrom::Next(_)))?;
            let sequence = match from {
                DeltaFrom::Next(link) => {
                    let there = state.told[super::number(link)].clone();
                    state.told.push(there);
                    state.told.len() - 1
                }
                DeltaFrom::Cursor(words) => {
                    let (since, filter) = cursor(words);
                    state.tell_groups(tenant, filter, Some(since))?
                }
                DeltaFrom::Start => state.tell_groups(tenant, filter, None)?,
            };
            let (rows, last) = state.group_page(sequence);
            let there = state.told[sequence].clone();
            let end = if last {
                PageEnd::Delta(there.cursor().into())
            } else {
                state.told.push(there);
                let next = (state.told.len() - 1).to_string();
                PageEnd::Next(Link::after(None, next, true).unwrap())
            };
            Ok(DeltaPage { rows, end })
        };
        self.on_its_way(call).await
    }
}
