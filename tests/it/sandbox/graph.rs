//! Microsoft Graph.

use super::*;

const SELECT: &str =
    "id,accountEnabled,usageLocation,assignedLicenses,assignedPlans,licenseAssignmentStates";
const MINIMAL: [(&str, &str); 1] = [("prefer", "return=minimal")];

fn delta_start() -> String {
    format!("/graph/v1.0/users/delta()?%24select={}", SELECT.replace(',', "%2C"))
}

fn skus_of(row: &Value) -> BTreeSet<Uuid> {
    row["assignedLicenses"].as_array().unwrap().iter().map(|held| uuid_of(&held["skuId"])).collect()
}

#[tokio::test]
async fn the_story_reads_as_it_is_told() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let all = probe.walk(&token, &format!("/graph/v1.0/users?$select={SELECT}"), &[]).await.by_id();
    let holds = |person: story::Person| skus_of(&all[&person.user]).contains(&story::SYNOPTIC_SKU);
    let paths = |person: story::Person| {
        let states = all[&person.user]["licenseAssignmentStates"].as_array().unwrap().clone();
        let ours = states.into_iter().filter(|row| uuid_of(&row["skuId"]) == story::SYNOPTIC_SKU);
        let group =
            |row: &Value| row["assignedByGroup"].as_str().map(|id| id.parse::<Uuid>().unwrap());
        ours.map(|row| (group(&row), row["state"].clone(), row["error"].clone()))
            .collect::<Vec<_>>()
    };
    assert!(holds(story::ANA) && holds(story::BEN) && holds(story::EVA) && holds(story::FINN));
    assert!(!holds(story::CLEO) && !holds(story::DAN));
    assert_eq!(paths(story::BEN), [(Some(story::BI_USERS), json!("Active"), json!(null))]);
    assert_eq!(
        paths(story::CLEO),
        [(Some(story::FINANCE), json!("Error"), json!("CountViolation"))]
    );
    let eva: BTreeSet<_> = paths(story::EVA).into_iter().map(|path| path.0).collect();
    assert_eq!(eva, BTreeSet::from([None, Some(story::BI_USERS)]));
    let finn = all[&story::FINN.user]["assignedLicenses"].as_array().unwrap();
    let off = finn.iter().find(|held| uuid_of(&held["skuId"]) == story::SYNOPTIC_SKU).unwrap();
    assert_eq!(off["disabledPlans"], json!([story::SYNOPTIC_PLAN]));

    let skus = probe.ask(&token, "/graph/v1.0/subscribedSkus", &[]).await.rows();
    let synoptic = skus.iter().find(|sku| uuid_of(&sku["skuId"]) == story::SYNOPTIC_SKU).unwrap();
    assert_eq!(
        (&synoptic["consumedUnits"], &synoptic["prepaidUnits"]["enabled"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(synoptic["servicePlans"][0]["servicePlanName"], story::SYNOPTIC_SERVICE_ID);
    let bought = probe.ask(&token, "/graph/v1.0/directory/subscriptions", &[]).await.rows();
    assert_eq!(bought.len(), skus.len());
    assert!(bought.iter().any(|row| uuid_of(&row["skuId"]) == story::SYNOPTIC_SKU));

    let warned = probe.token(FABRIKAM.tenant, GRAPH).await;
    let sku = probe.ask(&warned, "/graph/v1.0/subscribedSkus?$select=capabilityStatus", &[]).await;
    assert_eq!(sku.rows()[0]["capabilityStatus"], "Warning");
    assert!(sku.rows()[0].get("skuId").is_none());
    let gil = format!("/graph/v1.0/users/{}?$select=assignedPlans", story::GIL.user);
    assert_eq!(
        probe.ask(&warned, &gil, &[]).await.json()["assignedPlans"][0]["capabilityStatus"],
        "Warning"
    );
}

#[tokio::test]
async fn a_delta_round_brings_every_change_once_asked() {
    let probe = Probe::with("page=2").await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let first = probe.walk(&token, &delta_start(), &[]).await;
    assert_eq!((first.by_id().len(), first.pages.len()), (6, 3));
    assert_eq!(first.by_id()[&story::ANA.user]["accountEnabled"], true);

    let quiet = probe.walk(&token, first.delta(), &[]).await;
    assert!(quiet.rows.is_empty() && quiet.delta() != "");

    let added = probe.sandbox.with_world(|world| {
        world.unassign(tenant, story::ANA.user, story::SYNOPTIC_SKU).unwrap();
        world.delete_user(tenant, story::BEN.user).unwrap();
        world.purge_user(tenant, story::DAN.user).unwrap();
        world.set_location(tenant, story::EVA.user, None).unwrap();
        world.add_user(tenant, NewUser::default()).unwrap()
    });
    let minimal = probe.walk(&token, quiet.delta(), &MINIMAL).await.by_id();
    let ids: BTreeSet<Uuid> = minimal.keys().copied().collect();
    let people = [story::ANA.user, story::BEN.user, story::DAN.user, story::EVA.user, added];
    assert_eq!(ids, BTreeSet::from(people));
    assert_eq!(minimal[&story::BEN.user]["@removed"]["reason"], "changed");
    assert_eq!(minimal[&story::DAN.user]["@removed"]["reason"], "deleted");
    let eva = minimal[&story::EVA.user].as_object().unwrap();
    assert!(eva["usageLocation"].is_null() && !eva.contains_key("assignedLicenses"), "{eva:?}");
    let ana = minimal[&story::ANA.user].as_object().unwrap();
    assert!(!ana.contains_key("usageLocation") && !ana.contains_key("licenseAssignmentStates"));
    assert!(!skus_of(&minimal[&story::ANA.user]).contains(&story::SYNOPTIC_SKU));
    let new = minimal[&added].as_object().unwrap();
    assert!(new.contains_key("accountEnabled") && !new.contains_key("usageLocation"), "never set");

    // The same link again, without the header: the same users, whole.
    let replay = probe.walk(&token, quiet.delta(), &[]).await.by_id();
    assert_eq!(replay.keys().copied().collect::<BTreeSet<_>>(), ids);
    assert_eq!(replay[&story::ANA.user]["usageLocation"], "AT");

    probe.sandbox.with_world(|world| world.restore_user(tenant, story::BEN.user)).unwrap();
    let back = probe.walk(&token, quiet.delta(), &MINIMAL).await.by_id();
    assert!(skus_of(&back[&story::BEN.user]).contains(&story::SYNOPTIC_SKU), "restored and whole");
}

#[tokio::test]
async fn delta_is_blind_to_assignment_states() {
    let probe = Probe::new(Options::default()).await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let first = probe.walk(&token, &delta_start(), &[]).await;
    let (eva, sku) = (story::EVA.user, story::SYNOPTIC_SKU);
    // From direct and group to group alone: what she holds is the same.
    probe.sandbox.with_world(|world| world.unassign(tenant, eva, sku)).unwrap();
    let group = Some(story::BI_USERS);
    let error = ("ActiveWithError", "DependencyViolation");
    probe.sandbox.with_world(|world| world.set_path(tenant, eva, sku, group, error)).unwrap();
    // And a lapsing subscription raises no row either.
    probe.sandbox.with_world(|world| world.sku_status(tenant, sku, "Suspended")).unwrap();
    assert!(probe.walk(&token, first.delta(), &[]).await.rows.is_empty());
    let target = format!("/graph/v1.0/users/{eva}?$select={SELECT}");
    let now = probe.ask(&token, &target, &[]).await.json();
    let states = now["licenseAssignmentStates"].as_array().unwrap();
    assert!(
        states
            .iter()
            .any(|row| row["state"] == "ActiveWithError" && row["error"] == "DependencyViolation")
    );
    assert!(
        now["assignedPlans"]
            .as_array()
            .unwrap()
            .iter()
            .any(|plan| plan["capabilityStatus"] == "Suspended")
    );
}

#[tokio::test]
async fn delta_tokens_die_in_the_documented_ways() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let token = probe.token(tenant, GRAPH).await;
    let latest =
        probe.ask(&token, "/graph/v1.0/users/delta?$deltatoken=latest&$select=id", &[]).await;
    assert!(latest.rows().is_empty());
    let link = latest.json()["@odata.deltaLink"].as_str().unwrap().to_owned();

    let other = probe.token(FABRIKAM.tenant, GRAPH).await;
    assert_eq!(probe.ask(&other, &link, &[]).await.code(), "syncStateNotFound");
    for option in ["$top=5", "$expand=manager", "$orderby=id"] {
        let target = format!("/graph/v1.0/users/delta?{option}");
        assert_eq!(probe.ask(&token, &target, &[]).await.status, 400, "{option}");
    }

    probe
        .sandbox
        .with_world(|world| world.set_faults(Faults::default().with(Fault::Delta410, 1.0)));
    let gone = probe.ask(&token, &link, &[]).await;
    assert_eq!(gone.status, 410);
    let location = gone.header("location").unwrap();
    assert!(location.ends_with("$deltatoken="));
    assert_eq!(probe.walk(&token, location, &[]).await.by_id().len(), 6);

    probe.sandbox.with_world(|world| {
        world.set_faults(Faults::default());
        world.advance_clock(SignedDuration::from_hours(24 * 7));
    });
    let token = probe.token(tenant, GRAPH).await;
    assert_eq!(probe.ask(&token, &link, &[]).await.status, 200, "seven days are fine");
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(1)));
    let late = probe.ask(&token, &link, &[]).await;
    assert_eq!((late.status, late.code().as_str()), (400, "syncStateNotFound"));
}

