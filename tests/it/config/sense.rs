//! What the configuration may say together: problems, warnings.

use super::{KEY, LEAST, SECRET, one_problem, read, warned, with};

#[test]
fn what_makes_no_sense_is_a_problem_that_says_what_to_do() {
    let check = |more: &str, key: &str, says: &str| one_problem(with(more), key, says);
    check(
        "[microsoft]\ngraph = \"http://graph.microsoft.com\"",
        "microsoft.graph",
        "write https://",
    );
    check("[microsoft]\nlogin = \"login\"", "microsoft.login", "such as https://");
    check("[store]\npath = \"var\"", "store.path", "beginning with `/`");
    check("[store]\npath = \"\"", "store.path", "it is empty");
    check("[listen]\npublic = \"localhost:80\"", "listen.public", "127.0.0.1:8080");
    check("[listen]\nops = \"127.0.0.1:8080\"", "listen.ops", "choose another port");
    check("[listen]\nops = \"0.0.0.0:8080\"", "listen.ops", "choose another port");
    check("[listen]\ntls_key = \"k\"", "listen.tls_key", "both or none");
    check(&format!("[listen]\nadmin = \"/{}\"", "x".repeat(107)), "listen.admin", "107 bytes");
    check("[listen]\npublic_url = \"http://lic.example\"", "listen.public_url", "loopback only");
    check("[sync.directory]\nremove_limit = \"0%\"", "sync.directory.remove_limit", "out of range");
    check("[policy]\nrelease_after = \"0d\"", "policy.release_after", "zero makes no sense");
    check("[policy]\non_stale = \"ignore\"", "policy.on_stale", "grace, deny");
    check("[policy]\ngrace = 30", "policy.grace", "in quotes");
    check("[marketplace]\naccept_changes = \"never\"", "marketplace.accept_changes", "known_plans");
    check("[visuals]\ncallers = []", "visuals.callers", "871c010f");
    check("[visuals]\naudience = \"x\"", "visuals.audience", "write a list");
    let personal = "[[tenant]]\nid = \"9188040d-6c67-4c5b-b112-36a304b66dad\"";
    check(personal, "tenant[0].id", "personal accounts");
    let twice = "[[tenant]]\nid = \"4F4F4F4F-1111-4222-8333-444455556666\"\n\
                 [[tenant]]\nid = \"4f4f4f4f-1111-4222-8333-444455556666\"";
    check(twice, "tenant[1].id", "twice");
}

#[test]
fn what_is_only_senseless_is_a_warning() {
    let check = |more: &str, key: &str, says: &str| warned(with(more), key, says);
    check(
        "[sync.directory]\nmax_age = \"5m\"",
        "sync.directory.max_age",
        "shorter than every (`10m`)",
    );
    check("[sync.directory]\nsweep = \"5m\"", "sync.directory.sweep", "shorter than every");
    check(
        "[sync.subscriptions]\ntrust_for = \"30m\"",
        "sync.subscriptions.trust_for",
        "max_age (`1h`)",
    );
    check(&product("", "channel = \"hybrid\""), "product[0].hybrid", "has a plan");
    check(
        &product("features = { hybrid = [\"a\"] }", "channel = \"saas\""),
        "product[0].hybrid",
        "has features",
    );
}

#[test]
fn callers_have_a_name_a_key_and_something_they_may() {
    let caller = |at: usize, lines: &str| format!("[[caller]]\nname = \"shop-{at}\"\n{lines}\n");
    let check = |more: &str, keys: &[&str], key: &str, says: &str| {
        let names = ["ENTITLED_CALLER__0__KEY", "ENTITLED_CALLER__1__KEY"];
        let mut variables = vec![SECRET];
        variables.extend(names.into_iter().zip(keys.iter().copied()));
        one_problem(read(&format!("{LEAST}{more}"), &variables), key, says);
    };
    let may = "may = [\"query\"]";
    for bad in ["ent_short", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "ent_!!!!", &KEY[..46]]
    {
        check(&caller(0, may), &[bad], "caller[0].key", "openssl rand 32");
    }
    check(&caller(0, may), &[" "], "caller[0].key", "variable is empty");
    check(&caller(0, "may = []"), &[KEY], "caller[0].may", "write [\"query\"]");
    check(&caller(0, "may = [\"query\", \"all\"]"), &[KEY], "caller[0].may", "entry 2: `all`");
    let both = caller(0, may) + &caller(1, may);
    check(&both, &[KEY, KEY], "caller[1].key", "`shop-0` has the same key");
    let other = KEY.replace("AAEC", "BBEC");
    let namesakes = caller(0, may) + &caller(0, may);
    check(&namesakes, &[KEY, &other], "caller[1].name", "another caller `shop-0`");
}

/// A product with one plan, and an audience.
fn product(product: &str, plan: &str) -> String {
    format!(
        "[visuals]\naudience = [\"x\"]\n[[product]]\nid = \"p\"\n{product}\n[[product.plan]]\n\
         service_id = \"vizmaker.offer.plan\"\n{plan}\n"
    )
}

