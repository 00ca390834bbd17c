//! Reports as they come: from the dashboard, from the API, through somebody's spreadsheet.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

const TENANT: &str = "a1000000-0000-4000-8000-000000000001";

/// The rows in short, then the odd ones by line and reason.
fn read(text: &str) -> Vec<String> {
    let table = licence_table(text.as_bytes()).unwrap();
    let count = |it: Option<u64>| it.map_or("-".to_owned(), |it| it.to_string());
    let row = |it: &LicenceRow| {
        let activated = it.activated.map_or("-".to_owned(), |it| it.to_string());
        let (provisioned, assigned) = (count(it.provisioned), count(it.assigned));
        let state = it.state.as_deref().unwrap_or("-");
        format!("{}/{} {provisioned} {assigned} {state} {activated}", it.service_id, it.sku_name)
    };
    let odd = table.odd.iter().map(|it| format!("{}: {}", it.line, it.why));
    table.rows.iter().map(row).chain(odd).collect()
}

#[test]
fn a_report_reads_however_it_was_written() {
    let check = |text: &str, wanted: &[&str]| assert_eq!(read(text), wanted, "{text}");
    // As the dashboard exports it.
    let whole = format!(
        "\u{feff}Customer Country,Customer Country Code,Customer Name,Activation Date,Product Display Name,\
         Product ID,Licenses Provisioned,Licenses Assigned,SKU Name,Tenant ID,License State,Service ID\r\n\
         Germany,DE,\"Contoso, \"\"GmbH\"\"\",3/1/2026,Field App,p1,\"1,200\",17,Pro,{TENANT},Active,Vizmaker.FieldApp.Pro\r\n"
    );
    check(&whole, &["vizmaker.fieldapp.pro/Pro 1200 17 Active 2026-03-01"]);
    // As the API may name its columns, in another order, with an unknown one.
    let text = format!(
        "ServiceId\ttenant_id\tLICENSES  PROVISIONED\tx\nv.o.p\t{{{TENANT}}}\t1 200\tanything\n"
    );
    check(&text, &["v.o.p/ 1200 - - -"]);
    // Through a German spreadsheet.
    let text = format!(
        "sep=;\nTenant ID;Service ID;Licenses Provisioned;Activation Date\n{TENANT};v.o.p;1.200;1.3.2026\n"
    );
    check(&text, &["v.o.p/ 1200 - - 2026-03-01"]);
    // Line breaks inside quotes, empty lines, spaces, lone carriage returns.
    let text = format!(
        "\r\n\r\nTenant ID , Service ID,SKU Name\r\n\r\n {TENANT} ,v.o.p,\"two\nlines\"\r\n,,\r\n"
    );
    check(&text, &["v.o.p/two\nlines - - - -"]);
    // Masked and absent figures are unknown, not zero; short rows too.
    let text = format!(
        "Tenant ID,Service ID,Licenses Provisioned,Licenses Assigned\n{TENANT},v.o.p,****,\n{TENANT},v.o.q\n"
    );
    check(&text, &["v.o.p/ - - - -", "v.o.q/ - - - -"]);
    // A quote in the middle of a plain cell means nothing, in the last line of the file neither.
    let row = |separator: &str| {
        format!("Contoso 5\" GmbH{separator}{TENANT}{separator}v.o.p{separator}7")
    };
    for separator in [";", "\t", ","] {
        let head =
            ["Customer Name", "Tenant ID", "Service ID", "Licenses Assigned"].join(separator);
        let (row, last) = (row(separator), row(separator).replace("v.o.p", "v.o.q"));
        check(&format!("{head}\n{row}\r\n{last}"), &["v.o.p/ - 7 - -", "v.o.q/ - 7 - -"]);
    }
    // A header alone says that there are none.
    check("Tenant ID,Service ID\n", &[]);
}

