//! Files as spreadsheets, programs and people write them.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(text: impl AsRef<[u8]>) -> Vec<Row> {
    let mut file = File::open(text.as_ref()).unwrap();
    std::iter::from_fn(|| file.row().unwrap()).collect()
}

/// Each row as its line and what it says, or why not.
fn said(text: impl AsRef<[u8]>) -> Vec<(u64, Value)> {
    let said = |it: Row| (it.line, it.said.map_or_else(Value::String, Value::Object));
    read(text).into_iter().map(said).collect()
}

#[test]
fn a_table_is_read_however_it_was_saved() {
    let row = json!({"id": "L-1", "licensee": "Müller, Söhne", "max": null});
    for text in [
        "id,licensee,max\nL-1,\"Müller, Söhne\",\n",
        "\u{feff}Id,Licensee,MAX\r\nL-1,\"Müller, Söhne\",\r\n",
        "sep=;\nID;licensee;max\nL-1;Müller, Söhne;\n",
        "\"sep=;\"\r\nid;licensee;max\r\nL-1;Müller, Söhne",
        "id\tlicensee\tmax\nL-1\tMüller, Söhne\t\n",
        "\n\n\"id\" , licensee,max\n\n  L-1,\" Müller, Söhne \",,,\n\n",
        "id,licensee,max\nL-1,\"Müller, Söhne\"\n",
    ] {
        let rows: Vec<Value> = said(text).into_iter().map(|(_, it)| it).collect();
        assert_eq!(rows, std::slice::from_ref(&row), "{text}");
    }
    let reordered = said("Max,Period End,id\n5,2027-01-01,L-1\n");
    assert_eq!(reordered, [(2, json!({"max": "5", "period_end": "2027-01-01", "id": "L-1"}))]);
}

#[test]
fn json_is_lines_or_one_array() {
    let rows = [json!({"id": "L-1", "max": 5}), json!({"id": "L-2", "bound": []})];
    let lines = format!("{}\n\n{}", rows[0], rows[1]);
    let read = said(&lines);
    assert_eq!(read, [(1, rows[0].clone()), (3, rows[1].clone())]);
    let array = serde_json::to_string_pretty(&rows).unwrap();
    let read = said(format!("\u{feff}\n{array}"));
    assert_eq!(read.iter().map(|(_, it)| it.clone()).collect::<Vec<_>>(), rows);
    let odd = said("{\"id\":1}\n{\"id\"\n[]\n{}\n");
    assert_eq!((odd.len(), odd[0].0, odd[3].0), (4, 1, 4));
    assert!(odd[1].1.as_str().unwrap().starts_with("it is no JSON"));
    assert_eq!(odd[2].1, "it is no JSON object");
}

#[test]
fn a_row_that_cannot_be_read_takes_no_other_with_it() {
    let text = b"id,licensee\nL-1,a,b\nL-2,\"open\nL-3,M\xfcller\nL-4,\"two\nlines\"\nL-5,x\n";
    let rows = read(text);
    let told: Vec<(u64, Option<&str>)> =
        rows.iter().map(|it| (it.line, it.said.as_ref().err().map(String::as_str))).collect();
    assert_eq!(told[0], (2, Some("it has 3 fields where the first line names 2")));
    // The next quote closes it: two rows and half of a third are one that says nothing.
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[3], (7, None));

    let many = (0..200).map(|it| format!("L-{it},x\n")).collect::<Vec<_>>().concat();
    let rows = read(format!("id,licensee\nL-a,\"open\n{many}"));
    assert_eq!(rows.len(), 201);
    assert_eq!(rows[0].said, Err("a quote that opens in it is not closed".to_owned()));
    assert_eq!(rows[0].raw, b"L-a,\"open\n");
    assert!(rows[1..].iter().all(|it| it.said.is_ok()));
}

#[test]
fn what_is_no_file_of_licenses_is_said() {
    let why = |bytes: &[u8]| File::open(bytes).err().unwrap().to_string();
    assert!(why(b"\xff\xfei\0d\0").contains("UTF-8"));
    assert!(why(b"name,max\n").contains("`id`"));
    assert!(why(b"[{\"id\":]").contains("JSON array"));
    assert_eq!(read(b"\n \n"), []);
    assert_eq!(read(b""), []);
    let long = vec![b'a'; 2 << 20];
    assert!(matches!(File::open(long.as_slice()), Err(NoFile::Io(_))));
}

#[test]
fn no_cell_is_taken_for_a_formula_and_each_reads_back() {
    for text in ["=1+1", "+49 30", "-5", "@ana", "＝1", "'=1", "''-x", "'plain", "plain", "a=b"] {
        let cell = guarded(text);
        assert!(!cell.starts_with(FORMULA), "{cell}");
        assert_eq!(unguarded(&cell), text);
    }
}

proptest! {
    /// Whatever text stands in a cell comes back, from a line that holds nothing else.
    #[test]
    fn a_line_that_was_written_reads_back(texts in prop::collection::vec("\\PC{0,12}", 3)) {
        let mut bytes = line(["id", "a", "b"].into_iter().map(Cow::Borrowed));
        bytes.extend(line(texts.iter().map(|it| Cow::Borrowed(it.as_str()))));
        let rows = read(&bytes);
        let all_blank = texts.iter().all(|it| it.trim().is_empty());
        for row in &rows {
            let row = row.said.as_ref().unwrap();
            for (name, text) in ["id", "a", "b"].iter().zip(&texts) {
                prop_assert_eq!(row[*name].as_str().unwrap_or_default(), text.trim());
            }
        }
        prop_assert!(rows.len() == 1 || all_blank);
    }

    #[test]
    fn whatever_bytes_come_nothing_falls_over(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for start in [&b"id,b\n"[..], b"id;\"b\n", b"", b"{"] {
            let whole = [start, &bytes].concat();
            if let Ok(mut file) = File::open(whole.as_slice()) {
                while file.row().unwrap().is_some() {}
            }
        }
    }
}
