//! The keys that sign our answers, in a file beside the database: they outlive a damaged one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::folder;

/// One key that signs, or signed, our answers.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name in token headers: the beginning of the public key's SHA-256, in base64url.
    pub kid: String,
    /// When it was made.
    pub created: Timestamp,
    /// When another took its place; `None` for the one that signs now.
    pub retired: Option<Timestamp>,
    /// Whether it signed packages: customers keep those for years, so such a key is never
    /// forgotten.
    pub signed_packages: bool,
    /// The private key, PKCS #8. A secret.
    pub pkcs8: Vec<u8>,
    /// The public key's point on P-256: x and y, big-endian.
    pub public: ([u8; 32], [u8; 32]),
}

/// Shows nothing of the private key.
impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("KeyRecord");
        shown.field("kid", &self.kid).field("created", &self.created);
        shown.field("retired", &self.retired).finish_non_exhaustive()
    }
}

impl KeyRecord {
    fn new(now: Timestamp) -> Result<Self, StoreError> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = made.map_err(|error| key("make", &error))?.as_ref().to_vec();
        Self::of(pkcs8, now)
    }

    fn of(pkcs8: Vec<u8>, created: Timestamp) -> Result<Self, StoreError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|error| key("read", &error))?;
        let point = pair.public_key().as_ref();
        let public = point.strip_prefix(&[4]).and_then(|it| {
            let (x, y) = it.split_first_chunk::<32>()?;
            Some((*x, y.try_into().ok()?))
        });
        let public = public.ok_or_else(|| key("read", &"it is no point on P-256"))?;
        let name = URL_SAFE_NO_PAD.encode(digest(&SHA256, point));
        let kid = name.chars().take(16).collect();
        Ok(Self { kid, created, retired: None, signed_packages: false, pkcs8, public })
    }
}

