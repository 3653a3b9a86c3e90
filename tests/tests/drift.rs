//! Types, definition and template agree: what one of them says, the others hold to.
//!
//! `UPDATE_SCHEMAS=1` writes the committed schemas anew, `UPDATE_DOCS=1` the table of parameters.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use brigade::failure::Failure;
use brigade::layout::Layout;
use brigade::request::TransferRequest;
use brigade::route::{Turn, Way};
use brigade::steps::{
    await_confirmation, cancel_jobs, check_inventory, collect_report, compare_checksums, copy_object,
    create_job, decide, generate_manifest, update_job_status, validate_permissions, verify_copies,
    write_plan,
};
use functions::Settings;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};
use tests::definition::{Contract, Step};
use tests::template;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn taken<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn answered<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

macro_rules! steps {
    ($($name:literal => $module:ident,)+) => {
        /// Every step, as its types have it.
        fn steps() -> Vec<Step> {
            vec![$(Step {
                name: $name,
                input: taken::<$module::Input>().to_value(),
                output: answered::<$module::Output>().to_value(),
                errors: <$module::Error as Failure>::NAMES,
            },)+]
        }
    };
}

steps! {
    "check-inventory" => check_inventory,
    "generate-manifest" => generate_manifest,
    "write-plan" => write_plan,
    "validate-permissions" => validate_permissions,
    "create-job" => create_job,
    "copy-object" => copy_object,
    "await-confirmation" => await_confirmation,
    "cancel-jobs" => cancel_jobs,
    "decide" => decide,
    "update-job-status" => update_job_status,
    "collect-report" => collect_report,
    "verify-copies" => verify_copies,
    "compare-checksums" => compare_checksums,
}

fn contract() -> Contract {
    Contract {
        definition: serde_json::from_str(&read("statemachine/transfer.asl.json")).expect("JSON"),
        template: template::read(&read("template.yaml")).expect("a template"),
        steps: steps(),
    }
}

#[test]
fn definition_template_and_types_agree() {
    let problems = contract().problems();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_binary_is_a_step_and_every_step_a_binary() {
    let folder = repository().join("functions/src/bin");
    let binaries: BTreeSet<String> = fs::read_dir(folder)
        .expect("functions/src/bin")
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    let steps: BTreeSet<String> = steps().iter().map(|step| step.name.to_owned()).collect();
    assert_eq!(binaries, steps);
}

#[test]
fn error_names_say_whose_they_are() {
    for step in steps() {
        let mut seen = BTreeSet::new();
        for name in step.errors {
            let own = name.strip_prefix(&step.pascal()).is_some_and(|rest| rest.starts_with('.'));
            assert!(own || *name == brigade::failure::TRANSIENT, "{}: {name}", step.name);
            assert!(seen.insert(name), "{}: {name} is there twice", step.name);
        }
    }
}

#[test]
fn the_template_sets_what_the_functions_read() {
    let asked = RefCell::new(BTreeSet::new());
    let settings = Settings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        let value = match name {
            "ACCOUNT_ID" | "SOURCE_ACCOUNT_ID" => "222222222222",
            "AWS_REGION" | "SOURCE_REGION" => "us-east-1",
            "BATCH_ROLE_ARN" | "CREATE_JOB_ROLE_ARN" => "arn:aws:iam::222222222222:role/batch",
            name if name.ends_with("_BUCKET") || name.ends_with("_BUCKETS") => "bucket",
            _ => "",
        };
        Some(value.to_owned())
    });
    settings.expect("every setting was read");
    let mut asked = asked.into_inner();
    assert!(asked.remove("AWS_REGION"), "Lambda sets it");
    // For the logs, read by no setting.
    asked.insert("RUST_LOG".to_owned());
    let template = contract().template;
    let globals = &template["Globals"]["Function"];
    // What only one function is told: the others don't wait for another function to be there.
    let creator = &template["Resources"]["CreateJobFunction"]["Properties"];
    let told = [globals, creator].map(|of| &of["Environment"]["Variables"]);
    let set: BTreeSet<String> =
        told.into_iter().flat_map(|of| of.as_object().expect("variables").keys().cloned()).collect();
    assert_eq!(set, asked);
}