#[test]
fn a_bad_row_is_kept_and_named_by_its_line_and_the_others_count() {
    let text = format!(
        "Tenant ID,Service ID,Licenses Provisioned\n\
         ****,v.o.p,1\n\
         9188040d-6c67-4c5b-b112-36a304b66dad,v.o.p,1\n\
         {TENANT},\"a\nb\",many\n\
         {TENANT},,3\n\
         {TENANT},v.o.p,3,4\n\
         {TENANT},v.o.p,-3\n\
         {TENANT},v.o.p,5\n\
         {TENANT},\"v.o.q,3\n{TENANT},v.o.r,3\n"
    );
    let wanted = [
        "v.o.p/ 5 - - -",
        "2: its Tenant ID is empty or masked",
        "3: its Tenant ID is no tenant",
        "4: its Licenses Provisioned is no count",
        "6: its Service ID is empty or masked",
        "7: it has 4 fields where the first line names 3",
        "8: its Licenses Provisioned is no count",
        "10: a quote that opens in it is not closed: what follows was not read",
    ];
    assert_eq!(read(&text), wanted);
    let table = licence_table(text.as_bytes()).unwrap();
    assert_eq!(&*table.odd[2].raw, format!("{TENANT},\"a\nb\",many"));
}

#[test]
fn rows_of_one_plan_add_up_and_the_same_row_twice_does_not() {
    let text = format!(
        "Tenant ID,Service ID,SKU Name,Licenses Provisioned,Licenses Assigned,License State,Activation Date\n\
         {TENANT},v.o.p,Pro,10,4,Active,2026-03-01\n\
         {TENANT},V.O.P,Pro,10,4,Active,2026-03-01\n\
         {TENANT},v.o.p,Pro,5,1,Warning,2026-02-01\n\
         {TENANT},v.o.p,Basic,7,,Active,\n"
    );
    assert_eq!(
        read(&text),
        ["v.o.p/Basic 7 - Active -", "v.o.p/Pro 15 5 Active, Warning 2026-02-01"]
    );
}

#[test]
fn what_is_no_licence_report_is_refused_by_what_it_lacks() {
    let check = |text: &str, wanted: &[&str]| {
        let error = licence_table(text.as_bytes()).unwrap_err().to_string();
        for word in wanted {
            assert!(error.contains(word), "{word} in {error}");
        }
    };
    check("", &["empty"]);
    check(" \r\n\r\n", &["empty"]);
    check(
        "Customer Name,Service ID\nx,y\n",
        &["no column Tenant ID;", "Customer Name, Service ID"],
    );
    check("<html><body>Sign in</body></html>", &["Tenant ID and Service ID", "<html>"]);
    check("{\"error\": \"no\"}", &["no column Tenant ID and Service ID"]);
}

#[test]
fn a_count_is_whole_whatever_separates_its_thousands() {
    let check = |text: &str, wanted: Option<u64>| assert_eq!(cell::count(text), wanted, "{text}");
    for text in ["1200", "1,200", "1.200", "1 200", "1\u{a0}200", "1'200", "1200.0", "1,200.00"] {
        check(text, Some(1200));
    }
    check("0", Some(0));
    check("1.000.000", Some(1_000_000));
    check("12,5", None);
    check("1,20", None);
    check("1200,300", None);
    for text in ["", "-3", "+3", "3e2", "three", "1.2.3", ".", "0x10", "99999999999999999999"] {
        check(text, None);
    }
}

#[test]
fn a_day_reads_in_the_ways_of_many_countries() {
    let march = date(2026, 3, 4);
    for text in [
        "2026-03-04",
        "2026-03-04T05:06:07Z",
        "2026-03-04T05:06:07.1234567",
        "2026-03-04 05:06:07",
        "2026/03/04",
        "3/4/2026",
        "03/04/2026 12:00:00 AM",
        "4.3.2026",
        "04-03-2026",
        "Mar 4, 2026",
        "March 4th 2026",
        "4 March 2026",
        "04-Mar-2026",
    ] {
        assert_eq!(cell::day(text), Some(march), "{text}");
    }
    assert_eq!(cell::day("25/12/2026"), Some(date(2026, 12, 25)));
    for text in ["", "soon", "2026", "13/13/2026", "3/4/26", "2026-02-30", "1/2", "a/b/c"] {
        assert_eq!(cell::day(text), None, "{text}");
    }
}

