//! What of a copy stays that failed, or that nobody waits for.

use super::*;

#[tokio::test]
async fn of_a_copy_that_failed_or_was_cut_off_nothing_stays() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
    // A folder in its place: only the last step fails.
    let taken = folder.path().join("backup-1.part");
    std::fs::create_dir(&taken).unwrap();
    assert!(store.backup(&taken, now()).await.is_err());
    assert!(!taken.with_extension("tmp").exists());
    assert!(store.writable().is_ok() && !store.is_copying());
    // Whoever asked leaves, before or after it was made.
    let left = folder.path().join("backup-3.part");
    for _ in 0..3 {
        let mut asked = Box::pin(store.backup(&left, now()));
        if futures_util::poll!(&mut asked).is_ready() {
            std::fs::remove_file(&left).unwrap(); // he took it
        }
    }
    store.commit(mixed()).await.unwrap();
    assert!(!left.exists() && !left.with_extension("tmp").exists());
    std::fs::remove_dir(&taken).unwrap();
    store.close().await;
    drop(store);

    let path = |name: &str| folder.path().join("store").join(name);
    let left = ["backup-2.part", "backup-2.tmp", "exports/00000009.tmp"];
    for name in left {
        std::fs::write(path(name), b"signing keys").unwrap();
    }
    std::fs::write(path("backup.part"), b"somebody else's").unwrap();
    let (_store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
    assert!(left.iter().all(|it| !path(it).exists()) && path("backup.part").exists());
}

#[tokio::test]
async fn a_backup_that_would_fill_the_disk_is_not_begun() {
    let folder = folder();
    let options = StoreOptions { reserve: Some(u64::MAX / 2), ..StoreOptions::new(folder.path()) };
    let (store, _) = Store::open(options, now()).unwrap();
    let refused = store.backup(&folder.path().join("copy.ent"), now()).await;
    assert!(matches!(refused, Err(StoreError::DiskFull { .. })), "{refused:?}");
}