#[tokio::test]
async fn a_stumbling_graph_still_tells_everything_in_the_end() {
    let spec = "seed=3,graph.empty_page=0.5,graph.duplicates=0.5,page=3";
    let faults = spec.parse().unwrap();
    let probe = Probe::new(Options { tenants: 1, users: 100, faults, ..Options::default() }).await;
    let tenant = probe.sandbox.with_world(|world| {
        world.tenants().into_iter().find(|tenant| world.users(*tenant).len() == 100).unwrap()
    });
    let token = probe.token(tenant, GRAPH).await;
    let truth: BTreeSet<Uuid> =
        probe.sandbox.with_world(|world| world.users(tenant)).into_iter().collect();
    for target in [delta_start(), "/graph/v1.0/users?$select=id&$top=50".to_owned()] {
        let walk = probe.walk(&token, &target, &[]).await;
        assert_eq!(walk.by_id().into_keys().collect::<BTreeSet<_>>(), truth);
        assert!(walk.rows.len() > truth.len(), "some came twice");
        assert!(walk.pages.contains(&0), "some pages were empty");
    }
    let check = async |spec: &str, target: &str, status: u16, json: bool| {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let answer = probe.ask(&token, target, &[]).await;
        let parsed = serde_json::from_str::<Value>(&answer.text).is_ok();
        assert_eq!((answer.status, parsed), (status, json), "{spec}: {}", answer.text);
        answer
    };
    let users = "/graph/v1.0/users?$select=id";
    check("graph.truncated=1", users, 200, false).await;
    check("graph.503_html=1", users, 503, false).await;
    let error = check("graph.500=1", users, 500, true).await;
    assert!(error.json()["error"]["innererror"]["request-id"].is_string());
    assert!(check("graph.429=1", users, 429, true).await.header("retry-after").is_some());
    let silent = check("graph.429_without_retry_after=1", users, 429, true).await;
    assert!(silent.header("retry-after").is_none());
    assert!(silent.json()["error"]["innerError"]["date"].is_string());
    let next = check("page=3", users, 200, true).await.json()["@odata.nextLink"].clone();
    let expired = check("graph.expired_page=1", next.as_str().unwrap(), 400, true).await;
    assert_eq!(expired.code(), "Directory_ExpiredPageToken");
}