#[test]
fn other_encodings_are_read_too() {
    let text = format!("Tenant ID,Service ID,SKU Name\n{TENANT},v.o.p,Größe\n");
    let wide = |bom: [u8; 2], to: fn(u16) -> [u8; 2]| -> Vec<u8> {
        bom.into_iter().chain(text.encode_utf16().flat_map(to)).collect()
    };
    for bytes in [wide([0xff, 0xfe], u16::to_le_bytes), wide([0xfe, 0xff], u16::to_be_bytes)] {
        assert_eq!(&*licence_table(&bytes).unwrap().rows[0].sku_name, "Größe");
    }
    let latin: Vec<u8> = text.chars().map(|it| u8::try_from(u32::from(it)).unwrap()).collect();
    assert_eq!(&*licence_table(&latin).unwrap().rows[0].service_id, "v.o.p");
}

fn row() -> impl Strategy<Value = LicenceRow> {
    let count = || proptest::option::of(0..10_000_000_u64);
    let name = "[a-zA-Z0-9\",;\t\n é]{0,12}";
    let day = proptest::option::of((1999..2100_i16, 1..13_i8, 1..29_i8));
    (1..4_u128, "[a-z]{1,4}[.][a-z]{1,4}[.][a-z]{1,4}", name, count(), count(), day).prop_map(
        |(tenant, service_id, sku_name, provisioned, assigned, day)| LicenceRow {
            tenant: TenantId::from_uuid(uuid::Uuid::from_u128(tenant)).unwrap(),
            service_id: service_id.into(),
            sku_name: sku_name.trim().into(),
            provisioned,
            assigned,
            state: None,
            activated: day.map(|(y, m, d)| date(y, m, d)),
            product: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_was_written_as_csv_reads_back(
        rows in proptest::collection::vec(row(), 0..12),
        separator in proptest::sample::select(vec![b',', b';', b'\t']),
    ) {
        let mut unique = BTreeMap::new();
        for it in rows {
            unique.insert((it.tenant, Arc::clone(&it.service_id), Arc::clone(&it.sku_name)), it);
        }
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        let heads =
            ["Tenant ID", "Service ID", "SKU Name", "Licenses Provisioned", "Licenses Assigned",
             "Activation Date"];
        writer.write_record(heads).unwrap();
        for it in unique.values() {
            let count = |it: Option<u64>| it.map_or(String::new(), |it| it.to_string());
            let day = it.activated.map_or(String::new(), |it| it.to_string());
            let (tenant, service, sku) = (it.tenant.to_string(), &*it.service_id, &*it.sku_name);
            let counts = (count(it.provisioned), count(it.assigned));
            writer.write_record([&tenant, service, sku, &counts.0, &counts.1, &day]).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let table = licence_table(&text).unwrap();
        prop_assert_eq!(table.odd, []);
        // Names that stand for nothing are none.
        let mut wanted: Vec<LicenceRow> = unique.into_values().collect();
        for it in &mut wanted {
            if !cell::is_told(&it.sku_name) {
                it.sku_name = Arc::from("");
            }
        }
        wanted.sort_by(|a, b| (a.tenant, &a.service_id, &a.sku_name).cmp(&(b.tenant, &b.service_id, &b.sku_name)));
        prop_assert_eq!(table.rows, wanted);
    }

    #[test]
    fn nothing_that_comes_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(licence_table(&bytes));
        let head = b"Tenant ID,Service ID\n".as_slice();
        prop_assert!(licence_table(&[head, &bytes].concat()).is_ok());
    }
}

#[test]
fn a_row_is_named_by_its_line_however_lines_end() {
    for end in ["\n", "\r\n"] {
        let lines = [
            "Tenant ID,Service ID,SKU Name",
            "",
            "nobody,a.b.c,\"of two\nlines\"",
            "",
            "",
            "nobody,a.b.c,",
        ];
        let table = licence_table(lines.join(end).as_bytes()).unwrap();
        let odd: Vec<_> = table.odd.iter().map(|it| (it.line, &*it.raw)).collect();
        assert_eq!(odd, [(3, "nobody,a.b.c,\"of two\nlines\""), (7, "nobody,a.b.c,")], "{end:?}");
    }
}
