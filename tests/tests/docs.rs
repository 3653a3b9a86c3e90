//! The documents say what the types say: the request's table is written from its schema, and every
//! example is a request.

use std::fmt::Write;
use std::path::PathBuf;

use brigade::request::{TransferRequest, Trigger};
use schemars::schema_for;
use serde_json::Value;

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Rows of `field | type | what`, a field of a field after it.
fn rows(schema: &Value, root: &Value, path: &str, table: &mut String) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let target = resolved(field, root);
        let what = field["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let default = match &field["default"] {
            Value::Null | Value::Object(_) => String::new(),
            value => format!(" Default: `{value}`."),
        };
        let what = what.replace('\n', " ").replace('|', "\\|");
        writeln!(table, "| `{path}` | {} | {what}{default} |", kind(target))
            .expect("a String takes every text");
        for variant in target["oneOf"].as_array().into_iter().flatten() {
            rows(variant, root, &path, table);
        }
        rows(target, root, &path, table);
    }
}

/// The schema that a field means, behind references and `null`.
fn resolved<'a>(field: &'a Value, root: &'a Value) -> &'a Value {
    if let Some(name) = field["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return resolved(&root["$defs"][name], root);
    }
    let choices = field["anyOf"].as_array().into_iter().flatten();
    choices
        .filter(|choice| choice["type"] != "null")
        .map(|choice| resolved(choice, root))
        .next()
        .unwrap_or(field)
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .filter_map(Value::as_str)
            .map(|v| format!("`{v}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let constants: Vec<String> =
            variants.iter().filter_map(|v| v["const"].as_str()).map(|v| format!("`{v}`")).collect();
        return if constants.is_empty() { "exactly one of".to_owned() } else { constants.join(", ") };
    }
    match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|n| *n != "null").unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

#[test]
fn the_requests_table_is_written_from_its_schema() {
    let schema = serde_json::to_value(schema_for!(TransferRequest)).expect("a schema");
    let mut table = String::from("| field | type | what |\n| --- | --- | --- |\n");
    rows(&schema, &schema, "", &mut table);

    let page = repository().join("docs/request.md");
    let text = std::fs::read_to_string(&page).expect("docs/request.md");
    let (start, end) = ("<!-- fields: generated -->\n", "<!-- end of fields -->");
    let from = text.find(start).expect("the start mark") + start.len();
    let to = text.find(end).expect("the end mark");
    let written = format!("{}{table}{}", &text[..from], &text[to..]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &written).expect("write docs/request.md");
        return;
    }
    assert!(
        text == written,
        "docs/request.md is out of date: run UPDATE_DOCS=1 cargo test --workspace --test docs"
    );
}

#[test]
fn every_example_is_a_request() {
    let schema = serde_json::to_value(schema_for!(TransferRequest)).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let examples = std::fs::read_dir(repository().join("docs/examples")).expect("docs/examples");
    let mut seen = 0;
    for example in examples {
        let path = example.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("an example");
        let request: Value = serde_json::from_str(&text).expect("JSON");
        assert!(validator.is_valid(&request), "{}: {:?}", path.display(), validator.validate(&request));
        assert!(Trigger::decode(&request).is_ok(), "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn what_the_schema_refuses_the_decoder_refuses() {
    let schema = serde_json::to_value(schema_for!(TransferRequest)).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    for refused in [
        r#"{}"#,
        r#"{"objects": {}}"#,
        r#"{"objects": {"listing": {}, "csv": {"bucket": "abc", "key": "k"}}}"#,
        r#"{"objects": {"listing": {}}, "colour": "red"}"#,
        r#"{"objects": {"listing": {"prefiks": "a"}}}"#,
        r#"{"objects": {"listing": {}}, "source": {"account": "1"}}"#,
        r#"{"objects": {"listing": {}}, "destination": {"storageClass": "standard"}}"#,
        r#"{"objects": {"listing": {}}, "approval": {"hours": 697}}"#,
        r#"{"objects": {"listing": {}}, "canary": {"objects": 81}}"#,
        r#"{"objects": {"listing": {}}, "canary": {}}"#,
        r#"{"objects": {"listing": {}}, "priority": -1}"#,
    ] {
        let request: Value = serde_json::from_str(refused).expect("JSON");
        assert!(!validator.is_valid(&request), "the schema takes {refused}");
        assert!(Trigger::decode(&request).is_err(), "the decoder takes {refused}");
    }
}

#[test]
fn the_events_of_the_longest_transfer_fit_one_history() {
    let page = std::fs::read_to_string(repository().join("docs/limits.md")).expect("docs/limits.md");
    let table =
        page.split("| looking for |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let events: Vec<u64> = table
        .lines()
        .filter_map(|row| row.rsplit('|').nth(1)?.trim().trim_matches('*').replace(',', "").parse().ok())
        .collect();
    let (total, rows) = events.split_last().expect("rows");
    assert_eq!(rows.iter().sum::<u64>(), *total);
    assert!(*total < 24_000, "{total} leave too few of 25,000 events for retries");
}

#[test]
fn every_error_name_is_explained() {
    use brigade::failure::Failure;
    use brigade::steps::{
        await_confirmation, check_inventory, collect_report, create_job, decide, generate_manifest,
        update_job_status, validate_permissions, write_plan,
    };
    let page =
        std::fs::read_to_string(repository().join("docs/how-it-works.md")).expect("docs/how-it-works.md");
    let explained = |name: &str| {
        let of_every_step = name.split_once('.').map(|(_, kind)| format!("`*.{kind}`"));
        page.contains(&format!("`{name}`")) || of_every_step.is_some_and(|name| page.contains(&name))
    };
    let names = [
        <await_confirmation::Error as Failure>::NAMES,
        <check_inventory::Error as Failure>::NAMES,
        <collect_report::Error as Failure>::NAMES,
        <create_job::Error as Failure>::NAMES,
        <decide::Error as Failure>::NAMES,
        <generate_manifest::Error as Failure>::NAMES,
        <update_job_status::Error as Failure>::NAMES,
        <validate_permissions::Error as Failure>::NAMES,
        <write_plan::Error as Failure>::NAMES,
    ];
    let missing: Vec<_> = names.into_iter().flatten().filter(|name| !explained(name)).collect();
    assert!(missing.is_empty(), "docs/how-it-works.md does not explain {missing:?}");
}
