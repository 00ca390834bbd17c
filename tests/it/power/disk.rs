//! A disk that forgets: a FUSE file system in this process with one image in it. Whatever of the
//! image was not synced can be dropped in one instant, as a power cut does.
//!
//! The image is mounted through a loop device as a real ext4, so what is cut is what ext4 really
//! does with a store's writes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

/// The size of the image.
const SIZE: usize = 96 << 20;

/// What survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Everything that reached the disk, its cache included.
    All,
    /// Only what the disk was told to sync.
    Synced,
}

#[derive(Default)]
struct Image {
    name: &'static str,
    live: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(usize, usize)>,
}

#[derive(Default)]
struct Images {
    /// Each image has a number of its own for ever, so that no cache mixes two up.
    by_number: BTreeMap<u64, Image>,
    next: u64,
}

impl Images {
    fn put(&mut self, name: &'static str, content: Vec<u8>) {
        self.by_number.retain(|_, it| it.name != name);
        self.next += 1;
        let synced = content.clone();
        let image = Image { name, live: content, synced, unsynced: Vec::new() };
        self.by_number.insert(1 + self.next, image);
    }

    fn named(&self, name: &str) -> Option<(u64, &Image)> {
        self.by_number.iter().find(|(_, it)| it.name == name).map(|(number, it)| (*number, it))
    }
}

/// The mounted file system.
pub(super) struct Disk {
    images: Arc<Mutex<Images>>,
    pristine: Vec<u8>,
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Mounts it at this empty folder.
    pub(super) fn mount(at: &Path) -> io::Result<Self> {
        // An in-memory file system without a limit once took all 22 GB of a machine.
        let limit = rustix::process::Rlimit { current: Some(3 << 30), maximum: Some(3 << 30) };
        rustix::process::setrlimit(rustix::process::Resource::As, limit)?;
        let images = Arc::new(Mutex::new(Images::default()));
        let mut config = Config::default();
        config.mount_options.push(MountOption::FSName("forgetful".into()));
        let session = fuser::spawn_mount(Served(Arc::clone(&images)), at, &config)?;
        let mut disk =
            Self { images, pristine: Vec::new(), at: at.to_owned(), session: Some(session) };
        disk.lock().put("disk.img", vec![0; SIZE]);
        super::run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", &disk.path("disk.img")]);
        let made = disk.lock().named("disk.img").unwrap().1.live.clone();
        disk.pristine = made;
        Ok(disk)
    }

    /// Where an image is.
    pub(super) fn path(&self, name: &str) -> String {
        self.at.join(name).to_str().unwrap().to_owned()
    }

    /// `disk.img` with nothing but an empty ext4 on it.
    pub(super) fn renew(&self) {
        self.lock().put("disk.img", self.pristine.clone());
    }

    /// Cuts the power of `disk.img`: `snap.img` is what is left.
    pub(super) fn cut(&self, cut: Cut) {
        let mut images = self.lock();
        let image = images.named("disk.img").unwrap().1;
        let left = match cut {
            Cut::All => image.live.clone(),
            Cut::Synced => image.synced.clone(),
        };
        images.put("snap.img", left);
    }

    fn lock(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(session.umount_and_join());
        }
    }
}

/// What the kernel talks to.
struct Served(Arc<Mutex<Images>>);

const NEVER: Duration = Duration::ZERO;

fn attributes(number: u64, bytes: usize, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: bytes as u64,
        blocks: bytes.div_ceil(512) as u64,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: if kind == FileType::Directory { 0o700 } else { 0o600 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    }
}

impl Served {
    fn attributes(&self, number: u64) -> Option<FileAttr> {
        if number == 1 {
            return Some(attributes(1, 0, FileType::Directory));
        }
        let images = self.0.lock().unwrap();
        let image = images.by_number.get(&number)?;
        Some(attributes(number, image.live.len(), FileType::RegularFile))
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let named = name.to_str().and_then(|name| Some(self.0.lock().unwrap().named(name)?.0));
        match named.and_then(|number| self.attributes(number)) {
            Some(found) => reply.entry(&NEVER, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino.0) {
            Some(found) => reply.attr(&NEVER, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Times and modes do not matter, and the size never changes.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(request, ino, handle, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let images = self.0.lock().unwrap();
        let Some(image) = images.by_number.get(&ino.0) else { return reply.error(Errno::EIO) };
        let from = usize::try_from(offset).unwrap().min(image.live.len());
        let to = (from + size as usize).min(image.live.len());
        reply.data(&image.live[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut images = self.0.lock().unwrap();
        let Some(image) = images.by_number.get_mut(&ino.0) else { return reply.error(Errno::EIO) };
        let from = usize::try_from(offset).unwrap();
        let to = from + bytes.len();
        let Some(place) = image.live.get_mut(from..to) else { return reply.error(Errno::ENOSPC) };
        place.copy_from_slice(bytes);
        image.unsynced.push((from, to));
        reply.written(u32::try_from(bytes.len()).unwrap());
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut images = self.0.lock().unwrap();
        let Some(image) = images.by_number.get_mut(&ino.0) else { return reply.error(Errno::EIO) };
        for (from, to) in std::mem::take(&mut image.unsynced) {
            image.synced[from..to].copy_from_slice(&image.live[from..to]);
        }
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, reply: ReplyDirectory) {
        reply.ok();
    }
}
