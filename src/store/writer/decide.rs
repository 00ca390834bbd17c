//! What is decided on the newest mirror, once for each idempotency key.

use super::Group;
use crate::store::licenses::{DecideJob, Decided};
use crate::store::usage::Usage;

impl Group {
    /// Decides on the mirror after everything that is already in the group, unless that was done
    /// before under the same idempotency key.
    pub(in crate::store) fn decide(&mut self, usage: &Usage, job: DecideJob) -> Decided {
        if let Some((repeat, _)) = job.repeat
            && let Some(known) = self.usage.known(usage, repeat)
        {
            return known;
        }
        let (commit, answer) = (job.decide)(&self.after);
        let remembered = job.repeat.zip(answer);
        let remembered = remembered.map(|((it, at), answer)| self.usage.remember(it, at, answer));
        if commit.is_some() || remembered.is_some() {
            let mut commit = commit.unwrap_or_default();
            commit.usage.extend(remembered);
            self.add(commit);
        }
        Decided::Now
    }
}
