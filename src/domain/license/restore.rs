//! A license that was sold elsewhere, with what it went through before it came here.

use jiff::Timestamp;

use super::{License, LicenseId, LicenseRefused, LicenseTold, Sale};

/// What a license went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenseLife {
    /// When it was issued.
    pub created: Timestamp,
    /// When it was paid first or last; a trial that nobody has paid has none.
    pub paid_at: Option<Timestamp>,
    /// When it was cancelled, unless it was renewed since.
    pub cancelled_at: Option<Timestamp>,
    /// When it was suspended, unless it was reinstated since.
    pub suspended_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How far the passing of time was told.
    pub told: LicenseTold,
}

impl License {
    /// A license as it stood elsewhere. Nothing about its dates is worked out: a payment that came
    /// early, or an end before the trial's, stays as it was.
    ///
    /// # Errors
    ///
    /// [`LicenseRefused::Field`].
    pub fn restored(
        id: LicenseId,
        key_hash: Option<[u8; 32]>,
        sale: Sale,
        life: LicenseLife,
    ) -> Result<Self, LicenseRefused> {
        let (cycle, trial_end, period_end) = (sale.cycle, sale.trial_end, sale.period_end);
        if life.paid_at.is_none() && (period_end.is_some() || trial_end.is_none()) {
            return Err(LicenseRefused::Field {
                field: "paid_at",
                why: "only a trial without a `period_end` is unpaid: say when it was paid, or leave \
                      the column out",
            });
        }
        // Without dates and cycle nothing is worked out, and everything else is looked at.
        let bare = Sale { cycle: None, trial_end: None, period_end: None, ..sale };
        let it = Self::issued(id, key_hash, bare, life.created)?;
        Ok(Self {
            cycle,
            trial_end,
            period_end,
            paid_at: life.paid_at,
            cancelled_at: life.cancelled_at,
            suspended_at: life.suspended_at,
            revoked_at: life.revoked_at,
            told: life.told,
            ..it
        })
    }
}
