//! Graph in the simulation: pages, cursors, and everything that goes wrong with them.

mod groups;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::tenant::{Tenant, tenant_id, user_id, user_number};
use crate::domain::{RawRecord, Sku, SkuId, TenantId, UserId};
use crate::microsoft::{
    BatchMiss, DeltaFrom, DeltaPage, ErrorKind, Link, Meter, MicrosoftError, Organization, Page,
    PageEnd, Read, UserRow,
};
use crate::planted::Chance;
use crate::sync::upstream::DirectoryReads;

/// What may go wrong, each once in so many calls; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    pub(super) fails: usize,
    pub(super) page_dies: usize,
    pub(super) cursors_die: usize,
    pub(super) odd: usize,
    /// Something happens in the tenant between two calls.
    pub(super) busy: usize,
    /// A request or its answer takes so long that something else comes in between.
    pub(super) lag: usize,
    /// A list that Microsoft calls complete is empty or cut short, though there is more.
    pub(super) empty: usize,
    /// A user who is there is not found by name.
    pub(super) unfound: usize,
}

/// Graph, as the real rounds see it.
pub(super) struct Graph(Mutex<State>);

pub(super) struct State {
    pub(super) tenants: Vec<Tenant>,
    pub(super) chance: Chance,
    pub(super) trouble: Trouble,
    /// Whether a list has been empty that should not have been.
    pub(super) was_empty: bool,
    /// Sequences under way, by the number in their links.
    sequences: Vec<Sequence>,
    /// The same of groups.
    told: Vec<groups::Told>,
}

#[derive(Clone)]
struct Sequence {
    tenant: usize,
    /// Still to be told.
    left: VecDeque<u8>,
    /// What the next cursor stands for.
    began: u64,
    minimal: bool,
}

type Answer<T> = Result<T, MicrosoftError>;

