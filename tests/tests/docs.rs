//! The documents say what the types say: the request's table is written from its schema, the
//! permissions' from the policy model, and every example is a request.

use std::fmt::Write;
use std::path::PathBuf;

use brigade::finding::FindingKind;
use brigade::policy::role::{TargetAccess, trust};
use brigade::policy::source::{ListAccess, SourceAccess};
use brigade::policy::{Place, Statement};
use brigade::request::{TransferRequest, Trigger, Verify};
use schemars::schema_for;
use serde_json::Value;
use tests::scene::id;

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

    assert_written("docs/request.md", "<!-- fields: generated -->\n", "<!-- end of fields -->", &table);
}

#[test]
fn the_findings_table_is_written_from_their_kinds() {
    let schema = serde_json::to_value(schema_for!(FindingKind)).expect("a schema");
    let kinds = schema["oneOf"].as_array().expect("one for each kind");
    let mut table = String::from("| finding | what |\n| --- | --- |\n");
    for kind in kinds {
        let (name, what) = (kind["const"].as_str(), kind["description"].as_str());
        let (name, what) = (name.expect("a name"), what.expect("a description").replace('\n', " "));
        writeln!(table, "| `{name}` | {what} |").expect("a String takes every text");
    }
    assert_written(
        "docs/permissions.md",
        "<!-- findings: generated -->\n",
        "<!-- end of findings -->",
        &table,
    );
}

/// What stands between two marks of a page is this; `UPDATE_DOCS` writes it there.
fn assert_written(page: &str, start: &str, end: &str, generated: &str) {
    let path = repository().join(page);
    let text = std::fs::read_to_string(&path).expect(page);
    let from = text.find(start).expect("the start mark") + start.len();
    let to = text.find(end).expect("the end mark");
    let written = format!("{}{generated}{}", &text[..from], &text[to..]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &written).expect(page);
        return;
    }
    assert!(text == written, "{page} is out of date: run UPDATE_DOCS=1 cargo test --workspace --test docs");
}

const BATCH_ROLE: &str = "arn:aws:iam::222222222222:role/STACK-batch";

/// Every statement that the widest transfer needs, by the policy it belongs to.
fn parties() -> Vec<(String, Vec<Statement>)> {
    let source = SourceAccess {
        role: id(BATCH_ROLE),
        account: id("111111111111"),
        buckets: vec![id("SOURCE")],
        region: id("eu-west-1"),
        prefix: String::new(),
        keys: vec![id("arn:aws:kms:eu-west-1:111111111111:key/SOURCE-KEY")],
        versions: true,
        tags: true,
        restore: true,
        checksums: true,
        lists: Some(ListAccess {
            bucket: id("LISTS"),
            key: Some(id("arn:aws:kms:eu-west-1:111111111111:key/LISTS-KEY")),
            delivered: true,
        }),
        expires: None,
    };
    let target = TargetAccess {
        account: id("222222222222"),
        bucket: id("DESTINATION"),
        region: id("us-east-1"),
        prefix: "FOLDER".to_owned(),
        kms_key: Some(id("arn:aws:kms:us-east-1:222222222222:key/DESTINATION-KEY")),
        tags: true,
        acl: true,
        multipart: true,
        function: Some("arn:aws:lambda:us-east-1:222222222222:function:STACK-copy-object:*".to_owned()),
        verify: Verify::Checksum,
        work_bucket: id("WORK"),
        report_bucket: id("REPORTS"),
    };
    let destination_key = target.kms_key.as_ref().map(|key| target.destination_key(&source, key));
    let functions = [
        "check-inventory",
        "collect-report",
        "copy-object",
        "generate-manifest",
        "validate-permissions",
        "verify-copies",
    ]
    .map(|name| id(&format!("arn:aws:iam::222222222222:role/STACK-{name}")));
    let mut parties: Vec<_> = source
        .grants()
        .into_iter()
        .chain(destination_key)
        .map(|grant| {
            let title = match &grant.place {
                Place::BucketPolicy(bucket) => format!("The policy of bucket `{bucket}`"),
                Place::KeyPolicy(key) => {
                    format!("The policy of key `{}`", key.as_str().rsplit('/').next().unwrap_or_default())
                }
                place => format!("{place}"),
            };
            (format!("{title}, account {}", grant.account), grant.statements)
        })
        .collect();
    parties.extend([
        ("The batch role, account 222222222222".to_owned(), target.batch_role(&source)),
        ("Who may assume the batch role".to_owned(), trust(&functions)),
        ("The creator, the role of `create-job`".to_owned(), target.creator(&source)),
        ("The copier, the role of `copy-object`".to_owned(), target.copier(&source.role)),
    ]);
    parties
}

