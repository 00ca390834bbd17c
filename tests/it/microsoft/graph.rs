//! Graph: pages, deltas, batches, and the many ways in which it says no.

use entitled::domain::{CapabilityStatus, TenantId, UserId};
use entitled::microsoft::{
    BatchMiss, DeltaFrom, DeltaPage, ErrorKind, MicrosoftError, PageEnd, Read, Removed, UserRow,
};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, Request, ResponseTemplate};

use super::{CUSTOMER, OTHER, Pretend, TOKENS, header, ok, raw, refused, tenant, token};

const V1: &str = "/graph/v1.0";
const SKU: &str = "5bb00000-aaaa-4bbb-8ccc-ddddeeeeffff";

fn user(n: u128) -> String {
    Uuid::from_u128(0x1111 << 64 | n).to_string()
}

fn row(n: u128, skus: &[&str]) -> Value {
    let licences: Vec<Value> =
        skus.iter().map(|it| json!({ "skuId": it, "disabledPlans": [] })).collect();
    json!({ "id": user(n).to_uppercase(), "assignedLicenses": licences, "licenseAssignmentStates": null })
}

fn page(rows: &[Value], link: &str, target: &str) -> ResponseTemplate {
    let mut body = json!({ "@odata.context": "wrong on purpose", "value": rows });
    body[link] = json!(target);
    ok(body)
}

async fn delta(it: &Pretend, from: DeltaFrom<'_>) -> Result<DeltaPage, MicrosoftError> {
    it.microsoft.graph().delta_page(&it.meter, tenant(CUSTOMER), from).await
}

fn understood<T>(record: &Read<T>) -> &T {
    match record {
        Read::Understood(it, _) => it,
        Read::Odd { why, .. } => panic!("odd: {why}"),
    }
}

