//! A store that cannot be used as it is: damaged, locked, full, not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use entitled::domain::{Commit, Document, SourceKey};
use entitled::store::{Guard, Opened, RunFilter, Store, StoreError, StoreOptions};

type Content = std::collections::BTreeMap<String, String>;

use super::{content, everyone, folder, mixed, now, open, options, tenant, users};

/// A closed store with an export; returns what was in it.
async fn closed(path: &Path) -> Content {
    let (store, _) = open(path);
    store.commit(mixed()).await.unwrap();
    for generation in 2..40 {
        // Enough for several segments of the engine's log, some of them with nothing live in them.
        store.commit(users(tenant(2), everyone(600, generation))).await.unwrap();
    }
    let before = content(&store.mirror());
    store.close().await;
    before
}

fn database(path: &Path) -> PathBuf {
    path.join("store/mirror/db")
}

/// What must be the same when cursors were forgotten.
fn rights(content: &Content) -> Vec<(&String, &String)> {
    let is_cursor = |key: &str| key.starts_with("directory ") || key.starts_with("source ");
    content.iter().filter(|(key, _)| !is_cursor(key)).collect()
}

#[tokio::test]
async fn a_damaged_database_is_moved_aside_and_the_export_takes_its_place() {
    let folder = folder();
    let before = closed(folder.path()).await;
    let keys = fs::read(folder.path().join("store/signing-keys.json")).unwrap();
    fs::write(database(folder.path()), vec![0xa5; 1 << 20]).unwrap();

    let (store, opened) = open(folder.path());
    let Opened::Rebuilt { quarantine, export, .. } = opened else { panic!("{opened:?}") };
    let quarantine = quarantine.unwrap();
    assert!(quarantine.join("db").exists());
    assert!(export.is_some());
    let mirror = store.snapshot();
    assert_same(&content(&mirror), &before, "rebuilt");
    for key in [SourceKey::SUBSCRIPTIONS, SourceKey::directory(tenant(1))] {
        let state = mirror.source(key).unwrap();
        assert_eq!((&state.cursor, state.last_full), (&None, None), "the next read is a full one");
        assert_eq!(state.last_complete, Some(now()), "and how old the facts are is still known");
    }
    assert_eq!(fs::read(folder.path().join("store/signing-keys.json")).unwrap(), keys);
    assert_eq!(store.runs(&RunFilter::default()).unwrap().len(), 1);
    store.commit(users(tenant(2), everyone(5, 9))).await.unwrap();
    drop(store);
    let (_, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded, "once is enough");
}

#[tokio::test]
async fn a_lost_database_is_a_loss_and_not_a_new_store() {
    let folder = folder();
    let before = closed(folder.path()).await;
    fs::remove_dir_all(folder.path().join("store/mirror")).unwrap();
    let (store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Rebuilt { export: Some(_), .. }), "{opened:?}");
    assert_same(&content(&store.mirror()), &before, "rebuilt");
}

#[tokio::test]
async fn a_damaged_export_is_passed_over_for_an_older_one() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
    store.export(now()).await.unwrap();
    let older = content(&store.mirror());
    store.commit(users(tenant(2), everyone(10, 2))).await.unwrap();
    let newer = store.export(now()).await.unwrap();
    drop(store);
    let mut bytes = fs::read(&newer.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newer.path, bytes).unwrap();
    fs::write(database(folder.path()), b"junk").unwrap();
    let (store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Rebuilt { export: Some(_), .. }), "{opened:?}");
    assert_same(&content(&store.mirror()), &older, "rebuilt");
}

