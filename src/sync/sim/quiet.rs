//! The end of every history: Microsoft is quiet and well, and the mirror becomes what Microsoft has.

use std::sync::atomic::Ordering::Relaxed;

use super::World;
use super::compare::{assigned, differs, holdings};
use super::graph::Trouble;
use super::tenant::{Tenant, tenant_id};
use crate::domain::Consent;

impl World {
    /// Microsoft is quiet and well: within a day, however the clock was set, and without anybody
    /// asking for it the mirror is what Microsoft has.
    pub(super) fn quiet(&mut self) -> Result<(), String> {
        {
            let mut state = self.graph.state();
            state.trouble = Trouble::default();
            state.tenants.iter_mut().for_each(Tenant::let_us_in);
        }
        for index in 0..self.tenants() {
            let mut rounds = 0;
            for (passed_s, last) in [(3_700, false), (3_700, false), (90_000, false), (3_700, true)]
            {
                self.now_s.fetch_add(passed_s, Relaxed);
                // No crash any more.
                self.round_to_the_end(index, false)?;
                let mirror = self.mirror().clone();
                let view = mirror.tenant(tenant_id(index)).ok_or("no such tenant")?;
                let state = self.graph.state();
                let truth = state.tenants[index].truth();
                rounds += 1;
                // After a list that lied only a full read helps, and when that is due hangs on the
                // clock.
                if rounds == 2
                    && !self.lied.load(Relaxed)
                    && !self.set_back
                    && assigned(&holdings(view)) != assigned(&truth)
                {
                    let has = holdings(view);
                    return Err(format!(
                        "tenant {index} by delta: mirror {has:?}\n truth {truth:?}"
                    ));
                }
                if !last {
                    continue;
                }
                differs(view, &truth, &state.tenants[index].our_skus())
                    .map_err(|what| format!("tenant {index}: {what}"))?;
                self.groups_are_right(view, &state.tenants[index])?;
                if mirror.unfinished(tenant_id(index)).is_some()
                    || !self.desk.is_clear(tenant_id(index))
                {
                    return Err(format!("tenant {index}: parts of a reading are left"));
                }
                if view.tenant.consent != Consent::Granted || view.directory.held_back > 0 {
                    return Err(format!("tenant {index}: {:?}", view.tenant));
                }
            }
        }
        Ok(())
    }

    fn round_to_the_end(&mut self, index: usize, full: bool) -> Result<(), String> {
        let runs = self.runs.load(Relaxed);
        for _ in 0..20 {
            self.round(index, full)?;
            let mirror = self.mirror().clone();
            let view = mirror.tenant(tenant_id(index));
            if view.is_some_and(|it| it.directory.last_run == Some((self.clock)())) {
                return Ok(());
            }
        }
        Err(format!("twenty crashes in a row after run {runs}"))
    }
}
