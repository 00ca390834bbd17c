//! What the figures share: a mirror of any size, a way to print, a generator of numbers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use entitled::domain::{
    CapabilityStatus, Catalog, Channel, Cloud, Commit, Consent, Coverage, GroupId, HybridMode,
    Licence, Path, PathState, Plan, Product, ServicePlan, ServicePlanId, Sku, SkuId, SourceKey,
    SourceState, Tenant, TenantId, TenantUsers, Units, UserId, UserLicences, UserTable, UserWrites,
    Via,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub const SERVICE_ID: &str = "vizmaker.synoptic.team";
pub const SKU: Uuid = Uuid::from_u128(0x5c00_0000_aaaa_4000_8000_0000_0000_000a);

/// `SplitMix64`: the same numbers in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

pub fn tenant(number: usize) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(0x7e00_0000_0000_4000_8000_0000_0000_0000 + number as u128))
        .unwrap()
}

/// A user id as Entra makes them: spread over all 128 bits.
pub fn user(tenant: usize, number: usize) -> UserId {
    let mut numbers = Numbers((tenant as u64) << 32 ^ number as u64);
    let high = u128::from(numbers.next()) << 64;
    UserId::from_uuid(Uuid::from_u128(high | u128::from(numbers.next())))
}

pub fn product() -> Product {
    Product {
        id: "synoptic-panel".parse().unwrap(),
        name: "Synoptic Panel".into(),
        hybrid: HybridMode::None,
        features: [(Channel::Appsource, ["maps".into()].into())].into(),
        plans: vec![Plan {
            service_id: SERVICE_ID.parse().unwrap(),
            channel: Channel::Appsource,
            coverage: Coverage::Tenant,
            features: ["maps".into()].into(),
            sku_ids: Vec::new(),
            service_plan_ids: Vec::new(),
            release_after: SignedDuration::from_hours(30 * 24),
        }],
    }
}

pub fn catalog() -> Catalog {
    Catalog::new([product()])
}

/// One tenant, read completely `now`, whose users all hold the product through one of `groups`
/// groups (or directly, if there are none).
pub fn commit(number: usize, users: usize, groups: usize, now: Timestamp) -> Commit {
    let id = tenant(number);
    let plan = ServicePlanId::from_uuid(Uuid::from_u128(9));
    let sku = Sku {
        id: SkuId::from_uuid(SKU),
        part_number: "VIZMAKER_SYNOPTIC".into(),
        status: CapabilityStatus::Enabled,
        service_plans: vec![ServicePlan { id: plan, name: SERVICE_ID.into() }],
        units: Units { enabled: users as u32, consumed: users as u32, ..Units::default() },
        next_lifecycle: None,
        missing_since: None,
    };
    let holds = |index: usize| {
        let via = match groups {
            0 => Via::Direct,
            _ => Via::Group(GroupId::from_uuid(Uuid::from_u128(1 + (index % groups) as u128))),
        };
        let path = Path { via, state: PathState::Active, error: None, disabled_plans: Vec::new() };
        let licence =
            Licence { sku: sku.id, assigned: true, disabled_plans: Vec::new(), paths: vec![path] };
        (user(number, index), UserLicences::new([licence]))
    };
    let users = (0..users).map(holds);
    let read = SourceState {
        last_complete: Some(now),
        last_full: Some(now),
        cursor: Some("/v1.0/users/delta?$deltatoken=x".into()),
        cursor_issued: Some(now),
        catalog: catalog().fingerprint(),
        ..SourceState::default()
    };
    Commit {
        tenants: vec![Tenant { id, name: None, consent: Consent::Granted, cloud: Cloud::Public }],
        users: vec![TenantUsers { tenant: id, writes: UserWrites::Replace(UserTable::new(users)) }],
        skus: vec![(id, vec![sku])],
        sources: vec![(SourceKey::directory(id), read)],
        ..Commit::default()
    }
}

/// Median time of one call, over batches of calls.
pub fn median_ns(batches: usize, calls: usize, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..batches)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[batches / 2]
}

pub fn title(text: &str) {
    println!("\n== {text}");
}

pub fn row(what: &str, value: &str) {
    println!("  {what:<62} {value}");
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Resident memory of a process, in MiB.
pub fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// CPU time that a process has used, in seconds.
pub fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, the 14th and 15th field of all; in ticks of 1/100 s.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Makes the calling thread run only where nothing else wants to (`SCHED_IDLE`), so that on the
/// processors of one machine it is as if it ran on another.
pub fn give_way() {
    assert!(schedule(["--idle", "--pid", "0"]), "chrt (util-linux)");
}

/// Makes the calling thread run whenever it can (`SCHED_FIFO`), so that what it waits for is an answer and
/// not a processor: as if it ran on another machine. Whether the system allows it.
pub fn go_first() -> bool {
    schedule(["--fifo", "--pid", "1"])
}

/// By util-linux's `chrt`: the standard library has no words for it.
fn schedule(policy: [&str; 3]) -> bool {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let thread = thread.file_name().unwrap();
    let chrt = std::process::Command::new("chrt").args(policy).arg(thread).status();
    chrt.is_ok_and(|it| it.success())
}

/// So many free addresses of this machine, outside the range of ports that connections get by themselves:
/// asking at a port of that range before anybody listens there can connect the asker with itself, and
/// whoever wanted to listen there cannot.
///
/// Source: Linux, `ip_local_port_range` in `Documentation/networking/ip-sysctl.rst`: 32768 to 60999.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let begin = 20_000 + (std::process::id() % 10_000) as u16;
    let addresses = (begin..32_768).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut free = addresses.filter(|it| std::net::TcpListener::bind(it).is_ok());
    std::array::from_fn(|_| free.next().unwrap())
}