#[test]
fn a_catalog_that_contradicts_itself_is_refused() {
    let check = |more: &str, key: &str, says: &str| one_problem(with(more), key, says);
    let plain = product("", "channel = \"appsource\"");
    check(
        &plain.replace("vizmaker.offer.plan", "offer.plan"),
        "product[0].plan[0].service_id",
        "publisher.offer.plan",
    );
    check(&product("", "channel = \"store\""), "product[0].plan[0].channel", "isv_app");
    check(
        &product("", "channel = \"saas\"\nsku_ids = [\"nope\"]"),
        "product[0].plan[0].sku_ids",
        "entry 1",
    );
    check(&(plain.clone() + "[[product]]\nid = \"p\""), "product[1].id", "another product `p`");
    let again = "[[product]]\nid = \"q\"\n[[product.plan]]\nservice_id = \"VIZMAKER.offer.plan\"\n\
                 channel = \"saas\"";
    check(&(plain.clone() + again), "product[1].plan[0].service_id", "another plan");
    warned(with(&plain.replace("[\"x\"]", "[]")), "visuals.audience", "product `p`");
    assert!(with(&plain).is_ok());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let tls = "[listen]\npublic = \"0.0.0.0:443\"";
    warned(with(tls), "listen.public", "unencrypted");
    warned(with(tls), "listen.public_url", "not set");
    warned(with("[listen]\nops = \"0.0.0.0:9090\""), "listen.ops", "no login");
    warned(with("[sync.directory]\nremove_limit = 1.0"), "sync.directory.remove_limit", "brakes");
    warned(
        with("[sync.directory]\nnotifications = true"),
        "sync.directory.notifications",
        "https address",
    );
    warned(with(""), "product", "no product");
    let plan = "product[0].plan[0]";
    let product = |it: &str| with(&product("", it));
    let coverage = "channel = \"appsource\"\ncoverage = \"tenant\"";
    warned(product(coverage), &format!("{plan}.coverage"), "no effect on channel appsource");
    let release = "channel = \"saas\"\nrelease_after = \"1d\"";
    warned(product(release), &format!("{plan}.release_after"), "coverage = \"seats\"");
    let sku = "channel = \"saas\"\nsku_ids = [\"0b0b0b0b-1111-4222-8333-444455556666\"]";
    warned(product(sku), &format!("{plan}.sku_ids"), "no effect on channel saas");
    let foreign = self::product("", "channel = \"saas\"").replace("vizmaker.", "other.");
    warned(with(&foreign), &format!("{plan}.service_id"), "not with publisher.id `vizmaker`");
}

#[test]
fn a_stand_in_for_entra_with_microsofts_own_partner_center_is_warned_of() {
    let entra = "[microsoft]\nlogin = \"http://127.0.0.1:9/login\"\n";
    warned(with(entra), "microsoft.partner_center", "licence reports are not read");
    let both = format!("{entra}partner_center = \"http://127.0.0.1:9/pc\"\n");
    let loaded = with(&both).unwrap();
    assert!(loaded.warnings.iter().all(|it| it.key != "microsoft.partner_center"));
    assert_eq!(loaded.config.microsoft.report_hosts, [""; 0]);
    assert_eq!(with("").unwrap().config.microsoft.report_hosts, ["blob.core.windows.net"]);
    let odd = with("[microsoft]\nreport_hosts = [\"https://a.test/\"]\n").unwrap_err();
    assert!(odd.to_string().contains("report_hosts"), "{odd}");
}

#[test]
fn what_a_solution_package_says_has_no_effect_on_other_channels() {
    let product = |it: &str| with(&product("", it));
    let name = "channel = \"saas\"\nname = \"Gold\"";
    warned(product(name), "product[0].plan[0].name", "only isv_app plans");
    let apps = "channel = \"isv_app\"\napps = [\"cts_a\"]\nmore_info = \"https://a.test/\"";
    let loaded = product(apps).unwrap();
    let solution = loaded.config.solutions.values().next().unwrap();
    assert_eq!(solution.plans[0].apps, ["cts_a"]);
}

#[test]
fn what_the_landing_page_says_and_who_signs_in_for_it() {
    let app = "client_id = \"3e3e3e3e-1111-4222-8333-444455556666\"";
    let landing = |lines: &str| with(&format!("[landing]\n{lines}"));
    let support = |text: &str| {
        let loaded = landing(&format!("support = \"{text}\"")).unwrap();
        loaded.config.landing.support.unwrap().to_string()
    };
    assert_eq!(support("help@vizmaker.example"), "mailto:help@vizmaker.example");
    assert_eq!(support("https://vizmaker.example/help"), "https://vizmaker.example/help");
    for wrong in ["javascript:alert(1)", "http://vizmaker.example", "help"] {
        one_problem(landing(&format!("support = \"{wrong}\"")), "landing.support", "mailbox");
    }
    let long = format!("publisher = \"{}\"", "x".repeat(81));
    one_problem(landing(&long), "landing.publisher", "the name");
    one_problem(landing("client_id = \"x\""), "landing.client_id", "no GUID");
    one_problem(landing("secret = \"x\""), "landing.secret", "never read from the configuration");
    warned(landing(app), "landing.client_id", "ENTITLED_LANDING__SECRET");
    assert_eq!(landing("").unwrap().config.landing.client_id, None);
}