#[tokio::test]
async fn seven_exports_are_kept() {
    let folder = folder();
    let (store, _) = open(folder.path());
    for _ in 0..9 {
        store.export(now()).await.unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(folder.path().join("store/exports"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 7);
    assert_eq!((names[0].as_str(), names[6].as_str()), ("00000003.ent", "00000009.ent"));
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0).unwrap() % most
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Says where two contents differ, shortly.
fn assert_same(found: &Content, expected: &Content, what: &str) {
    let (found, expected) = (rights(found), rights(expected));
    let differing = found.iter().filter(|it| !expected.contains(it)).take(3);
    let short: Vec<String> =
        differing.map(|(key, it)| format!("{key}: {:.200}", it.as_str())).collect();
    let counts = (found.len(), expected.len());
    assert!(found == expected, "{what}: {counts:?} facts, differing {short:?}");
}

/// Opens a copy of a store whose database was changed, and says whether the change was found out.
/// Whichever it is, what is answered from must be what was written.
fn check(base: &Path, expected: &Content, what: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
    let folder = folder();
    copy(&base.join("store"), &folder.path().join("store"));
    let mut bytes = fs::read(database(folder.path())).unwrap();
    change(&mut bytes);
    fs::write(database(folder.path()), bytes).unwrap();
    let (store, opened) = open(folder.path());
    assert_same(&content(&store.mirror()), expected, &format!("{what}: {opened:?}"));
    if let Opened::Rebuilt { why, .. } = &opened {
        println!("{what}: {why:.90}");
    }
    match opened {
        Opened::Loaded => {
            assert!(content(&store.mirror()) == *expected, "{what}");
            assert_eq!(store.runs(&RunFilter::default()).unwrap().len(), 1, "{what}");
            false
        }
        Opened::Rebuilt { export, .. } => export.is_some(),
        Opened::Fresh => panic!("{what}: taken for a new store"),
    }
}

#[tokio::test]
async fn flipped_bits_zeroed_pages_and_truncations_are_found_out_or_harmless() {
    let base = folder();
    let expected = closed(base.path()).await;
    let length = fs::metadata(database(base.path())).unwrap().len().try_into().unwrap();
    assert!(!check(base.path(), &expected, "a mere copy", |_| ()), "nothing was changed");
    let mut dice = Dice(5);
    let mut found = [0; 3];
    for n in 0..100 {
        let (at, bit) = (dice.below(length), dice.below(8));
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << bit;
        found[0] += usize::from(check(base.path(), &expected, &format!("bit {n} {at}"), flip));
    }
    for n in 0..30 {
        let at = dice.below(length / 4_096) * 4_096;
        let zero = |bytes: &mut Vec<u8>| bytes[at..][..4_096].fill(0);
        found[1] += usize::from(check(base.path(), &expected, &format!("page {n} {at}"), zero));
        let keep = dice.below(length);
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(keep);
        found[2] += usize::from(check(base.path(), &expected, &format!("cut {n} {keep}"), cut));
    }
    println!(
        "found out: {} of 100 bits, {} of 30 pages, {} of 30 cuts",
        found[0], found[1], found[2]
    );
    assert!(found[2] > 15, "truncation goes unnoticed");
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_harms_nothing() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
    let before = content(&store.mirror());
    let second = Store::open(options(folder.path()), now());
    let Err(StoreError::AlreadyRunning { .. }) = &second else { panic!("{second:?}") };
    assert!(second.unwrap_err().to_string().contains("already running"));
    store.commit(Commit::default()).await.unwrap();
    drop(store);
    let (store, opened) = open(folder.path());
    assert_eq!((opened, content(&store.mirror())), (Opened::Loaded, before));
}

/// Lists what others may look into.
fn look(path: &Path, wrong: &mut Vec<String>) {
    let metadata = fs::metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o777;
    let right = if metadata.is_dir() { 0o700 } else { 0o600 };
    if mode != right {
        wrong.push(format!("{} {mode:o}", path.display()));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(&entry.unwrap().path(), wrong);
        }
    }
}

#[test]
fn the_folder_and_its_files_are_for_nobody_else() {
    let folder = folder();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let (opened, _) = open(folder.path());
    drop(opened);
    let mut wrong = Vec::new();
    look(&store, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let folder = folder();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(store.join("holiday.jpg"), b"x").unwrap();
    let error = Store::open(options(folder.path()), now()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }), "{error}");
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_place_that_cannot_be_a_folder_says_what_to_do() {
    let folder = folder();
    fs::write(folder.path().join("store"), b"a file").unwrap();
    let error = Store::open(options(folder.path()), now()).unwrap_err().to_string();
    assert!(error.contains("[store] path"), "{error}");
    let error = Store::open(StoreOptions::new("/proc/entitled"), now()).unwrap_err().to_string();
    assert!(error.contains("/proc/entitled"), "{error}");
}

#[tokio::test]
async fn a_store_of_a_newer_layout_is_refused_and_left_as_it_is() {
    let folder = folder();
    closed(folder.path()).await;
    let format = folder.path().join("store/format");
    fs::write(&format, "2").unwrap();
    let error = Store::open(options(folder.path()), now()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");
    fs::write(&format, "1").unwrap();
    let (_, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_moved_aside() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let before = store.keys().current();
    drop(store);
    fs::write(folder.path().join("store/signing-keys.json"), b"{ torn").unwrap();
    let (store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
    assert_ne!(store.keys().current(), before);
    let moved = store.report().keys_moved.unwrap();
    assert_eq!(fs::read(moved).unwrap(), b"{ torn");
}

#[tokio::test]
async fn the_guard_is_in_force_and_shown() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let guard = store.report().guard;
    assert_eq!((guard.guard, guard.seccomp), (Guard::On, Some(2)));
}

#[tokio::test]
async fn too_little_free_space_stops_writes_before_the_disk_is_full() {
    let folder = folder();
    let all = StoreOptions { reserve: Some(u64::MAX), ..options(folder.path()) };
    let (store, _) = Store::open(all, now()).unwrap();
    let error = store.commit(mixed()).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(store.writable().is_err());
    assert!(store.report().refused.is_some());
    assert_eq!(content(&store.mirror()), content(&entitled::domain::Mirror::default()));
    store.close().await;
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
}

/// A small disk of its own, which needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=24m", "none"];
        let done = Command::new("mount").args(options).arg(&at).output().ok()?;
        done.status.success().then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_stops_writes_for_good_and_loses_nothing_acknowledged() {
    let folder = folder();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else {
        return println!("SKIPPED: a tmpfs cannot be mounted here");
    };
    let (store, _) = open(&disk.0);
    store.commit(users(tenant(1), everyone(4_000, 1))).await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        // The engine uses space again, so it is new documents that fill it.
        let name = acknowledged.to_string().into();
        let documents = vec![Document { name, bytes: vec![7; 3_000] }];
        match store.commit(Commit { documents, ..Commit::default() }).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 20_000, "the disk never fills");
    };
    println!("{acknowledged} acknowledged, then: {error}");
    let mirror = store.snapshot();
    assert_eq!(mirror.tenant(tenant(1)).unwrap().users.len(), 4_000, "reads go on");
    assert_eq!(mirror.documents().count(), acknowledged);
    let (writable, again) = (store.writable(), store.commit(mixed()).await);
    if matches!(error, StoreError::WriteFailed { .. }) {
        let (writable, again) = (writable.unwrap_err(), again.unwrap_err());
        assert!(matches!(writable, StoreError::WriteFailed { .. }), "{writable}");
        assert!(matches!(again, StoreError::WriteFailed { .. }), "{again}");
    } else {
        // The guard refused before the engine did; the engine may have made room meanwhile.
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    }
    let mirror = store.snapshot();
    let before = content(&mirror);
    drop(store);
    let more = Command::new("mount").args(["-o", "remount,size=96m"]).arg(&disk.0).status();
    assert!(more.unwrap().success());
    let (store, opened) = open(&disk.0);
    assert_eq!(opened, Opened::Loaded);
    assert_same(&content(&store.mirror()), &before, "after the disk was full");
    store.commit(users(tenant(1), everyone(10, 7))).await.unwrap();
}