#[tokio::test]
async fn group_licences_follow_membership_after_a_while_and_not_through_nesting() {
    let probe = Probe::with("lag=30s").await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let holds = async |user: Uuid| {
        let target = format!("/graph/v1.0/users/{user}?$select=assignedLicenses");
        skus_of(&probe.ask(&token, &target, &[]).await.json()).contains(&story::SYNOPTIC_SKU)
    };
    let members = async || {
        let target = format!("/graph/v1.0/groups/{}/members?$select=id", story::BI_USERS);
        probe.walk(&token, &target, &[]).await.by_id().into_keys().collect::<BTreeSet<_>>()
    };
    let inner = probe.sandbox.with_world(|world| {
        world.remove_member(tenant, story::BI_USERS, story::BEN.user).unwrap();
        let inner = world.add_group(tenant, None, "Inner").unwrap();
        world.nest_group(tenant, story::BI_USERS, inner).unwrap();
        world.add_member(tenant, inner, story::DAN.user).unwrap();
        inner
    });
    assert_eq!(members().await, BTreeSet::from([story::EVA.user, inner]));
    assert!(holds(story::BEN.user).await, "the effect lags the cause");
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(30)));
    assert!(!holds(story::BEN.user).await && !holds(story::DAN.user).await);

    // His unit is free, but nobody looks for Cleo before units are bought.
    assert!(!holds(story::CLEO.user).await);
    let units = SkuUnits { enabled: 10, ..SkuUnits::default() };
    probe.sandbox.with_world(|world| {
        world.sku_units(tenant, story::SYNOPTIC_SKU, units).unwrap();
        world.advance_clock(SignedDuration::from_secs(30));
    });
    assert!(holds(story::CLEO.user).await);

    let filter = format!("assignedLicenses/any(x:x/skuId eq {})", story::SYNOPTIC_SKU);
    let target = format!("/graph/v1.0/groups?$select=id,assignedLicenses&$filter={filter}");
    let licensed = probe.walk(&token, &target, &[]).await.by_id();
    assert_eq!(
        licensed.keys().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([story::BI_USERS, story::FINANCE])
    );
}