#[test]
fn an_endpoint_that_is_told_has_a_link_a_real_secret_and_known_types() {
    let env = |secret: &'static str| [SECRET, ("ENTITLED_NOTIFY__0__SECRET", secret)];
    let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let told = |more: &str, secret| {
        let url = "url = \"https://hooks.example.test/a\"\n";
        read(&format!("{LEAST}[[notify]]\nname = \"a\"\n{url}{more}"), &env(secret))
    };
    let loaded = told("", good).unwrap();
    let it = &loaded.config.notify[0];
    assert_eq!((it.secrets.len(), it.types.len()), (1, 6), "all types, one secret");
    assert!(!format!("{loaded:?}").contains(good));
    for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_not base64 at all, no"] {
        one_problem(told("", bad), "notify[0].secret", "openssl rand -base64 32");
    }
    one_problem(told("types = []", good), "notify[0].types", "tells it nothing");
    one_problem(told("types = [\"licence.*\"]", good), "notify[0].types", "subscription.created");
    let plain = "[[notify]]\nname = \"a\"\nurl = \"http://hooks.example.test/\"";
    one_problem(read(&format!("{LEAST}{plain}"), &env(good)), "notify[0].url", "loopback only");
    let here = plain.replace("hooks.example.test", "127.0.0.1:9");
    assert!(read(&format!("{LEAST}{here}"), &env(good)).is_ok());
    let odd = plain.replace("\"a\"", "\"a b\"").replace("http:", "https:");
    one_problem(read(&format!("{LEAST}{odd}"), &env(good)), "notify[0].name", "letters, digits");
    let unsigned = read(&format!("{LEAST}{here}"), &[SECRET]);
    one_problem(unsigned, "notify[0].secret_file", "ENTITLED_NOTIFY__0__SECRET");
    let both = [&env(good)[..], &[("ENTITLED_NOTIFY__0__SECOND_SECRET", good)]].concat();
    let same = read(&format!("{LEAST}{here}"), &both);
    one_problem(same, "notify[0].second_secret", "the same as the first");
    let twice = format!("{LEAST}{here}\n{here}");
    let keyed = [&env(good)[..], &[("ENTITLED_NOTIFY__1__SECRET", good)]].concat();
    one_problem(read(&twice, &keyed), "notify[1].name", "names must differ");
}

#[test]
fn a_guid_that_is_one_thing_of_a_plan_and_another_of_the_next_is_refused() {
    const GUID: &str = "5b000000-aaaa-4bbb-8ccc-ddddeeeeffff";
    let plan = |service_id: &str, lines: &str| {
        format!(
            "[[product.plan]]\nservice_id = \"{service_id}\"\nchannel = \"appsource\"\n{lines}\n"
        )
    };
    let catalog = |plans: [String; 2]| {
        let [one, two] = plans;
        with(&format!("[visuals]\naudience = [\"x\"]\n[[product]]\nid = \"p\"\n{one}{two}"))
    };
    let list = |key: &str, guid: &str| format!("{key} = [\"{guid}\"]");
    let (sku, service_plan) = (list("sku_ids", GUID), list("service_plan_ids", GUID));
    let named = format!("vizmaker.offer.{}", GUID.to_uppercase());
    let check = |one, two, key: &str, says: &str| {
        one_problem(catalog([one, two]), &format!("product[0].plan[1].{key}"), says);
    };
    check(
        plan(&named, ""),
        plan("vizmaker.offer.pro", &sku),
        "sku_ids",
        "is a SKU here and a part of the Service ID of plan `vizmaker.offer.5b000000",
    );
    check(
        plan("vizmaker.offer.pro", &service_plan),
        plan(&format!("vizmaker.{GUID}.team"), ""),
        "service_id",
        "is a part of the Service ID here and a service plan of plan `vizmaker.offer.pro`",
    );
    check(
        plan("vizmaker.offer.pro", &sku),
        plan("vizmaker.offer.team", &list("service_plan_ids", &GUID.replace('-', ""))),
        "service_plan_ids",
        "is a service plan here and a SKU of plan",
    );
    // Of one plan, for who does not know what it is; and what plans of one offer share.
    let both = format!("{sku}\n{service_plan}");
    let fine = |one, two| assert!(catalog([one, two]).is_ok());
    fine(plan(&named, &both), plan("vizmaker.offer.pro", ""));
    fine(plan(&format!("vizmaker.{GUID}.a"), ""), plan(&format!("vizmaker.{GUID}.b"), ""));
    let twice = catalog([plan("vizmaker.offer.a", &sku), plan("vizmaker.offer.b", &sku)]);
    warned(twice, "product[0].plan[1].sku_ids", "count for both");
}