#[tokio::test]
async fn a_delta_goes_on_where_it_stopped_and_says_minimal_on_each_page_of_a_round() {
    let it = Pretend::new().await;
    let next =
        |token: &str| format!("https://graph.microsoft.com/v1.0/users/delta?$skiptoken={token}");
    let done =
        |token: &str| format!("https://graph.microsoft.com/v1.0/users/delta?$deltatoken={token}");
    let begun = page(&[row(1, &[SKU]), row(2, &[])], "@odata.nextLink", &next("a%2fB~c"));
    let gone = json!({ "id": user(2), "@removed": { "reason": "deleted" } });
    let cleared = json!({ "id": user(1), "assignedLicenses": null });
    it.get(
        &format!("{V1}/users/delta"),
        vec![
            begun,
            page(&[], "@odata.deltaLink", &done("one")),
            page(&[], "@odata.nextLink", &next("two")),
            page(&[gone, cleared.clone(), cleared], "@odata.deltaLink", &done("two")),
        ],
    )
    .await;

    let first = delta(&it, DeltaFrom::Start).await.unwrap();
    assert_eq!(understood(&first.rows[0]).assigned.as_ref().unwrap().len(), 1);
    assert_eq!(understood(&first.rows[0]).id.to_string(), user(1), "ids are lower case");
    let PageEnd::Next(link) = first.end else { panic!("it ended early") };
    let PageEnd::Delta(cursor) = delta(&it, DeltaFrom::Next(&link)).await.unwrap().end else {
        panic!("it did not end")
    };
    assert_eq!(&*cursor, "/v1.0/users/delta?$deltatoken=one");
    let again = delta(&it, DeltaFrom::Cursor(&cursor)).await.unwrap();
    let PageEnd::Next(link) = again.end else { panic!("it ended early") };
    let last = delta(&it, DeltaFrom::Next(&link)).await.unwrap();
    let rows: Vec<&UserRow> = last.rows.iter().map(understood).collect();
    assert_eq!(rows[0].removed, Some(Removed::Deleted));
    assert_eq!(rows[1].assigned.as_deref(), Some(&[][..]), "null is cleared");
    assert_eq!((rows[1].states.as_ref(), rows.len()), (None, 3), "absent is unchanged");

    let sent: Vec<Request> = it.requests("/users/delta").await;
    let prefer: Vec<&str> = sent.iter().map(|it| header(it, "prefer")).collect();
    assert_eq!(prefer, ["", "", "return=minimal", "return=minimal"]);
    assert_eq!(sent[1].url.query(), Some("$skiptoken=a%2fB~c"), "not encoded anew");
    let start = &sent[0];
    let fields = "$select=id,assignedLicenses,licenseAssignmentStates";
    assert_eq!(start.url.query(), Some(fields));
    assert!(!header(start, "client-request-id").is_empty());
    assert_eq!(header(start, "user-agent"), concat!("entitled/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn dead_cursors_and_dead_pages_are_two_things() {
    let moved = ResponseTemplate::new(410).insert_header("Location", "https://evil.example/x");
    let dead = [
        (400, "Directory_ExpiredPageToken"),
        (404, "DirectoryPageTokenNotFoundException"),
        (404, "Request_ResourceNotFound"),
        (400, "Request_BadRequest"),
    ];
    for (status, code) in dead {
        let it = Pretend::new().await;
        let link = "https://graph.microsoft.com/v1.0/users/delta?$skiptoken=x";
        let first = page(&[], "@odata.nextLink", link);
        it.get(&format!("{V1}/users/delta"), vec![first, refused(status, code)]).await;
        let first = delta(&it, DeltaFrom::Start).await.unwrap();
        let PageEnd::Next(link) = first.end else { panic!("it ended early") };
        let error = delta(&it, DeltaFrom::Next(&link)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RestartSequence, "{error}");
    }
    let of_cursor = dead.map(|(status, code)| refused(status, code));
    for answer in [moved, refused(400, "syncStateNotFound")].into_iter().chain(of_cursor) {
        let it = Pretend::new().await;
        it.get(&format!("{V1}/users/delta"), vec![answer]).await;
        let error = delta(&it, DeltaFrom::Cursor("/v1.0/users/delta?$deltatoken=x")).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resync, "{error}");
        assert!(!error.to_string().contains("customer.example"), "messages are not passed on");
        assert_eq!(it.requests("/users/delta").await.len(), 1);
    }
}

#[tokio::test]
async fn a_page_with_neither_link_is_cut_off_not_the_last() {
    let it = Pretend::new().await;
    let at = format!("{V1}/users/delta");
    it.get(&at, vec![ok(json!({ "value": [row(1, &[])] }))]).await;
    let error = delta(&it, DeltaFrom::Start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    assert_eq!(it.requests("/users/delta").await.len(), 4);
}

#[tokio::test]
async fn a_link_out_of_graph_is_not_followed_and_a_kept_cursor_neither() {
    let it = Pretend::new().await;
    let evil = page(&[], "@odata.nextLink", "https://graph.microsoft.com/steal?$skiptoken=x");
    it.get(&format!("{V1}/users/delta"), vec![evil]).await;
    let error = delta(&it, DeltaFrom::Start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    for cursor in ["/login/steal", "http://127.0.0.1/", "", "/v1.0/../login"] {
        let error = delta(&it, DeltaFrom::Cursor(cursor)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{cursor}");
    }
}

#[tokio::test]
async fn a_sweep_reads_all_pages_with_low_priority() {
    let it = Pretend::new().await;
    // A stand-in below a path may leave its path in the link or not.
    let link = |path: &str| format!("http://elsewhere{path}?$skiptoken=x%3d");
    let pages = [("/graph/v1.0/users", 1), ("/v1.0/users", 2)];
    let mut answers: Vec<_> = pages
        .map(|(path, n)| page(&[row(n, &[SKU])], "@odata.nextLink", &(link(path) + &user(n))))
        .into();
    answers.push(ok(json!({ "value": [json!({ "id": "broken" }), row(3, &[])] })));
    it.get(&format!("{V1}/users"), answers).await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    let first = graph.users_page(&it.meter, of, None).await.unwrap();
    let second = graph.users_page(&it.meter, of, first.next.as_ref()).await.unwrap();
    let third = graph.users_page(&it.meter, of, second.next.as_ref()).await.unwrap();
    assert!(third.next.is_none());
    assert!(matches!(&third.records[0], Read::Odd { why, .. } if why.contains("`id`")));
    assert_eq!(understood(&third.records[1]).id.to_string(), user(3));
    let sent = it.requests("/users").await;
    assert!(sent.iter().all(|it| header(it, "x-ms-throttle-priority") == "low"));
    assert!(sent[0].url.query().unwrap().ends_with("$top=999"));
}

#[tokio::test]
async fn skus_lifecycles_and_groups_come_with_all_their_pages() {
    let it = Pretend::new().await;
    let sku = |status: &str| {
        json!({ "skuId": SKU, "skuPartNumber": "viz", "capabilityStatus": status,
        "servicePlans": [], "prepaidUnits": { "enabled": 5 }, "consumedUnits": 3 })
    };
    let next = "https://graph.microsoft.com/v1.0/subscribedSkus?$skiptoken=2";
    let more = ok(json!({ "value": [sku("Sleeping"), json!({ "skuId": SKU })] }));
    it.get(
        &format!("{V1}/subscribedSkus"),
        vec![page(&[sku("Warning")], "@odata.nextLink", next), more],
    )
    .await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    let skus = graph.subscribed_skus(&it.meter, of).await.unwrap();
    assert_eq!(understood(&skus[0]).status, CapabilityStatus::Warning);
    assert_eq!(understood(&skus[1]).status, CapabilityStatus::Unrecognized("Sleeping".into()));
    assert!(matches!(&skus[2], Read::Odd { .. }));

    let ends = json!({ "value": [{ "skuId": SKU.to_uppercase(), "nextLifecycleDateTime": "2027-01-31T00:00:00Z" },
        { "skuId": SKU, "nextLifecycleDateTime": null }, { "skuId": "x" }] });
    it.get(&format!("{V1}/directory/subscriptions"), vec![ok(ends)]).await;
    let ends = graph.lifecycles(&it.meter, of).await.unwrap();
    assert_eq!(ends, [(SKU.parse().unwrap(), "2027-01-31T00:00:00Z".parse().unwrap())]);

    let groups =
        json!({ "value": [{ "id": user(7), "displayName": "BI users" }, { "id": user(8) }] });
    it.get(&format!("{V1}/groups"), vec![ok(groups)]).await;
    let groups = graph.licensed_groups(&it.meter, of, SKU.parse().unwrap()).await.unwrap();
    let names: Vec<_> = groups.iter().map(|it| understood(it).name.clone()).collect();
    assert_eq!(names, [Some("BI users".into()), None]);
    let filter = it.requests("/groups").await[0].url.query_pairs().next().unwrap().1.into_owned();
    assert_eq!(filter, format!("assignedLicenses/any(x:x/skuId eq {SKU})"));
}

#[tokio::test]
async fn a_page_token_that_dies_in_a_small_list_costs_one_new_beginning() {
    let it = Pretend::new().await;
    let next = "https://graph.microsoft.com/v1.0/subscribedSkus?$skiptoken=2";
    let dead = || refused(400, "Directory_ExpiredPageToken");
    let first = || page(&[], "@odata.nextLink", next);
    let at = format!("{V1}/subscribedSkus");
    it.get(
        &at,
        vec![
            first(),
            dead(),
            first(),
            ok(json!({ "value": [] })),
            first(),
            dead(),
            first(),
            dead(),
        ],
    )
    .await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    assert!(graph.subscribed_skus(&it.meter, of).await.unwrap().is_empty());
    let error = graph.subscribed_skus(&it.meter, of).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RestartSequence);
    assert_eq!(it.requests("/subscribedSkus").await.len(), 8);
}

#[tokio::test]
async fn licensed_groups_whose_page_token_dies_are_read_anew_in_microsofts_own_pages() {
    let it = Pretend::new().await;
    let next = "https://graph.microsoft.com/v1.0/groups?$skiptoken=2";
    let answers = vec![
        page(&[], "@odata.nextLink", next),
        refused(400, "Directory_ExpiredPageToken"),
        ok(json!({ "value": [{ "id": user(7) }] })),
    ];
    it.get(&format!("{V1}/groups"), answers).await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    let groups = graph.licensed_groups(&it.meter, of, SKU.parse().unwrap()).await.unwrap();
    assert_eq!(groups.len(), 1);
    let asked = it.requests("/groups").await;
    let tops = |at: usize| asked[at].url.query_pairs().any(|(name, _)| name == "$top");
    assert_eq!((asked.len(), tops(0), tops(2)), (3, true, false));
}

#[tokio::test]
async fn another_tenants_answer_is_not_believed() {
    let it = Pretend::new().await;
    let body = |id: &str| ok(json!({ "value": [{ "id": id, "displayName": "Contoso" }] }));
    it.get(&format!("{V1}/organization"), vec![body(CUSTOMER), body(OTHER)]).await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    let organization = graph.organization(&it.meter, of).await.unwrap();
    assert_eq!(organization.name.as_deref(), Some("Contoso"));
    let error = graph.organization(&it.meter, of).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}

#[tokio::test]
async fn a_403_is_consent_and_names_what_was_not_given() {
    let it = Pretend::without_tokens().await;
    let some = ok(token(&["Organization.Read.All"], &json!(3600)));
    Mock::given(method("POST"))
        .and(wiremock::matchers::path_regex(TOKENS))
        .respond_with(some)
        .mount(&it.server)
        .await;
    let denied = || refused(403, "Authorization_RequestDenied");
    it.get(&format!("{V1}/subscribedSkus"), vec![denied()]).await;
    it.get(&format!("{V1}/directory/subscriptions"), vec![denied()]).await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    for tokens in [1, 2] {
        let error = graph.subscribed_skus(&it.meter, of).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Consent);
        let missing = "did not give User.Read.All, LicenseAssignment.Read.All;";
        assert!(error.to_string().contains(missing), "{error}");
        // The first token was new; an older one may be older than the consent.
        assert_eq!(it.requests("/token").await.len(), tokens);
    }
    let error = graph.lifecycles(&it.meter, of).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    assert_eq!(it.requests("/token").await.len(), 2);
}

#[tokio::test]
async fn a_401_is_cured_by_a_new_token_or_not_at_all() {
    let it = Pretend::new().await;
    let denied = || refused(401, "InvalidAuthenticationToken");
    let skus = ok(json!({ "value": [] }));
    it.get(&format!("{V1}/subscribedSkus"), vec![denied(), skus, denied()]).await;
    let (graph, of) = (it.microsoft.graph(), tenant(CUSTOMER));
    graph.subscribed_skus(&it.meter, of).await.unwrap();
    let error = graph.subscribed_skus(&it.meter, of).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    assert_eq!(it.requests("/subscribedSkus").await.len(), 4);
}

#[tokio::test]
async fn html_on_any_status_is_a_gateways_bad_moment() {
    for (status, kind) in
        [(503, ErrorKind::Transient), (403, ErrorKind::Transient), (200, ErrorKind::Unreadable)]
    {
        let it = Pretend::new().await;
        let html = "<html>mia@customer.example</html>";
        it.get(&format!("{V1}/subscribedSkus"), vec![raw(status, html)]).await;
        let graph = it.microsoft.graph();
        let error = graph.subscribed_skus(&it.meter, tenant(CUSTOMER)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("customer.example"), "{error}");
        assert_eq!(it.requests("/subscribedSkus").await.len(), 4);
    }
}

/// The ids asked for in a batch, by item id.
fn asked(request: &Request) -> Vec<(String, String)> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let item = |it: &Value| {
        let url = it["url"].as_str().unwrap();
        assert_eq!(it["method"], "GET");
        let id = url.strip_prefix("/users/").unwrap().split('?').next().unwrap();
        (it["id"].as_str().unwrap().to_owned(), id.to_owned())
    };
    body["requests"].as_array().unwrap().iter().map(item).collect()
}

async fn batch(it: &Pretend, users: &[UserId]) -> Vec<(UserId, Result<UserRow, BatchMiss>)> {
    let of: TenantId = tenant(CUSTOMER);
    it.microsoft.graph().assignment_states(&it.meter, of, users).await.unwrap()
}

#[tokio::test]
async fn a_batch_keeps_the_order_asked_for_and_repeats_only_what_was_throttled() {
    let it = Pretend::new().await;
    let users: Vec<UserId> = (1..=45).map(|n| user(n).parse().unwrap()).collect();
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |request: &Request| {
        let first = rounds.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let item = |(id, of): (String, String)| {
            let busy = json!({ "id": id, "status": 429, "headers": { "retry-after": 7 },
                "body": { "error": { "code": "TooManyRequests" } } });
            let gone = json!({ "id": id, "status": 404,
                "body": { "error": { "code": "Request_ResourceNotFound" } } });
            let odd =
                json!({ "id": id, "status": 200, "body": { "id": of, "assignedLicenses": 7 } });
            let fine = json!({ "id": id, "status": 200, "body": { "id": of.to_uppercase(), "assignedLicenses": [] } });
            let nth = Uuid::parse_str(&of).unwrap().as_u128() & 0xffff;
            match nth {
                3 | 5 if first => busy,
                4 => gone,
                6 => odd,
                _ => fine,
            }
        };
        let mut responses: Vec<Value> = asked(request).into_iter().map(item).collect();
        responses.reverse();
        ok(json!({ "responses": responses }))
    };
    Mock::given(method("POST"))
        .and(path(format!("{V1}/$batch")))
        .respond_with(answer)
        .mount(&it.server)
        .await;

    let rows = batch(&it, &users).await;
    assert_eq!(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), users);
    assert_eq!(rows[3].1, Err(BatchMiss::Gone));
    assert!(matches!(&rows[5].1, Err(BatchMiss::Odd(why)) if why.contains("assignedLicenses")));
    assert_eq!(rows.iter().filter(|(_, row)| row.is_ok()).count(), 43);
    let sent: Vec<usize> = it.requests("/$batch").await.iter().map(|it| asked(it).len()).collect();
    assert_eq!(sent, [20, 2, 20, 5]);
    assert_eq!(it.slept_s(), [7.0]);
    assert_eq!(it.meter.throttled().as_secs(), 7);
}

