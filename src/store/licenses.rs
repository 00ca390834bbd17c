//! Licenses of the publisher in the store: what is decided inside the thread that writes, codes that
//! are drawn, and how licenses are read back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::committer::Job;
use super::layout::Kind;
use super::record::{self, ActivationV1, LicenseV1, PackagedV1, SightingsV1};
use super::{Store, StoreError, UsageReceipt, UsageRepeat};
use crate::domain::{
    ActivationId, ActivationKey, ActivationWrite, Cause, Change, Commit, HeldSeat, LicenseId,
    LicenseUser, LicenseUsers, Mirror, Notice, PlaceRequest, SeatOutcome, Sightings,
};

/// What is made of the newest mirror, and what is to be answered to whoever repeats himself.
pub(super) type Decide = Box<dyn FnOnce(&Mirror) -> (Option<Commit>, Option<Vec<u8>>) + Send>;

/// Something to decide on the thread that writes.
pub(super) struct DecideJob {
    pub(super) decide: Decide,
    /// The idempotency key, and when it came.
    pub(super) repeat: Option<(UsageRepeat, Timestamp)>,
}

/// What became of it.
pub(super) enum Decided {
    /// It was decided now.
    Now,
    /// It was decided before: this was answered, or it is on disk.
    Before(Option<Arc<[u8]>>),
    /// The idempotency key came with another body.
    OtherBody,
    /// Too many idempotency keys are remembered.
    Full,
}

/// What became of a request that may be a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once<E> {
    /// It was decided now, and this is answered.
    Now(Result<Vec<u8>, E>),
    /// It was decided before, and this was answered.
    Before(Arc<[u8]>),
    /// The idempotency key came before with another body.
    OtherBody,
    /// Too many idempotency keys are remembered.
    Full,
}

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
            (commit, None)
        });
        self.ask(|reply| Job::Decide(DecideJob { decide, repeat: None }, reply)).await?;
        let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or(StoreError::Closed)
    }

    /// As [`Self::decide`] for what nobody waits for. What finds the queue full or the store closed is not
    /// done: only for what comes up again by itself.
    pub fn decide_unheard(&self, decide: impl FnOnce(&Mirror) -> Option<Commit> + Send + 'static) {
        let (reply, _nobody_waits) = oneshot::channel();
        let decide: Decide = Box::new(move |mirror| (decide(mirror), None));
        drop(self.jobs.try_send(Job::Decide(DecideJob { decide, repeat: None }, reply)));
    }

    /// As [`Self::decide`], but the same request again is not decided again: what was answered first
    /// is remembered for [`ANSWERS_KEPT`](super::ANSWERS_KEPT), in the same commit. A refusal is not
    /// remembered.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn decide_once<E: Send + 'static>(
        &self,
        repeat: Option<UsageRepeat>,
        now: Timestamp,
        decide: impl FnOnce(&Mirror) -> Result<(Option<Commit>, Vec<u8>), E> + Send + 'static,
    ) -> Result<Once<E>, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        let said = Arc::clone(&slot);
        let decide: Decide = Box::new(move |mirror| {
            let (commit, answer) = match decide(mirror) {
                Ok((commit, answer)) => (commit, Ok(answer)),
                Err(refused) => (None, Err(refused)),
            };
            let remembered = answer.as_ref().ok().cloned();
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            (commit, remembered)
        });
        let job = DecideJob { decide, repeat: repeat.map(|it| (it, now)) };
        match (self.ask(|reply| Job::Decide(job, reply)).await?, repeat) {
            (Decided::Now, _) => {
                let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                answer.map(Once::Now).ok_or(StoreError::Closed)
            }
            (Decided::Before(Some(answer)), _) => Ok(Once::Before(answer)),
            (Decided::Before(None), Some(repeat)) => Ok(match self.usage_answer(repeat)? {
                Some(UsageReceipt::Again(answer)) => Once::Before(answer),
                Some(UsageReceipt::OtherBody) => Once::OtherBody,
                // It was forgotten in between, after a day: nobody can know what was said.
                Some(UsageReceipt::Done { .. } | UsageReceipt::Full) | None => Once::Full,
            }),
            (Decided::Before(None) | Decided::Full, _) => Ok(Once::Full),
            (Decided::OtherBody, _) => Ok(Once::OtherBody),
        }
    }

    /// Gives a user a place among those of a license, or notes that he came again: never more than
    /// there are, however many ask at once.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn take_place(&self, it: PlaceRequest) -> Result<SeatOutcome, StoreError> {
        self.decide(move |mirror| {
            let users = mirror.licenses().users(it.license);
            let max = it.quantity.unwrap_or(u64::MAX);
            let before =
                users.map_or(0, |all| all.before(Some(it.user), max, it.release_after, it.now));
            if before >= max {
                return (None, SeatOutcome::NoneFree);
            }
            let last = users.and_then(|all| all.seat(it.user));
            let kept =
                last.filter(|seat| it.now.duration_since(seat.last_used) <= it.release_after);
            let taken_at = kept.map_or(it.now, |seat| seat.taken_at);
            let seat = HeldSeat { taken_at, last_used: it.now };
            let license = mirror.licenses().license(it.license).filter(|_| kept.is_none());
            let crossed = license.filter(|license| {
                let users = |max| {
                    users.map_or(0, |all| all.before(Some(it.user), max, it.release_after, it.now))
                };
                license.max_users().is_some_and(|max| users(max) == max)
            });
            let over = crossed.map(|license| {
                let users = license.max_users().unwrap_or_default().saturating_add(1);
                Notice::license_over_limit(license, users, Some(it.user), it.now)
            });
            let change = match it.user {
                LicenseUser::Known(tenant, user) if kept.is_none() => {
                    let who = (tenant, user);
                    Some(Change::of_place(it.now, it.cause, it.license, who, last, Some(seat)))
                }
                LicenseUser::Known(..) | LicenseUser::Anonymous(_) => None,
            };
            let commit = Commit {
                license_users: vec![(it.license, vec![(it.user, Some(seat))])],
                changes: change.into_iter().collect(),
                notices: over.into_iter().collect(),
                ..Commit::default()
            };
            (Some(commit), SeatOutcome::Holds)
        })
        .await
    }

    /// Takes the places of users off the disk who no longer come, and says how many: those of
    /// anonymous users once their id can no longer live, of others after `release_after`.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`]; what was taken off stays so.
    pub async fn release_places(
        &self,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mirror = self.snapshot();
        let due = mirror.licenses().all_users();
        let due = due.filter(|(_, all)| !all.released(release_after, now, 1).is_empty());
        let due: Vec<LicenseId> = due.map(|(id, _)| id).collect();
        let mut released = 0;
        for license in due {
            loop {
                let gone =
                    self.decide(move |mirror| released_of(mirror, license, release_after, now));
                let gone = gone.await?;
                released += gone;
                if gone < RELEASED_AT_ONCE {
                    break;
                }
            }
        }
        Ok(released)
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
        self.digester(purpose).of(bytes)
    }

    /// What makes the digests of [`Self::keyed`] for one purpose, for whoever makes many. The secret
    /// behind it never changes.
    pub fn digester(&self, purpose: &str) -> Digester {
        let secret = self.keys().pseudonym_secret();
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), purpose.as_bytes());
        Digester(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }
}

