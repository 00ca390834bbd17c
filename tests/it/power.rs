//! Acknowledged writes survive: a process that is killed, and a disk whose power is cut.
//!
//! Needs root, `/dev/fuse` and loop devices. Without them the power cuts are skipped, and say so;
//! with `REQUIRE_POWERCUT=1` that is a failure.

mod child;
mod disk;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use entitled::store::Guard;

use self::child::Orders;
use self::disk::{Cut, Disk};

/// Does nothing when it is run as a test; the tests below start it in processes of their own.
#[test]
fn as_a_child() {
    let Ok(store) = std::env::var("POWER_STORE") else { return };
    let said = |name| std::env::var(name).unwrap_or_default();
    child::work(&Orders {
        store: store.into(),
        guard: if said("POWER_GUARD") == "off" { Guard::Off } else { Guard::On },
        acknowledged: said("POWER_ACKNOWLEDGED").into(),
        write: said("POWER_WRITE") == "1",
    });
}

/// A child process and what it has said so far.
struct Writer {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(store: &Path, guard: Guard, acknowledged: &Path, write: bool) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["power::as_a_child", "--exact", "--nocapture"])
            .env("POWER_STORE", store)
            .env("POWER_GUARD", if guard == Guard::Off { "off" } else { "on" })
            .env("POWER_ACKNOWLEDGED", acknowledged)
            .env("POWER_WRITE", if write { "1" } else { "0" })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let heard = Arc::clone(&said);
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Self { process, said, listener: Some(listener) }
    }

    /// What it has said so far: whole lines only, so that nothing counts that was cut short.
    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Ends it without a warning; returns all that it had said.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.wait()
    }

    fn wait(&mut self) -> Vec<String> {
        self.process.wait().unwrap();
        self.listener.take().unwrap().join().unwrap();
        self.said()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn acknowledged(said: &[String]) -> Vec<String> {
    let words = ["seat ", "subscription ", "generation "];
    let is_one = |line: &&String| words.iter().any(|word| line.starts_with(word));
    said.iter().filter(is_one).cloned().collect()
}

fn verdict(said: &[String]) -> String {
    let found = said.iter().find_map(|line| line.strip_prefix("verdict "));
    found.unwrap_or("nothing was said").to_owned()
}

fn write_lines(path: &Path, lines: &[String]) {
    let text = if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" };
    fs::write(path, text).unwrap();
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn between(&mut self, low: u64, high: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(low + self.0 % (high - low))
    }
}

#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let (file, mut dice) = (folder.path().join("acknowledged"), Dice(7));
    let (mut all, mut total) = (Vec::new(), 0);
    for cycle in 0..200 {
        // A new store now and then: the first moments of one are the most delicate.
        let store = folder.path().join(format!("store-{}", cycle / 25));
        if cycle % 25 == 0 {
            all.clear();
        }
        write_lines(&file, &all);
        let writer = Writer::start(&store, Guard::On, &file, true);
        thread::sleep(dice.between(60, 400));
        let said = writer.kill();
        // One that was killed before it had looked has no verdict; the next one looks again.
        let verdict = verdict(&said);
        assert!(["ok", "nothing was said"].contains(&verdict.as_str()), "{cycle}: {verdict}");
        let new = acknowledged(&said);
        total += new.len();
        all.extend(new);
    }
    println!("200 kills, {total} acknowledged writes, none lost");
    assert!(total > 2_000, "only {total} writes were acknowledged: the test saw too little");
}

#[test]
fn power_cuts_lose_no_acknowledged_write_and_without_the_guard_they_do() {
    let Some(bench) = Bench::new() else { return };
    let mut dice = Dice(11);
    let mut total = 0;
    for cycle in 0..40 {
        let cut = if cycle % 2 == 0 { Cut::All } else { Cut::Synced };
        let (acknowledged, verdict) = bench.cycle(Guard::On, cut, dice.between(300, 1_300));
        assert_eq!(verdict, "ok", "cycle {cycle}, {cut:?}, {acknowledged} acknowledged");
        total += acknowledged;
    }
    println!("40 power cuts, {total} acknowledged writes, none lost");
    assert!(total > 2_000, "only {total} writes were acknowledged: the test saw too little");

    let mut lost = 0;
    for _ in 0..10 {
        let (acknowledged, verdict) = bench.cycle(Guard::Off, Cut::All, dice.between(300, 1_300));
        println!("without the guard, {acknowledged} acknowledged: {verdict}");
        lost += usize::from(verdict != "ok");
    }
    assert!(lost >= 5, "without the guard only {lost} of 10 cuts lost anything: the test is blind");
}

/// Everything that a power cut needs.
struct Bench {
    disk: Disk,
    folder: tempfile::TempDir,
}

impl Bench {
    /// `None`, with a word about it, where the machine cannot do it.
    fn new() -> Option<Self> {
        let lacks = lacking();
        if let Some(what) = lacks {
            let required = std::env::var("REQUIRE_POWERCUT").is_ok_and(|it| it == "1");
            assert!(!required, "REQUIRE_POWERCUT=1, but {what}");
            println!("SKIPPED: no power was cut, because {what}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["disk", "running", "after"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let disk = Disk::mount(&folder.path().join("disk")).unwrap();
        Some(Self { disk, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets a child write to a new disk, cuts the power, and looks at what is left.
    fn cycle(&self, guard: Guard, cut: Cut, time: Duration) -> (usize, String) {
        self.disk.renew();
        let file = self.path("acknowledged");
        let running = Mounted::new(&self.disk.path("disk.img"), self.path("running"));
        let nothing = self.path("nothing");
        let writer = Writer::start(&running.0.join("store"), guard, &nothing, true);
        thread::sleep(time);
        // What was said before the cut must be there after it.
        let said = writer.said();
        self.disk.cut(cut);
        drop(writer.kill());
        drop(running);
        let acknowledged = acknowledged(&said);
        write_lines(&file, &acknowledged);

        let after = Mounted::new(&self.disk.path("snap.img"), self.path("after"));
        let store = after.0.join("store");
        if acknowledged.is_empty() && !child::is_store(&store) {
            return (0, "ok".to_owned());
        }
        let said = Writer::start(&store, guard, &file, false).wait();
        (acknowledged.len(), verdict(&said))
    }
}

/// What the machine lacks for cutting power.
fn lacking() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("this is not root");
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices");
    }
    let has = |tool: &str| {
        let mut command = Command::new(tool);
        command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if ["mkfs.ext4", "mount", "umount"].iter().any(|tool| !has(tool)) {
        return Some("mkfs.ext4, mount or umount is missing");
    }
    None
}

/// A mounted image; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &str, at: PathBuf) -> Self {
        run("mount", &["-o", "loop", image, at.to_str().unwrap()]);
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmount = |how: &[&str]| {
            let done = Command::new("umount").args(how).arg(&self.0).stderr(Stdio::null()).status();
            done.is_ok_and(|it| it.success())
        };
        let tries = (0..100).any(|_| {
            unmount(&[]) || {
                thread::sleep(Duration::from_millis(20));
                false
            }
        });
        if !tries {
            unmount(&["-l"]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
}