impl Graph {
    pub(super) fn new(tenants: Vec<Tenant>, chance: Chance) -> Self {
        let trouble = Trouble::default();
        let (sequences, told) = (Vec::new(), Vec::new());
        Self(Mutex::new(State { tenants, chance, trouble, was_empty: false, sequences, told }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A request on its way, what it meets, and its answer on its way: others come in between.
    async fn on_its_way<T>(&self, call: impl FnOnce(&mut State) -> T + Send) -> T {
        self.lag().await;
        let answer = call(&mut self.state());
        self.lag().await;
        answer
    }

    async fn lag(&self) {
        let steps = self.state().lag();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    }
}

impl State {
    /// A call arrives: something may happen first, and it may fail.
    fn call(&mut self, tenant: TenantId, in_sequence: bool) -> Answer<usize> {
        let index = self.tenants.len();
        let tenant = (0..index).find(|it| tenant_id(*it) == tenant).unwrap();
        let Trouble { fails, page_dies, cursors_die, busy, .. } = self.trouble;
        while self.chance.once_in(busy) {
            self.tenants[tenant].happen(&mut self.chance);
        }
        if self.tenants[tenant].refuses {
            return Err(MicrosoftError::new(ErrorKind::Consent, "not allowed"));
        }
        if self.chance.once_in(cursors_die) {
            self.tenants[tenant].now += 1;
            self.tenants[tenant].oldest = self.tenants[tenant].now;
        }
        if in_sequence && self.chance.once_in(page_dies) {
            return Err(MicrosoftError::new(ErrorKind::RestartSequence, "the page token died"));
        }
        if self.chance.once_in(fails) {
            const KINDS: [ErrorKind; 4] = [
                ErrorKind::Transient,
                ErrorKind::Throttled,
                ErrorKind::Unreadable,
                ErrorKind::Credential,
            ];
            let kind = KINDS[self.chance.below(KINDS.len())];
            return Err(MicrosoftError::new(kind, "a bad moment"));
        }
        Ok(tenant)
    }

    /// For how many steps others come in between: mostly few, now and then enough for a whole run.
    fn lag(&mut self) -> usize {
        let lags = self.chance.once_in(self.trouble.lag);
        if lags { [1, 1, 2, 20][self.chance.below(4)] } else { 0 }
    }

    /// Whether a list shows nobody this time: once in a history, for against the same lie twice in a
    /// row there is no help.
    fn lies(&mut self) -> bool {
        let lies = !self.was_empty && self.chance.once_in(self.trouble.empty);
        self.was_empty |= lies;
        lies
    }

    fn read<T>(&mut self, it: T) -> Read<T> {
        self.read_as(it, |_| "{}".into())
    }

    fn read_as<T>(&mut self, it: T, raw: impl Fn(&T) -> String) -> Read<T> {
        if self.chance.once_in(self.trouble.odd) {
            return Read::Odd { why: "odd".into(), raw: RawRecord::from(raw(&it)) };
        }
        Read::Understood(it, RawRecord::from("{}"))
    }

    /// A row about a user: even where nothing else of it is understood, it may say whose it is.
    fn read_user(&mut self, row: UserRow) -> Read<UserRow> {
        self.read_as(row, |it| format!("{{\"id\":\"{}\"}}", it.id))
    }

    /// One to three users: whoever was refused.
    pub(super) fn somebody(&mut self) -> Vec<UserId> {
        let many = 1 + self.chance.below(3);
        let one = |_| user_id(u8::try_from(self.chance.below(12)).unwrap());
        (0..many).map(one).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A user as a delta tells him.
    fn told(&mut self, tenant: usize, user: u8, minimal: bool) -> UserRow {
        let Some(row) = self.tenants[tenant].row(user) else { return Tenant::gone(user) };
        match self.chance.below(4) {
            // Delta may or may not bring the paths along.
            0 => row,
            1 if minimal && row.assigned.as_ref().is_none_or(Vec::is_empty) => row,
            _ => UserRow { states: None, ..row },
        }
    }

    fn page(&mut self, sequence: usize) -> (Vec<Read<UserRow>>, bool) {
        let mut rows = Vec::new();
        for _ in 0..self.chance.below(6) {
            let Sequence { tenant, minimal, .. } = self.sequences[sequence];
            let Some(user) = self.sequences[sequence].left.pop_front() else { break };
            if self.chance.once_in(8) {
                // He comes once more on a later page.
                self.sequences[sequence].left.push_back(user);
            }
            let row = self.told(tenant, user, minimal);
            let row = self.read_user(row);
            rows.push(row);
        }
        (rows, self.sequences[sequence].left.is_empty())
    }

    fn link(&mut self, sequence: usize) -> Link {
        // A link leads to one place: what was told before is told again there, if asked again.
        let next = self.sequences.len();
        self.sequences.push(self.sequences[sequence].clone());
        Link::after(None, format!("{next}"), true).unwrap()
    }
}

fn number(link: &Link) -> usize {
    link.as_str().parse().unwrap()
}

impl DirectoryReads for Graph {
    async fn organization(&self, _: &Meter, tenant: TenantId) -> Answer<Organization> {
        let called = self.on_its_way(|state| state.call(tenant, false)).await;
        called.map(|_| Organization { name: Some("Sim".into()) })
    }

    async fn cloud(&self, _: &Meter, _: TenantId) -> Answer<Option<crate::domain::Cloud>> {
        Ok(None)
    }

    async fn subscribed_skus(&self, _: &Meter, tenant: TenantId) -> Answer<Vec<Read<Sku>>> {
        let call = move |state: &mut State| {
            let tenant = state.call(tenant, false)?;
            let mut skus = state.tenants[tenant].skus();
            if state.lies() {
                let cut = state.chance.below(skus.len());
                skus.truncate(cut);
            }
            Ok(skus.into_iter().map(|it| state.read(it)).collect())
        };
        self.on_its_way(call).await
    }

    async fn lifecycles(&self, _: &Meter, tenant: TenantId) -> Answer<Vec<(SkuId, Timestamp)>> {
        self.on_its_way(|state| state.call(tenant, false)).await.map(|_| Vec::new())
    }

    async fn delta_page(
        &self,
        _: &Meter,
        tenant: TenantId,
        from: DeltaFrom<'_>,
    ) -> Answer<DeltaPage> {
        let call = move |state: &mut State| {
            let tenant = state.call(tenant, matches!(from, DeltaFrom::Next(_)))?;
            let lies = matches!(from, DeltaFrom::Start) && state.lies();
            let model = &state.tenants[tenant];
            let began = model.now;
            let sequence = match from {
                DeltaFrom::Next(link) => {
                    let there = state.sequences[number(link)].clone();
                    state.sequences.push(there);
                    state.sequences.len() - 1
                }
                DeltaFrom::Start | DeltaFrom::Cursor(_) => {
                    let (left, minimal) = match from {
                        DeltaFrom::Cursor(cursor) => {
                            let since: u64 = cursor.parse().unwrap();
                            if since < model.oldest {
                                let why = "the cursor is dead";
                                return Err(MicrosoftError::new(ErrorKind::Resync, why));
                            }
                            (model.changed_since(since), true)
                        }
                        DeltaFrom::Start | DeltaFrom::Next(_) if lies => (Vec::new(), false),
                        DeltaFrom::Start | DeltaFrom::Next(_) => (model.everyone(), false),
                    };
                    state.sequences.push(Sequence { tenant, left: left.into(), began, minimal });
                    state.sequences.len() - 1
                }
            };
            let (rows, last) = state.page(sequence);
            let end = if last {
                PageEnd::Delta(state.sequences[sequence].began.to_string().into())
            } else {
                PageEnd::Next(state.link(sequence))
            };
            Ok(DeltaPage { rows, end })
        };
        self.on_its_way(call).await
    }

    async fn users_page(
        &self,
        _: &Meter,
        tenant: TenantId,
        next: Option<&Link>,
    ) -> Answer<Page<UserRow>> {
        let call = move |state: &mut State| {
            let tenant = state.call(tenant, next.is_some())?;
            let after = next.map(number);
            let mut everyone = state.tenants[tenant].everyone();
            if state.lies() {
                everyone.clear();
            }
            let mut users =
                everyone.into_iter().filter(|it| after.is_none_or(|at| usize::from(*it) > at));
            let size = state.chance.below(5) + 1;
            let here: Vec<u8> = users.by_ref().take(size).collect();
            let more = users.next().is_some();
            let next = here
                .last()
                .filter(|_| more)
                .map(|it| Link::after(None, it.to_string(), false).unwrap());
            let mut records = Vec::new();
            for user in here {
                if let Some(row) = state.tenants[tenant].row(user) {
                    records.push(state.read_user(row));
                }
            }
            Ok(Page { records, next })
        };
        self.on_its_way(call).await
    }

    async fn assignment_states(
        &self,
        _: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> Answer<Vec<(UserId, Result<UserRow, BatchMiss>)>> {
        let call = move |state: &mut State| {
            let tenant = state.call(tenant, false)?;
            let of = |state: &mut State, user: &UserId| {
                let row = state.tenants[tenant].row(user_number(*user));
                let found = !state.chance.once_in(state.trouble.unfound);
                let row = row.filter(|_| found).ok_or(BatchMiss::Gone);
                let odd = state.chance.once_in(state.trouble.odd);
                (*user, if odd { Err(BatchMiss::Odd("odd".into())) } else { row })
            };
            Ok(users.iter().map(|user| of(state, user)).collect())
        };
        self.on_its_way(call).await
    }
}
