//! A full read of a large tenant that is cut off is gone on with at its page.

use std::collections::BTreeSet;

use entitled::domain::{Outcome, Run, TenantId};
use entitled::sandbox::{Options, Stumble, story};
use entitled::sync::RunRequest;
use uuid::Uuid;

use crate::sync::{Compared, seats};
use crate::world::World;

const USERS: usize = 12_000;

/// Pages of the list of users that were asked for.
fn pages(world: &World) -> usize {
    let requests = world.sandbox.requests();
    let list = |target: &str| target.split('?').next().is_some_and(|it| it.ends_with("/users"));
    requests.iter().filter(|it| it.method == "GET" && list(&it.target)).count()
}

async fn sweep(world: &World, tenant: Uuid) -> Run {
    let tenant: TenantId = tenant.to_string().parse().unwrap();
    let request = RunRequest { tenant: Some(tenant), full: true, ..RunRequest::default() };
    world.sync_by(request).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_was_cut_off_goes_on_after_a_restart_and_believes_no_old_page() {
    let options = Options { tenants: 1, users: USERS, ..Options::default() };
    let mut world = World::with(options, "").await;
    let large = world.microsoft(|it| {
        let all = it.tenants().into_iter();
        all.max_by_key(|tenant| it.users(*tenant).len()).unwrap()
    });
    world.sync().await;
    let (mirrored, truth) = seats(&world, large);
    assert!(mirrored == truth, "the mirror is what Microsoft has");
    let before = pages(&world);
    assert_eq!(sweep(&world, large).await.outcome, Outcome::Complete);
    let all = pages(&world) - before;
    assert!(all > 8, "{all} pages");

    // It breaks off on its ninth page, as often as it is tried. What changed counts all the same.
    let (_, truth) = seats(&world, large);
    let unlucky: Uuid = truth.iter().find(|it| it.2).unwrap().0.parse().unwrap();
    world.microsoft(|it| {
        it.stumble(Stumble::new("GET", "users", 503, 4).after(8));
        it.delete_user(large, unlucky).unwrap();
    });
    let cut = sweep(&world, large).await;
    assert_eq!((cut.outcome, cut.removed), (Outcome::Partial, 1));
    assert!(cut.error.unwrap().contains("the list of all users broke off"));
    let (mirrored, truth) = seats(&world, large);
    assert!(mirrored == truth, "the mirror is what Microsoft has");
    // Some whom the first pages named lose their licence meanwhile, and others get one.
    let (_, before_changes) = seats(&world, large);
    world.microsoft(|it| {
        for (at, user) in it.users(large).into_iter().take(100).enumerate() {
            // Some of them hold one already, and there may be no seat for all.
            drop(match at % 2 {
                0 => it.unassign(large, user, story::SYNOPTIC_SKU),
                _ => it.assign(large, user, story::SYNOPTIC_SKU, &[]),
            });
        }
    });
    assert_ne!(held(&seats(&world, large).1), held(&before_changes));
    let before = pages(&world);
    world.restart().await;

    // Nobody asks for a full read: it is gone on with.
    let rest = world.sync_tenant(large).await;
    assert_eq!(rest.outcome, Outcome::Complete, "{:?}", rest.error);
    let asked = pages(&world) - before;
    assert!(
        asked > 0 && asked <= all - 4,
        "{asked} of {all} pages: the first were not asked again"
    );
    // By which ways somebody holds what he held before only the next sweep shows.
    let (mirrored, truth) = seats(&world, large);
    assert_eq!(held(&mirrored).symmetric_difference(&held(&truth)).next(), None);
}

/// Who holds what, however it came.
fn held(seats: &Compared) -> BTreeSet<(&str, &str)> {
    seats.iter().filter(|it| it.2).map(|it| (it.0.as_str(), it.1.as_str())).collect()
}