#[tokio::test]
async fn items_that_stay_unanswered_fail_the_call_and_nobody_counts_as_gone() {
    let it = Pretend::new().await;
    let users: Vec<UserId> = (1..=2).map(|n| user(n).parse().unwrap()).collect();
    let fine = json!({ "id": "0", "status": 200, "body": { "id": user(1) } });
    let sick = json!({ "id": "1", "status": 503, "body": "<html>" });
    let both = ok(json!({ "responses": [fine.clone(), sick] }));
    let silent = ok(json!({ "responses": [] }));
    it.answer("POST", &format!("{V1}/$batch"), vec![both, silent]).await;
    let of = tenant(CUSTOMER);
    let error = it.microsoft.graph().assignment_states(&it.meter, of, &users).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    let sent: Vec<usize> = it.requests("/$batch").await.iter().map(|it| asked(it).len()).collect();
    assert_eq!(sent, [2, 1, 1, 1], "four tries, and what was read is not read again");
}

#[tokio::test]
async fn an_item_refused_for_lack_of_consent_is_the_tenants_answer() {
    let it = Pretend::new().await;
    let denied = json!({ "error": { "code": "Authorization_RequestDenied" } });
    let body = json!({ "responses": [{ "id": "0", "status": 403, "body": denied }] });
    it.answer("POST", &format!("{V1}/$batch"), vec![ok(body)]).await;
    let (of, users) = (tenant(CUSTOMER), [user(1).parse().unwrap()]);
    let error = it.microsoft.graph().assignment_states(&it.meter, of, &users).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
}

#[test]
fn calls_can_run_in_tasks() {
    fn runs_in_a_task<T: Send>(_: impl FnOnce(&'static Pretend) -> T) {}
    runs_in_a_task(|it| it.microsoft.graph().subscribed_skus(&it.meter, tenant(CUSTOMER)));
    runs_in_a_task(|it| {
        it.microsoft.graph().delta_page(&it.meter, tenant(CUSTOMER), DeltaFrom::Start)
    });
    runs_in_a_task(|it| it.microsoft.graph().assignment_states(&it.meter, tenant(CUSTOMER), &[]));
    runs_in_a_task(|it| it.microsoft.marketplace().list_page(&it.meter, None));
    runs_in_a_task(|it| it.microsoft.keys().fetch());
}