/// What a main asks for, and the action its role needs for it.
const PORTS: [(&str, &str); 6] = [
    (".role_", "sts:AssumeRole"),
    (".account()", "iam:SimulatePrincipalPolicy"),
    (".topic()", "sns:Publish"),
    (".batch_operations()", "s3:DescribeJob"),
    (".step_functions()", "states:SendTaskSuccess"),
    (".store()", "s3:GetObject"),
];

#[test]
fn roles_allow_what_the_mains_ask_for_and_no_more() {
    let resources = &contract().template["Resources"];
    let mut readers = BTreeSet::new();
    for step in steps() {
        let main = read(&format!("functions/src/bin/{}.rs", step.name));
        let role = format!("{}Role", step.pascal());
        let policy = resources[&role]["Properties"]["Policies"].to_string();
        for (port, action) in PORTS {
            // A store can be one that is only written to.
            let allowed = policy.contains(action) || (port == ".store()" && policy.contains("s3:PutObject"));
            assert_eq!(main.contains(port), allowed, "{}: {port} and {action}", step.name);
        }
        if main.contains(".role_") {
            readers.insert(role);
        }
    }
    let trust = &resources["BatchRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
    let trusted: BTreeSet<String> = trust
        .as_array()
        .expect("statements")
        .iter()
        .flat_map(|statement| statement["Principal"]["AWS"].as_array().into_iter().flatten())
        .map(|principal| template::resource_of(principal).expect("a role of ours").to_owned())
        .collect();
    assert_eq!(trusted, readers, "the batch role trusts who reads the source, and nobody else");
}

#[test]
fn no_rule_watches_what_transfers_write() {
    let name = "monday".parse().expect("a name");
    let [_, checksum] = Layout::of(&name).manifest(Way::Copy, Turn::Current, 0);
    let written = checksum.to_string();
    let template = contract().template;
    let resources = template["Resources"].as_object().expect("resources");
    let rules = resources.values().filter(|resource| resource["Type"] == "AWS::Events::Rule");
    let keys: Vec<&Value> = rules
        .map(|rule| &rule["Properties"]["EventPattern"]["detail"])
        .filter(|detail| template::resource_of(&detail["bucket"]["name"][0]) == Some("WorkBucket"))
        .map(|detail| &detail["object"]["key"][0])
        .collect();
    assert!(!keys.is_empty(), "the work bucket is watched");
    for key in keys {
        let (folder, _) = key["wildcard"].as_str().and_then(|key| key.split_once('*')).expect("a wildcard");
        assert!(!written.starts_with(folder), "{key} matches {written}: transfers would start without end");
    }
}

#[test]
fn the_parameters_are_documented() {
    let template = contract().template;
    let mut table = String::from("| parameter | default | what |\n| --- | --- | --- |\n");
    for (name, parameter) in template["Parameters"].as_object().expect("parameters") {
        let default = match &parameter["Default"] {
            Value::Null => "to be given".to_owned(),
            Value::String(text) if text.is_empty() => "empty".to_owned(),
            Value::String(text) => format!("`{text}`"),
            value => format!("`{value}`"),
        };
        let what = parameter["Description"].as_str().expect("a description");
        table += &format!("| `{name}` | {default} | {what} |\n");
    }
    let page = read("docs/deploying.md");
    let (start, end) = ("<!-- parameters: generated -->\n", "<!-- end of parameters -->");
    let from = page.find(start).expect("the start mark") + start.len();
    let to = page.find(end).expect("the end mark");
    let written = format!("{}{table}{}", &page[..from], &page[to..]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(repository().join("docs/deploying.md"), &written).expect("written");
        return;
    }
    assert!(page == written, "docs/deploying.md: UPDATE_DOCS=1 cargo test --workspace --test drift");
}

/// The schemas that are committed: what the steps and the request look like to others.
fn schemas() -> Vec<(String, Value)> {
    let of_steps = steps().into_iter().flat_map(|step| {
        let Step { name, input, output, .. } = step;
        [(format!("{name}.input.json"), input), (format!("{name}.output.json"), output)]
    });
    of_steps.chain([("request.json".to_owned(), taken::<TransferRequest>().to_value())]).collect()
}

#[test]
fn committed_schemas_are_those_of_the_types() {
    let folder = repository().join("statemachine/schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    if update {
        fs::create_dir_all(&folder).expect("a folder");
    }
    let mut expected = BTreeSet::new();
    for (name, schema) in schemas() {
        let path = folder.join(&name);
        let schema = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if update {
            fs::write(&path, &schema).expect("written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == schema,
            "{name} is not what the types say; UPDATE_SCHEMAS=1 cargo test --workspace --test drift"
        );
        expected.insert(name);
    }
    let found: BTreeSet<String> = fs::read_dir(folder)
        .expect("statemachine/schemas")
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(found, expected);
}

/// A change that breaks the agreement, and words of the problem that must be reported.
type Mutation = (&'static str, fn(&mut Contract), &'static str);

fn state<'a>(contract: &'a mut Contract, name: &str) -> &'a mut Value {
    &mut contract.definition["States"][name]
}