/// Why a statement is needed, by its Sid without our prefix and without the hash.
fn why(name: &str) -> &'static str {
    match name {
        "ListSource" => "a missing object is told from a forbidden one, and prefixes can be listed",
        "ReadSource" => {
            "the copy reads the object, its tags, and versions where the list names them; restoring is asked for by `restore` and by `verify: checksum`, which takes versions too"
        }
        "DecryptSource" => "S3 decrypts what it reads, for whom it reads it",
        "ListLists" => "a missing list is told from a forbidden one",
        "ReadLists" => "the list is read",
        "DeliverInventory" => "S3 delivers the source bucket's inventories there",
        "DecryptLists" => "the list is encrypted",
        "EncryptInventory" => "S3 encrypts the inventories it delivers",
        "EncryptCopies" => "S3 encrypts the copies; large uploads read their parts again",
        "ListManifests" => "as for lists",
        "ReadManifests" => "the job reads its manifest, as this role",
        "WriteCopies" => {
            "the copy itself, in parts where it is large; tags and an ACL only where they are sent"
        }
        "FindUploads" => {
            "uploads whose ids got lost are found and ended, and a missing copy is told from a forbidden one"
        }
        "LookAtCopies" => {
            "an upload that has ended is looked for in what it makes; copies are compared with their originals, and AWS computes checksums only for who may restore as well"
        }
        "ActAsTheBatchRole" => "the function copies as the job does",
        "ListNotes" => "the newest note about an upload is found",
        "NoteUploads" => "the next invocation goes on where one has ended",
        "InvokeCopyObject" => "the job hands large and renamed objects to this function",
        "WriteReports" => "the job writes its completion report, as this role",
        "BatchOperations" => "the service runs the job as this role",
        "FunctionsThatReadTheSource" => {
            "the functions read the source, try permissions and copy as the job does"
        }
        "CreateJobs" => "S3 knows no resource for it",
        "PassTheBatchRole" => "the job gets the batch role and no other",
        "SteerJobs" => "the job is followed, and confirmed or cancelled",
        "TellMissingFromForbidden" => "a note that is not there yet is no error",
        "ReadManifest" => "who creates a job must be able to read its manifest",
        "NoteJobs" => "the job's id is kept, so that there is never a second one",
        other => panic!("nobody says why {other} is needed"),
    }
}

/// An element's values, each as code.
fn code(values: &Value) -> String {
    let values = match values {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    let texts: Vec<String> =
        values.iter().map(|value| format!("`{}`", value.as_str().unwrap_or_default())).collect();
    texts.join("<br>")
}

fn row(statement: &Statement) -> String {
    let ours = statement.sid.strip_prefix("Brigade");
    let name = ours.map_or(statement.sid.as_str(), |rest| &rest[..rest.len() - 8]);
    let sid = if ours.is_some() { format!("`Brigade{name}…`") } else { format!("`{name}`") };
    let who = match &statement.principal {
        Some(principal) if principal["AWS"] == BATCH_ROLE => "the batch role".to_owned(),
        Some(principal) => {
            let named = principal.as_object().into_iter().flatten();
            named.map(|(_, names)| code(names)).collect()
        }
        None => String::new(),
    };
    let actions = code(&serde_json::json!(statement.action));
    let resources = if statement.resource.is_empty() {
        String::new()
    } else {
        code(&serde_json::json!(statement.resource))
    };
    let operators = statement.condition.as_ref().and_then(Value::as_object).into_iter().flatten();
    let conditions = operators.flat_map(|(_, keys)| keys.as_object().into_iter().flatten());
    let when: Vec<String> = conditions.map(|(key, value)| format!("`{key}`: {}", code(value))).collect();
    format!("| {sid} | {who} | {actions} | {resources} | {} | {} |\n", when.join("<br>"), why(name))
}

#[test]
fn the_permissions_tables_are_written_from_the_policy_model() {
    let mut tables = String::new();
    for (title, statements) in parties() {
        write!(tables, "### {title}\n\n| statement | who | may | on | when | why |\n| --- | --- | --- | --- | --- | --- |\n")
            .expect("a String takes every text");
        tables.extend(statements.iter().map(row));
        tables.push('\n');
    }
    assert_written(
        "docs/permissions.md",
        "<!-- statements: generated -->\n\n",
        "<!-- end of statements -->",
        &tables,
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
    assert_eq!(seen, 9);
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
        r#"{"objects": {"inventories": []}}"#,
        r#"{"objects": {"listing": {}}, "source": {"buckets": []}}"#,
        r#"{"objects": {"listing": {}}, "source": {"bucket": "photos"}}"#,
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
        await_confirmation, cancel_jobs, check_inventory, collect_report, compare_checksums, copy_object,
        create_job, decide, generate_manifest, update_job_status, validate_permissions, verify_copies,
        write_plan,
    };
    let page =
        std::fs::read_to_string(repository().join("docs/how-it-works.md")).expect("docs/how-it-works.md");
    let explained = |name: &str| {
        let of_every_step = name.split_once('.').map(|(_, kind)| format!("`*.{kind}`"));
        page.contains(&format!("`{name}`")) || of_every_step.is_some_and(|name| page.contains(&name))
    };
    let names = [
        <await_confirmation::Error as Failure>::NAMES,
        <cancel_jobs::Error as Failure>::NAMES,
        <check_inventory::Error as Failure>::NAMES,
        <collect_report::Error as Failure>::NAMES,
        <compare_checksums::Error as Failure>::NAMES,
        <copy_object::Error as Failure>::NAMES,
        <create_job::Error as Failure>::NAMES,
        <decide::Error as Failure>::NAMES,
        <generate_manifest::Error as Failure>::NAMES,
        <update_job_status::Error as Failure>::NAMES,
        <validate_permissions::Error as Failure>::NAMES,
        <verify_copies::Error as Failure>::NAMES,
        <write_plan::Error as Failure>::NAMES,
    ];
    let missing: Vec<_> = names.into_iter().flatten().filter(|name| !explained(name)).collect();
    assert!(missing.is_empty(), "docs/how-it-works.md does not explain {missing:?}");
}
