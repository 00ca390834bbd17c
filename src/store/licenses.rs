//! Licenses of the publisher in the store: what is decided inside the thread that writes, codes that
//! are drawn, and how licenses are read back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;

use super::committer::Job;
use super::layout::Kind;
use super::record::{self, ActivationV1, LicenseV1, SightingsV1};
use super::{Store, StoreError};
use crate::domain::{
    ActivationId, ActivationKey, ActivationWrite, Commit, LicenseId, LicenseUsers, Mirror,
    Sightings,
};

/// What is made of the newest mirror.
pub(super) type Decide = Box<dyn FnOnce(&Mirror) -> Option<Commit> + Send>;

impl Store {
    /// Commits what `decide` makes of the newest mirror, and returns what it says beside; once that
    /// is durable and published. It runs on the thread that writes, so nothing comes between its
    /// look and its commit: keep it short, and without any waiting. The
    /// commit says nothing of webhooks and usage; none writes nothing.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn decide<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&Mirror) -> (Option<Commit>, T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        let said = Arc::clone(&slot);
        let decide: Decide = Box::new(move |mirror| {
            let (commit, answer) = decide(mirror);
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            commit
        });
        self.ask(|reply| Job::Decide(decide, reply)).await?;
        let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or(StoreError::Closed)
    }

    /// A license id that was never drawn before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Key`] if the machine has no random numbers.
    pub fn new_license_id(&self) -> Result<LicenseId, StoreError> {
        random().map(LicenseId::from_random)
    }

    /// An activation id that was never drawn before.
    ///
    /// # Errors
    ///
    /// As of [`Self::new_license_id`].
    pub fn new_activation_id(&self) -> Result<ActivationId, StoreError> {
        random().map(ActivationId::from_random)
    }

    /// A new activation key. It is not kept: only [`Self::hash_key`] of it may be.
    ///
    /// # Errors
    ///
    /// As of [`Self::new_license_id`].
    pub fn new_activation_key(&self) -> Result<ActivationKey, StoreError> {
        random().map(ActivationKey::from_random)
    }

    /// What is kept of an activation key: a hash that is keyed with a secret of this store's.
    pub fn hash_key(&self, key: &ActivationKey) -> [u8; 32] {
        self.keyed("activation key", key.expose().as_bytes())
    }

    /// A keyed digest of something that is not to be kept itself. `purpose` keeps digests apart that
    /// are made for different ends.
    pub fn keyed(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let secret = self.keys().pseudonym_secret();
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), purpose.as_bytes());
        let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), bytes);
        digest.as_ref().try_into().unwrap_or_default()
    }
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|error| StoreError::Key { doing: "make", why: error.to_string() })?;
    Ok(bytes)
}

/// A bucket and its number.
type Bucket = (usize, Arc<[u8]>);

/// Users and sightings as they come by; licenses and activations go into the commit.
#[derive(Default)]
pub(super) struct LicenseFacts {
    /// By license: how many buckets there are, and those that hold anybody.
    buckets: BTreeMap<LicenseId, (usize, Vec<Bucket>)>,
    sighted: Vec<(LicenseId, Sightings)>,
}

impl LicenseFacts {
    pub(super) fn take(
        &mut self,
        commit: &mut Commit,
        key: &[u8],
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        if kind == Kind::License {
            commit.licenses.push(record::decode::<LicenseV1>(kind, payload)?.try_into()?);
        } else if kind == Kind::Activation {
            let it = record::decode::<ActivationV1>(kind, payload)?.try_into()?;
            commit.activations.push(ActivationWrite::Put(it));
        } else {
            let (id, rest) = license_of(key).ok_or_else(bad_key)?;
            if kind == Kind::Sightings {
                let it = record::decode::<SightingsV1>(kind, payload)?.try_into()?;
                self.sighted.push((id, it));
            } else {
                let (log, number) = rest.split_first().ok_or_else(bad_key)?;
                let number: [u8; 4] = number.try_into().map_err(|_length| bad_key())?;
                let number = usize::try_from(u32::from_be_bytes(number)).unwrap_or(usize::MAX);
                let count = 1_usize.checked_shl(u32::from(*log)).filter(|_| *log < 25);
                let count = count.ok_or_else(bad_key)?;
                let all = self.buckets.entry(id).or_insert_with(|| (count, Vec::new()));
                if all.0 != count {
                    return Err(StoreError::damaged("users of a license in two shapes"));
                }
                all.1.push((number, payload.into()));
            }
        }
        Ok(())
    }

    /// The mirror with all of it.
    pub(super) fn into_mirror(self, mirror: Mirror) -> Result<Mirror, StoreError> {
        let mut users = Vec::new();
        for (id, (count, held)) in self.buckets {
            let empty: Arc<[u8]> = Arc::from([]);
            let mut all = vec![empty; count];
            for (number, bytes) in held {
                *all.get_mut(number).ok_or_else(bad_key)? = bytes;
            }
            let table = LicenseUsers::from_buckets(all);
            users.push((id, table.map_err(|bad| StoreError::damaged(bad.to_string()))?));
        }
        Ok(mirror.with_license_users(users, self.sighted))
    }
}

/// The license in a key behind its kind, and what follows.
fn license_of(key: &[u8]) -> Option<(LicenseId, &[u8])> {
    let (id, rest) = key.get(1..)?.split_first_chunk::<26>()?;
    Some((std::str::from_utf8(id).ok()?.parse().ok()?, rest))
}

fn bad_key() -> StoreError {
    StoreError::damaged("a key of a license's that is none")
}