fn key(doing: &'static str, why: &impl std::fmt::Display) -> StoreError {
    StoreError::Key { doing, why: why.to_string() }
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredKey {
    created: Timestamp,
    retired: Option<Timestamp>,
    #[serde(default)]
    signed_packages: bool,
    pkcs8: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredRing {
    version: u16,
    pseudonym_secret: String,
    keys: Vec<StoredKey>,
    #[serde(default)]
    next: Option<StoredKey>,
}

#[derive(Clone)]
struct Ring {
    pseudonym_secret: [u8; 32],
    /// Oldest first.
    retired: Vec<KeyRecord>,
    current: KeyRecord,
    /// Published already, so that caches know it by the time it signs.
    next: Option<KeyRecord>,
}

impl Ring {
    fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.retired.iter().chain([&self.current])
    }

    fn sign_by(&mut self, key: KeyRecord, now: Timestamp) {
        let before = std::mem::replace(&mut self.current, key);
        self.retired.push(KeyRecord { retired: Some(now), ..before });
        self.next = None;
    }
}

/// The keys that sign our answers, and the secret that names users in them.
pub struct KeyRing {
    path: PathBuf,
    ring: Mutex<Ring>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.list()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The file's name in the store's folder.
    pub(super) const FILE: &str = "signing-keys.json";

    /// The ring in this file; a new one, written at once, if there is none. A file that cannot be
    /// understood is moved aside, and its new place returned.
    pub(super) fn open(path: &Path, now: Timestamp) -> Result<(Self, Option<PathBuf>), StoreError> {
        let found = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::folder("read", path)(error)),
        };
        let mut aside = None;
        let ring = match found.map(|bytes| decode(&bytes)) {
            Some(Ok(ring)) => ring,
            Some(Err(error @ StoreError::Newer { .. })) => return Err(error),
            Some(Err(_unreadable)) => {
                let to = path.with_extension(format!("damaged-{}", now.as_second()));
                fs::rename(path, &to).map_err(StoreError::folder("move", path))?;
                aside = Some(to);
                Self::first(path, now)?
            }
            None => Self::first(path, now)?,
        };
        Ok((Self { path: path.to_owned(), ring: Mutex::new(ring) }, aside))
    }

    fn first(path: &Path, now: Timestamp) -> Result<Ring, StoreError> {
        let mut pseudonym_secret = [0; 32];
        aws_lc_rs::rand::fill(&mut pseudonym_secret).map_err(|error| key("make", &error))?;
        let current = KeyRecord::new(now)?;
        let ring = Ring { pseudonym_secret, retired: Vec::new(), current, next: None };
        write(path, &ring)?;
        Ok(ring)
    }

    /// All keys that sign or signed, oldest first; the last one signs.
    pub fn list(&self) -> Vec<KeyRecord> {
        self.lock().keys().cloned().collect()
    }

    /// All keys, oldest first, with the one that will sign next.
    pub fn published(&self) -> Vec<KeyRecord> {
        let ring = self.lock();
        ring.keys().chain(&ring.next).cloned().collect()
    }

    /// The key that will sign next, if it was announced.
    pub fn next(&self) -> Option<KeyRecord> {
        self.lock().next.clone()
    }

    /// The key that signs.
    pub fn current(&self) -> KeyRecord {
        self.lock().current.clone()
    }

    /// Makes a new key that signs from now on; the one before stays to verify what it signed. A key
    /// that was announced is dropped: whoever rotates by hand may have lost this file. Blocking:
    /// returns once the new key is on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ring is then as before.
    pub fn rotate(&self, now: Timestamp) -> Result<KeyRecord, StoreError> {
        let made = KeyRecord::new(now)?;
        self.change(|ring| ring.sign_by(made.clone(), now))?;
        Ok(made)
    }

    /// Makes the key that will sign next, to be published from now on. Blocking: returns once it is
    /// on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ring is then as before.
    pub fn announce(&self, now: Timestamp) -> Result<KeyRecord, StoreError> {
        let made = KeyRecord::new(now)?;
        self.change(|ring| ring.next = Some(made.clone()))?;
        Ok(made)
    }

    /// Lets the key that was announced sign from now on; `None` if there is none. Blocking.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ring is then as before.
    pub fn promote(&self, now: Timestamp) -> Result<Option<KeyRecord>, StoreError> {
        let Some(next) = self.next() else { return Ok(None) };
        self.change(|ring| ring.sign_by(next.clone(), now))?;
        Ok(Some(next))
    }

    /// The key that signs, noted as one that signs packages from now on. Blocking: the note is on
    /// disk before the key is handed out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ring is then as before.
    pub fn for_packages(&self) -> Result<KeyRecord, StoreError> {
        if !self.lock().current.signed_packages {
            self.change(|ring| ring.current.signed_packages = true)?;
        }
        Ok(self.current())
    }

    /// Forgets keys that were retired before this moment, but for those that signed packages;
    /// returns how many. Blocking.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ring is then as before.
    pub fn prune(&self, retired_before: Timestamp) -> Result<usize, StoreError> {
        let stays =
            |it: &KeyRecord| it.signed_packages || it.retired.is_none_or(|it| it >= retired_before);
        let gone = self.lock().retired.iter().filter(|it| !stays(it)).count();
        if gone > 0 {
            self.change(|ring| ring.retired.retain(stays))?;
        }
        Ok(gone)
    }

    /// The secret from which the pseudonyms of users in our tokens are made.
    pub fn pseudonym_secret(&self) -> [u8; 32] {
        self.lock().pseudonym_secret
    }

    fn change(&self, change: impl FnOnce(&mut Ring)) -> Result<(), StoreError> {
        let mut ring = self.lock();
        let mut next = ring.clone();
        change(&mut next);
        write(&self.path, &next)?;
        *ring = next;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, ring: &Ring) -> Result<(), StoreError> {
    let stored = |it: &KeyRecord| StoredKey {
        created: it.created,
        retired: it.retired,
        signed_packages: it.signed_packages,
        pkcs8: URL_SAFE_NO_PAD.encode(&it.pkcs8),
    };
    let stored = StoredRing {
        version: 1,
        pseudonym_secret: URL_SAFE_NO_PAD.encode(ring.pseudonym_secret),
        keys: ring.keys().map(stored).collect(),
        next: ring.next.as_ref().map(stored),
    };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| key("write", &error))?;
    folder::write_private(path, &bytes)
}

fn decode(bytes: &[u8]) -> Result<Ring, StoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u16,
    }
    let Version { version } = serde_json::from_slice(bytes).map_err(|error| key("read", &error))?;
    if version > 1 {
        return Err(StoreError::Newer { found: version, known: 1 });
    }
    let stored: StoredRing = serde_json::from_slice(bytes).map_err(|error| key("read", &error))?;
    let base64 = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| key("read", &error));
    let secret: Result<[u8; 32], _> = base64(&stored.pseudonym_secret)?.try_into();
    let pseudonym_secret = secret.map_err(|_length| key("read", &"its secret is cut short"))?;
    let read = |it: StoredKey| {
        let read = KeyRecord::of(base64(&it.pkcs8)?, it.created)?;
        let StoredKey { retired, signed_packages, .. } = it;
        Ok::<_, StoreError>(KeyRecord { retired, signed_packages, ..read })
    };
    let mut retired = stored.keys.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let current = retired.pop().ok_or_else(|| key("read", &"the file holds none"))?;
    let next = stored.next.map(read).transpose()?;
    Ok(Ring { pseudonym_secret, retired, current, next })
}