/// Makes keyed digests for one purpose.
#[derive(Clone)]
pub struct Digester(hmac::Key);

impl Digester {
    /// The digest of these bytes.
    pub fn of(&self, bytes: &[u8]) -> [u8; 32] {
        hmac::sign(&self.0, bytes).as_ref().try_into().unwrap_or_default()
    }
}

/// Shows nothing of the key.
impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

/// How many places go in one commit: others get their turn in between.
const RELEASED_AT_ONCE: usize = 1_000;

/// What the journal says of anonymous users is only how many they were.
fn released_of(
    mirror: &Mirror,
    license: LicenseId,
    release_after: SignedDuration,
    now: Timestamp,
) -> (Option<Commit>, usize) {
    let users = mirror.licenses().users(license);
    let gone =
        users.map(|it| it.released(release_after, now, RELEASED_AT_ONCE)).unwrap_or_default();
    if gone.is_empty() {
        return (None, 0);
    }
    let mut changes: Vec<Change> = Vec::new();
    let mut anonymous = 0;
    for (user, seat) in &gone {
        match user {
            LicenseUser::Known(tenant, user) => {
                let (who, cause) = ((*tenant, *user), Cause::Schedule);
                changes.push(Change::of_place(now, cause, license, who, Some(*seat), None));
            }
            LicenseUser::Anonymous(_) => anonymous += 1,
        }
    }
    if anonymous > 0 {
        changes.push(Change::of_anonymous_places(now, Cause::Schedule, license, anonymous));
    }
    let count = gone.len();
    let license_users = vec![(license, gone.into_iter().map(|(user, _)| (user, None)).collect())];
    (Some(Commit { license_users, changes, ..Commit::default() }), count)
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
            if kind == Kind::Packaged {
                let it = record::decode::<PackagedV1>(kind, payload)?.try_into()?;
                commit.packaged.push((id, it));
            } else if kind == Kind::Sightings {
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