#[tokio::test]
async fn lists_page_filter_and_count() {
    let probe = Probe::new(Options { tenants: 1, users: 250, ..Options::default() }).await;
    let tenant = probe.sandbox.with_world(|world| {
        world.tenants().into_iter().find(|tenant| world.users(*tenant).len() == 250).unwrap()
    });
    let token = probe.token(tenant, GRAPH).await;
    let seats = probe.sandbox.with_world(|world| world.seats(tenant));
    let everyone = probe.walk(&token, "/graph/v1.0/users", &[]).await;
    assert_eq!(everyone.pages, [100, 100, 50]);
    assert!(everyone.rows[0].get("assignedLicenses").is_none(), "only with $select");

    let sku = story::SYNOPTIC_SKU;
    let target = format!(
        "/graph/v1.0/users?$select=id&$top=20&$filter=assignedLicenses/any(x:x/skuId+eq+{sku})"
    );
    let holders: BTreeSet<Uuid> =
        probe.walk(&token, &target, &[]).await.by_id().into_keys().collect();
    let truth: BTreeSet<Uuid> =
        seats.iter().filter(|seat| seat.sku == sku && seat.held).map(|seat| seat.user).collect();
    assert!(truth.len() > 50);
    assert_eq!(holders, truth);

    let target =
        "/graph/v1.0/users?$select=id&$count=true&$top=90&$filter=assignedLicenses/$count ne 0";
    let eventual = [("consistencylevel", "eventual")];
    let refused = probe.ask(&token, target, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "Request_UnsupportedQuery"));
    let page = probe.ask(&token, target, &eventual).await;
    let licensed: BTreeSet<Uuid> =
        seats.iter().filter(|seat| seat.held).map(|seat| seat.user).collect();
    assert_eq!(page.json()["@odata.count"], licensed.len());
    let next = page.json()["@odata.nextLink"].as_str().unwrap().to_owned();
    assert_eq!(probe.ask(&token, &next, &[]).await.status, 400, "the header is not in the link");
    let second = probe.ask(&token, &next, &eventual).await;
    assert!(second.status == 200 && second.json().get("@odata.count").is_none());

    for bad in ["$top=1000", "$top=0", "$select=shoeSize", "$filter=shoeSize eq 1", "$skiptoken=x"]
    {
        let answer = probe.ask(&token, &format!("/graph/v1.0/users?{bad}"), &[]).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_batch_answers_each_item_for_itself() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let post = async |requests: Vec<Value>| {
        let url = probe.url("/graph/v1.0/$batch");
        let body = json!({"requests": requests});
        probe.send(probe.http.post(url).bearer_auth(&token).json(&body)).await
    };
    let item = |id: &str, url: &str| json!({"id": id, "method": "GET", "url": url});
    let ana = format!("/users/{}?$select=licenseAssignmentStates", story::ANA.user);
    let mut requests =
        vec![item("1", &ana), item("2", "/users/00000000-0000-4000-8000-00000000dead")];
    requests.push(json!({"id": "3", "method": "GET", "url": ana, "dependsOn": ["2"]}));
    let answer = post(requests.clone()).await;
    assert_eq!(answer.status, 200);
    let statuses = |answer: &Answer| {
        let rows = answer.json()["responses"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| (row["id"].as_str().unwrap().to_owned(), row["status"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let sorted: BTreeMap<_, _> = statuses(&answer).into_iter().collect();
    assert_eq!(sorted.into_values().collect::<Vec<_>>(), [200, 404, 424]);

    let twenty: Vec<Value> = (0..20).map(|n| item(&n.to_string(), &ana)).collect();
    let ids: Vec<String> =
        statuses(&post(twenty.clone()).await).into_iter().map(|row| row.0).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_ne!(ids, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "any order");

    probe.sandbox.with_world(|world| world.set_faults("batch.429=0.5".parse().unwrap()));
    let half = post(twenty.clone()).await;
    let throttled: Vec<_> = half.json()["responses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] == 429)
        .cloned()
        .collect();
    assert!(half.status == 200 && !throttled.is_empty() && throttled.len() < 20);
    assert_eq!(throttled[0]["headers"]["Retry-After"], "1");
    assert_eq!(throttled[0]["body"]["error"]["code"], "TooManyRequests");

    let mut many = twenty;
    many.push(item("20", &ana));
    for bad in [many, vec![item("a", &ana), item("A", &ana)], Vec::new()] {
        assert_eq!(post(bad).await.status, 400);
    }
}

#[tokio::test]
async fn resource_units_run_out_and_come_back() {
    // 1 % of the quota of a small tenant: 35 units in 10 seconds.
    let probe = Probe::with("budget=0.01").await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let sku = async || probe.ask(&token, "/graph/v1.0/subscribedSkus", &[]).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(sku().await);
    }
    assert_eq!(answers[0].header("x-ms-resource-unit"), Some("3"));
    assert!(answers[0].header("x-ms-throttle-limit-percentage").is_none());
    assert_eq!(answers[10].header("x-ms-throttle-limit-percentage"), Some("0.9"));
    let refused = &answers[11];
    assert_eq!((refused.status, refused.code().as_str()), (429, "TooManyRequests"));
    let scope = format!("Tenant_Application/Read/{}/{}", story::CLIENT_ID, CONTOSO.tenant);
    assert_eq!(refused.header("x-ms-throttle-scope"), Some(scope.as_str()));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();

    let other = probe.token(WOODGROVE.tenant, GRAPH).await;
    assert_eq!(
        probe.ask(&other, "/graph/v1.0/subscribedSkus", &[]).await.status,
        200,
        "its own quota"
    );
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(wait + 1)));
    assert_eq!(sku().await.status, 200);
}

#[tokio::test]
async fn usage_rights_are_the_publishers_plans_in_the_state_of_their_sku() {
    let probe = Probe::new(Options::default()).await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let target = |person: story::Person| format!("/graph/beta/users/{}/usageRights", person.user);
    let rows = async |query: &str| {
        let answer = probe.ask(&token, &format!("{}{query}", target(story::ANA)), &[]).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.rows()
    };
    let ours = |row: &Value| row["serviceIdentifier"].as_str() == Some(story::SYNOPTIC_SERVICE_ID);
    for (status, state) in
        [("Enabled", "active"), ("Warning", "warning"), ("LockedOut", "suspended")]
    {
        let sku = story::SYNOPTIC_SKU;
        probe.sandbox.with_world(|world| world.sku_status(tenant, sku, status)).unwrap();
        let all = rows("").await;
        let row = all.iter().find(|row| ours(row)).unwrap();
        assert_eq!(row["state"], state);
        assert!(row["id"].is_string() && row["catalogId"].is_string());
        let service = story::SYNOPTIC_SERVICE_ID;
        let both = format!("?$filter=state eq '{state}' and serviceIdentifier eq '{service}'");
        assert_eq!(rows(&both).await, std::slice::from_ref(row));
        assert_eq!(
            rows(&format!("?$filter=serviceIdentifier in ('x','{service}')")).await.len(),
            1
        );
        assert!(rows("?$filter=state eq 'inactive'").await.is_empty());
    }
    let dan = probe.ask(&token, &target(story::DAN), &[]).await;
    assert!(dan.status == 200 && !dan.rows().iter().any(ours), "{}", dan.text);
    let finn = probe.ask(&token, &target(story::FINN), &[]).await;
    assert!(!finn.rows().iter().any(ours), "his plan is switched off");
    let stable = target(story::ANA).replace("beta", "v1.0");
    assert_eq!(probe.ask(&token, &stable, &[]).await.status, 400, "beta only");
    let odd = format!("{}?$filter=state ne 'active'", target(story::ANA));
    assert_eq!(probe.ask(&token, &odd, &[]).await.status, 400);

    let request = json!({"requests": [{"id": "1", "method": "GET",
        "url": format!("/users/{}/usageRights", story::ANA.user)}]});
    let batch = probe.http.post(probe.url("/graph/beta/$batch")).bearer_auth(&token);
    let batch = probe.send(batch.json(&request)).await.json();
    assert_eq!(batch["responses"][0]["body"]["value"], json!(rows("").await));

    probe.sandbox.with_world(|world| world.set_foreign_app(true));
    assert!(rows("").await.is_empty(), "somebody else's app sees nothing");
    let roles = Some(vec!["Group.Read.All".to_owned()]);
    probe.sandbox.with_world(|world| world.consent(tenant, roles)).unwrap();
    assert_eq!(probe.ask(&token, &target(story::ANA), &[]).await.status, 403);
}

#[tokio::test]
async fn group_delta_brings_members_in_slices_and_says_who_left() {
    let probe = Probe::with("page=2").await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let group = story::BI_USERS;
    let added = probe.sandbox.with_world(|world| {
        let added: Vec<_> =
            (0..5).map(|_| world.add_user(tenant, NewUser::default()).unwrap()).collect();
        for user in &added {
            world.add_member(tenant, group, *user).unwrap();
        }
        added
    });
    let members = |walk: &Walk| {
        let rows = walk.rows.iter().filter(|row| uuid_of(&row["id"]) == group);
        let slices = rows.filter_map(|row| row["members@delta"].as_array().cloned());
        slices.flatten().map(|row| (uuid_of(&row["id"]), row)).collect::<BTreeMap<_, _>>()
    };
    let start = "/graph/v1.0/groups/delta()?$select=id,displayName,assignedLicenses,members";
    let first = probe.walk(&token, start, &[]).await;
    let truth = BTreeSet::from([story::BEN.user, story::EVA.user]);
    let truth: BTreeSet<Uuid> = truth.into_iter().chain(added.clone()).collect();
    assert_eq!(members(&first).into_keys().collect::<BTreeSet<_>>(), truth);
    assert!(first.rows.iter().filter(|row| uuid_of(&row["id"]) == group).count() > 3, "slices");
    assert!(skus_of(&first.by_id()[&group]).contains(&story::SYNOPTIC_SKU));
    assert!(probe.walk(&token, first.delta(), &[]).await.rows.is_empty());

    let inner = probe.sandbox.with_world(|world| {
        world.remove_member(tenant, group, added[0]).unwrap();
        let inner = world.add_group(tenant, None, "Inner").unwrap();
        world.nest_group(tenant, group, inner).unwrap();
        world.add_member(tenant, inner, story::DAN.user).unwrap();
        inner
    });
    let round = probe.walk(&token, first.delta(), &MINIMAL).await;
    let changed = members(&round);
    assert_eq!(changed.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([added[0], inner]));
    assert_eq!(changed[&added[0]]["@removed"]["reason"], "deleted");
    assert_eq!(changed[&inner]["@odata.type"], "#microsoft.graph.group");
    assert!(round.by_id()[&group].get("displayName").is_none(), "did not change");
    assert_eq!(round.by_id()[&inner]["displayName"], "Inner");
    let users = first.delta().replace("/groups/", "/users/");
    assert_eq!(probe.ask(&token, &users, &[]).await.code(), "syncStateNotFound");
}