fn inner<'a>(contract: &'a mut Contract, name: &str) -> &'a mut Value {
    &mut contract.definition["States"]["GenerateManifest"]["ItemProcessor"]["States"][name]
}

fn properties<'a>(contract: &'a mut Contract, resource: &str) -> &'a mut Value {
    &mut contract.template["Resources"][resource]["Properties"]
}

fn remove(object: &mut Value, key: &str) {
    object.as_object_mut().and_then(|object| object.remove(key)).expect("a member to remove");
}

fn step<'a>(contract: &'a mut Contract, name: &str) -> &'a mut Step {
    contract.steps.iter_mut().find(|step| step.name == name).expect("a step")
}

#[rustfmt::skip] // one line each
const MUTATIONS: &[Mutation] = &[
    // Ways
    ("a target that is not there", |c| state(c, "WritePlan")["Next"] = json!("PlanWriten"), "there is no state PlanWriten"),
    ("a default that is not there", |c| state(c, "Decided")["Default"] = json!("Nowhere"), "there is no state Nowhere"),
    ("a state without a way", |c| state(c, "PlanWritten")["Default"] = json!("CollectReport"), "ValidatePermissions: no way leads there"),
    ("an inner target that is not there", |c| inner(c, "NextLeg")["Next"] = json!("Again"), "there is no state Again"),
    // Functions
    ("a misspelt resource", |c| state(c, "WritePlan")["Resource"] = json!("arn:aws:states:::lambda:invok"), "is no resource"),
    ("a misspelt substitution", |c| state(c, "WritePlan")["Arguments"]["FunctionName"] = json!("${WritePlanArn}"), "${WritePlanArn} is not in the template"),
    ("no function", |c| remove(&mut state(c, "WritePlan")["Arguments"], "FunctionName"), "WritePlan: FunctionName is null"),
    ("another step's function", |c| state(c, "WritePlan")["Arguments"]["FunctionName"] = json!("${CreateJobFunctionArn}"), "create-job needs plan"),
    ("a substitution that leads nowhere", |c| properties(c, "TransferStateMachine")["DefinitionSubstitutions"]["TopicArn"] = json!({"Ref": "Topics"}), "which the template does not have"),
    ("a substitution that is not used", |c| properties(c, "TransferStateMachine")["DefinitionSubstitutions"]["Other"] = json!({"Ref": "Topic"}), "the definition does not use"),
    ("another function's binary", |c| c.template["Resources"]["DecideFunction"]["Metadata"]["BuildProperties"]["Binary"] = json!("decided"), "decide does not have its own binary"),
    ("another function's role", |c| properties(c, "DecideFunction")["Role"] = json!({"Fn::GetAtt": ["CreateJobRole", "Arn"]}), "decide does not have its own role"),
    ("no log group", |c| remove(properties(c, "DecideFunction"), "LoggingConfig"), "decide does not have its own log group"),
    ("logs without end", |c| remove(properties(c, "DecideLogGroup"), "RetentionInDays"), "a log group that forgets"),
    ("a name that nobody knows", |c| properties(c, "DecideFunction")["FunctionName"] = json!("decide"), "decide does not have its own name"),
    ("a function that may not be invoked", |c| {
        let policy = properties(c, "TransferStateMachineRole")["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"].as_array_mut();
        policy.expect("functions").retain(|function| function["Fn::GetAtt"][0] != "WritePlanFunction");
    }, "the state machine's role may not use"),
    // Payloads
    ("a key that no step takes", |c| state(c, "CreateJob")["Arguments"]["Payload"]["plans"] = json!("{% $plan %}"), "create-job does not take plans"),
    ("a key left out", |c| remove(&mut state(c, "CreateJob")["Arguments"]["Payload"], "plan"), "create-job needs plan"),
    ("another value than there is", |c| state(c, "ConfirmJobs")["Arguments"]["Payload"]["order"] = json!("RUN"), "order can't be \"RUN\""),
    ("the wrong variable", |c| state(c, "CreateJob")["Arguments"]["Payload"]["plan"] = json!("{% $transfer %}"), "create-job takes a PlanSummary as plan"),
    ("another job than there is", |c| state(c, "CreateCanary")["Arguments"]["Payload"]["kind"] = json!("PILOT"), "kind can't be \"PILOT\""),
    ("null where none is taken", |c| state(c, "CancelJobs")["Arguments"]["Payload"]["reason"] = json!("{% $told %}"), "takes no null as reason"),
    ("an item without its slice", |c| remove(&mut state(c, "GenerateManifest")["ItemSelector"], "slice"), "its input can be without slice"),
    ("a leg that forgets its slice", |c| remove(&mut inner(c, "NextLeg")["Output"], "slice"), "generate-manifest needs slice"),
    ("a field that a type loses", |c| remove(&mut step(c, "create-job").input["properties"], "plan"), "create-job does not take plan"),
    ("a field that a type gains", |c| step(c, "write-plan").input["required"].as_array_mut().expect("a list").push(json!("copies")), "write-plan needs copies"),
    ("an answer that a type loses", |c| remove(&mut step(c, "write-plan").output["properties"], "plan"), "reads plan, which nothing there has"),
    // Variables
    ("a variable that has no value yet", |c| state(c, "CheckInventory")["Arguments"]["Payload"]["granted"] = json!("{% $plan %}"), "CheckInventory: $plan has no value"),
    ("a canary that no plan promised", |c| remove(&mut state(c, "WritePlan")["Assign"], "canary"), "CollectReport: $canary has no value"),
    ("a canary that the plan may not have", |c| state(c, "CanaryPlanned")["Choices"][0]["Condition"] = json!("{% $plan.canary.objects > 0 %}"), "reads canary, which can be missing; ask $exists first"),
    ("a misspelt variable", |c| state(c, "AwaitJobs")["Seconds"] = json!("{% $waitSecond %}"), "$waitSecond has no value"),
    ("a variable that one way does not set", |c| remove(state(c, "JobCreated"), "Assign"), "ConfirmJobs: $reason has no value"),
    ("a failure that is not kept", |c| remove(&mut state(c, "WritePlan")["Catch"][0], "Assign"), "reads $failure, which can be null since GenerateManifest"),
    ("a null that no choice rules out", |c| state(c, "ManifestGenerated")["Choices"][0]["Condition"] = json!("{% $granted %}"), "reads $failure, which can be null since GenerateManifest"),
    ("an outer variable in a map", |c| inner(c, "WriteParts")["Arguments"]["Payload"] = json!({"transfer": "{% $transfer %}", "slice": "{% $states.input.slice %}"}), "WriteParts: $transfer has no value"),
    ("an answer that is not there", |c| state(c, "CreateJob")["Assign"]["jobs"] = json!("{% $states.result.Payload.job %}"), "reads job, which nothing there has"),
    ("an answer that can be missing", |c| state(c, "ValidatePermissions")["Assign"]["told"] = json!("{% $states.result.Payload.told %}"), "can be missing; ask $exists first"),
    ("a member that is not there", |c| state(c, "AwaitConfirmation")["TimeoutSeconds"] = json!("{% $transfer.approval.minutes * 60 %}"), "reads minutes, which nothing there has"),
    ("a member of the decision that is not there", |c| state(c, "AwaitConfirmation")["Assign"]["reason"] = json!("{% $states.result.why %}"), "reads why, which nothing there has"),
    ("a status that nobody answers", |c| state(c, "InventoryChecked")["Choices"][0]["Condition"] = json!("{% $inventory = 'DONE' %}"), "can't be \"DONE\""),
    ("a failure of each slice", |c| state(c, "GenerateManifest")["Assign"]["failure"] = json!("{% $exists($states.result.failure) ? $states.result.failure[0] : null %}"), "picks one of each item"),
    ("a variable of its own", |c| state(c, "AwaitJobs")["Seconds"] = json!("{% ($x := 1; $x) %}"), "binds variables"),
    // Errors
    ("an error that nothing raises", |c| state(c, "CreateJob")["Retry"][0]["ErrorEquals"] = json!(["CreateJob.StillPreparin"]), "fails with CreateJob.StillPreparin"),
    ("another step's error", |c| state(c, "CreateJob")["Retry"][0]["ErrorEquals"] = json!(["UpdateJobStatus.NotYet"]), "fails with UpdateJobStatus.NotYet"),
    ("an error of ours renamed", |c| step(c, "create-job").errors = &["Transient"], "fails with CreateJob.StillPreparing"),
    ("errors that end everything", |c| remove(state(c, "CollectReport"), "Catch"), "CollectReport: not every error is caught"),
    ("inner errors that end everything", |c| remove(inner(c, "WriteParts"), "Catch"), "WriteParts: not every error is caught"),
    ("all errors before one", |c| state(c, "AwaitConfirmation")["Catch"].as_array_mut().expect("a list").reverse(), "States.ALL must stand alone, and last in its Catch"),
    ("all errors and one", |c| state(c, "TellFailure")["Catch"][0]["ErrorEquals"] = json!(["States.ALL", "States.Timeout"]), "States.ALL must stand alone"),
    ("a passing fault that is not retried", |c| remove(state(c, "WritePlan"), "Retry"), "WritePlan: Transient is not retried"),
    // The map
    ("a label too long", |c| state(c, "GenerateManifest")["Label"] = json!("GenerateManifestOfEverySliceOfTheWholeList"), "must have 1 to 40 letters"),
    ("a misspelt reader", |c| state(c, "GenerateManifest")["ItemReader"]["Resource"] = json!("arn:aws:states:::s3:getObjects"), "is no reader of items"),
    ("a misspelt input type", |c| state(c, "GenerateManifest")["ItemReader"]["ReaderConfig"]["InputType"] = json!("JSONLINES"), "is no InputType"),
    ("a map in the parent's history", |c| state(c, "GenerateManifest")["ItemProcessor"]["ProcessorConfig"]["Mode"] = json!("INLINE"), "must be processed DISTRIBUTED"),
];

#[test]
fn every_mutation_is_reported() {
    let mut unnoticed = Vec::new();
    for (what, mutate, words) in MUTATIONS {
        let mut mutated = contract();
        mutate(&mut mutated);
        let problems = mutated.problems();
        if !problems.iter().any(|problem| problem.contains(words)) {
            unnoticed.push(format!("{what}: expected {words:?} among {problems:#?}"));
        }
    }
    assert!(unnoticed.is_empty(), "\n{}", unnoticed.join("\n"));
}
