//! What is wrong with a state machine's definition, given the template that deploys it and the
//! steps its states take.
//!
//! Linters know the language; these checks know the project: which names a step can fail with,
//! what its input and output hold, which function takes it, and which variables have a value by
//! the time a state reads them. Non-goal: what linters find (fields that don't exist, JSONata that
//! doesn't parse).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::jsonata::{self, Reference};
use crate::schema::{Kind, Member};
use crate::template::resource_of;

/// A step: what one function takes, answers and fails with.
#[derive(Clone, Debug)]
pub struct Step {
    /// The function's binary, and its name within the stack.
    pub name: &'static str,
    /// The schema of its input.
    pub input: Value,
    /// The schema of its output.
    pub output: Value,
    /// What it can fail with.
    pub errors: &'static [&'static str],
}

impl Step {
    /// The name as states and resources have it.
    #[must_use]
    pub fn pascal(&self) -> String {
        let upper = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        self.name.split('-').map(upper).collect()
    }
}

/// Everything that must agree.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The definition.
    pub definition: Value,
    /// The template.
    pub template: Value,
    /// The steps.
    pub steps: Vec<Step>,
}

const LAMBDA: &str = "arn:aws:states:::lambda:invoke";
const LAMBDA_CALLBACK: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";
const PUBLISH: &str = "arn:aws:states:::sns:publish";
const READERS: [&str; 2] = ["arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2"];
const INPUT_TYPES: [&str; 5] = ["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"];

/// What Step Functions itself answers
/// (<https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>).
const STATES_ERRORS: [&str; 11] = [
    "States.ALL",
    "States.TaskFailed",
    "States.Timeout",
    "States.HeartbeatTimeout",
    "States.Permissions",
    "States.DataLimitExceeded",
    "States.QueryEvaluationError",
    "States.ExceedToleratedFailureThreshold",
    "States.ItemReaderFailed",
    "States.ResultWriterFailed",
    "States.NoChoiceMatched",
];

/// What Lambda answers when the fault is its own or passing, or a process died; every step is
/// retried after these.
const LAMBDA_ERRORS: [&str; 8] = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
];

/// What a function answers beside its step's own errors.
const SERVE_ERRORS: [&str; 2] = ["InvalidInput", "InvalidOutput"];

impl Contract {
    /// Every disagreement, in a sentence each. None means that all agree.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Problems::default();
        for machine in machines(&self.definition) {
            machine.check_transitions(&mut problems);
            for (name, state) in &machine.states {
                self.check_state(name, state, &mut problems);
            }
            self.check_variables(&machine, &mut problems);
            self.check_inputs(&machine, &mut problems);
        }
        self.check_substitutions(&mut problems);
        self.check_functions(&mut problems);
        problems.found
    }

    // ---- States -------------------------------------------------------------------------------

    fn check_state(&self, name: &str, state: &Value, problems: &mut Problems) {
        match text(&state["Type"]) {
            "Task" => self.check_task(name, state, problems),
            "Map" => check_map(name, state, problems),
            _ => {}
        }
        for list in ["Retry", "Catch"] {
            check_order(name, list, &state[list], problems);
        }
    }

    fn check_task(&self, name: &str, state: &Value, problems: &mut Problems) {
        let resource = text(&state["Resource"]);
        if ![LAMBDA, LAMBDA_CALLBACK, PUBLISH].contains(&resource) {
            problems.add(format!("{name}: {resource:?} is no resource that this project uses"));
        }
        if !errors(&state["Catch"]).any(|error| error == "States.ALL") {
            problems.add(format!("{name}: not every error is caught; add a Catch of States.ALL"));
        }
        let step = self.step_of(state);
        if resource.starts_with(LAMBDA) {
            match step {
                Some(step) => self.check_payload(name, state, step, problems),
                None => problems.add(format!(
                    "{name}: FunctionName is {}, but must be \"${{<Function>Arn}}\" of one of the functions",
                    state["Arguments"]["FunctionName"]
                )),
            }
            let retried: BTreeSet<&str> = errors(&state["Retry"]).collect();
            for error in LAMBDA_ERRORS.into_iter().chain([brigade::failure::TRANSIENT]) {
                if !retried.contains(error) {
                    problems.add(format!("{name}: {error} is not retried"));
                }
            }
        }
        for error in errors(&state["Retry"]).chain(errors(&state["Catch"])) {
            let own = step.is_some_and(|step| step.errors.contains(&error));
            let of_function = resource.starts_with(LAMBDA)
                && (LAMBDA_ERRORS.contains(&error) || SERVE_ERRORS.contains(&error));
            if !own && !of_function && !STATES_ERRORS.contains(&error) {
                problems.add(format!("{name}: nothing there fails with {error}"));
            }
        }
    }

    /// The step a task state takes, found as the deployment finds it: by the substitution.
    fn step_of(&self, state: &Value) -> Option<&Step> {
        let key = text(&state["Arguments"]["FunctionName"]).strip_prefix("${")?.strip_suffix('}')?;
        let function = resource_of(self.substitutions().get(key)?)?;
        let binary = &self.template["Resources"][function]["Metadata"]["BuildProperties"]["Binary"];
        self.steps.iter().find(|step| binary == step.name && step.pascal() + "Function" == function)
    }

    fn check_payload(&self, name: &str, state: &Value, step: &Step, problems: &mut Problems) {
        let Some(payload) = state["Arguments"]["Payload"].as_object() else { return };
        check_keys(name, &payload.keys().map(String::as_str).collect::<Vec<_>>(), step, problems);
        for (key, value) in payload {
            let (Member::Always(kind) | Member::Sometimes(kind)) = Kind::of(&step.input).member(key) else {
                continue;
            };
            let literal = value.as_str().filter(|text| jsonata::expression(text).is_none());
            if let (Some(literal), Some(texts)) = (literal, kind.texts())
                && !texts.contains(&literal)
            {
                problems.add(format!("{name}: {key} can't be {literal:?}, only one of {texts:?}"));
            }
        }
    }

    // ---- Variables ----------------------------------------------------------------------------

    fn check_variables(&self, machine: &Machine<'_>, problems: &mut Problems) {
        let edges = machine.edges();
        let reaching = reaching(machine, &edges);
        for (name, state) in &machine.states {
            let Some(entry) = reaching.get(name) else { continue };
            for text in expressions(state) {
                self.check_expression(name, state, text, entry, problems);
            }
            self.check_arguments(name, state, entry, problems);
        }
    }

    fn check_expression(
        &self,
        name: &str,
        state: &Value,
        expression: &str,
        entry: &Sites<'_>,
        problems: &mut Problems,
    ) {
        if jsonata::binds(expression) {
            problems.add(format!("{name}: {expression} binds variables, which these checks can't follow"));
        }
        if jsonata::picks_of_each(expression) {
            problems.add(format!("{name}: {expression} picks one of each item; put what it picks of in ()"));
        }
        let references = jsonata::references(expression);
        for reference in &references {
            let kinds: Vec<Kind<'_>> = if reference.variable == "states" {
                self.kind_of_states(state, reference).into_iter().collect()
            } else if let Some(sites) = entry.get(reference.variable.as_str()) {
                for site in sites.iter().filter(|site| !reference.path.is_empty() && site.may_be_null()) {
                    problems.add(format!(
                        "{name}: {expression} reads ${}, which can be null since {}",
                        reference.variable, site.name
                    ));
                }
                sites.iter().filter_map(|site| self.kind_of(site)).collect()
            } else {
                problems.add(format!("{name}: ${} has no value on some way here", reference.variable));
                continue;
            };
            let path = match reference.variable.as_str() {
                "states" => reference.path.get(self.depth_of_states(state)..).unwrap_or_default(),
                _ => &reference.path[..],
            };
            let guarded = references.iter().any(|other| other.guard && other.path == reference.path);
            for kind in kinds {
                check_path(name, expression, kind, path, guarded, reference, problems);
            }
        }
    }

    /// How much of `$states.result.Payload…` leads to the step's own output.
    fn depth_of_states(&self, state: &Value) -> usize {
        if text(&state["Resource"]) == LAMBDA { 2 } else { 1 }
    }

    fn kind_of_states(&self, state: &Value, reference: &Reference) -> Option<Kind<'_>> {
        let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
        match (text(&state["Resource"]), path.as_slice()) {
            (LAMBDA, ["result", "Payload", ..]) => self.step_of(state).map(|step| Kind::of(&step.output)),
            // What a waiting state answers is what the decision was answered with.
            (LAMBDA_CALLBACK, ["result", ..]) => {
                self.steps.iter().find(|step| step.name == "decide").map(|step| Kind::of(&step.output))
            }
            _ => None,
        }
    }

    /// What a variable holds after an assignment, as far as the steps' schemas tell.
    fn kind_of(&self, site: &Site<'_>) -> Option<Kind<'_>> {
        let expression = jsonata::expression(site.value.as_str()?)?;
        let mut kinds = jsonata::references(expression)
            .into_iter()
            .filter(|reference| !reference.guard && reference.variable == "states");
        let reference = kinds.next().filter(|_| kinds.next().is_none())?;
        let conditional = format!("$exists({0}) ? {0} : null", written(&reference));
        if expression != written(&reference) && expression != conditional {
            return None;
        }
        let kind = self.kind_of_states(site.state, &reference)?;
        reference.path.get(self.depth_of_states(site.state)..)?.iter().try_fold(kind, |kind, name| match kind
            .member(name)
        {
            Member::Always(kind) | Member::Sometimes(kind) => Some(kind),
            Member::Unknown | Member::Missing => None,
        })
    }

    /// Whole variables that are handed to a step: of the right type, and `null` only where allowed.
    fn check_arguments(&self, name: &str, state: &Value, entry: &Sites<'_>, problems: &mut Problems) {
        let Some(step) = self.step_of(state) else { return };
        for (key, value) in state["Arguments"]["Payload"].as_object().into_iter().flatten() {
            let (Member::Always(wanted) | Member::Sometimes(wanted)) = Kind::of(&step.input).member(key)
            else {
                continue;
            };
            let variable = value.as_str().and_then(jsonata::expression).and_then(jsonata::whole);
            let Some(variable) = variable.filter(|variable| variable.path.is_empty()) else { continue };
            for site in entry.get(variable.variable.as_str()).into_iter().flatten() {
                if site.may_be_null() && !wanted.takes_null() {
                    problems.add(format!(
                        "{name}: ${} can be null since {}, but {} takes no null as {key}",
                        variable.variable, site.name, step.name
                    ));
                }
                if let (Some(given), Some(wanted)) = (self.kind_of(site).and_then(Kind::name), wanted.name())
                    && given != wanted
                {
                    problems.add(format!(
                        "{name}: ${} is a {given} since {}, but {} takes a {wanted} as {key}",
                        variable.variable, site.name, step.name
                    ));
                }
            }
        }
    }

    // ---- Inputs -------------------------------------------------------------------------------

    /// Inside a map states hand each other their input: what it holds, state by state.
    fn check_inputs(&self, machine: &Machine<'_>, problems: &mut Problems) {
        let Some(first) = &machine.input else { return };
        let mut shapes: BTreeMap<&str, BTreeSet<Shape>> = BTreeMap::new();
        let mut open = vec![(machine.start, Some(first.clone()))];
        let edges = machine.edges();
        while let Some((name, shape)) = open.pop() {
            if !shapes.entry(name).or_default().insert(shape.clone()) {
                continue;
            }
            for edge in edges.iter().filter(|edge| edge.from == name) {
                let next = match edge.output {
                    Some(output) => output.as_object().map(|keys| keys.keys().cloned().collect()),
                    None if edge.passes_input => shape.clone(),
                    None => None,
                };
                open.push((edge.to, next));
            }
        }
        for (name, shapes) in &shapes {
            let Some(state) = machine.states.get(name) else { continue };
            for shape in shapes.iter().flatten() {
                for reference in expressions(state).iter().flat_map(|text| jsonata::references(text)) {
                    if reference.variable == "states"
                        && reference.path.first().is_some_and(|first| first == "input")
                        && let Some(member) = reference.path.get(1)
                        && !shape.contains(member)
                    {
                        problems.add(format!("{name}: its input can be without {member}"));
                    }
                }
                let whole = state["Arguments"]["Payload"].as_str().and_then(jsonata::expression);
                if let (Some("$states.input"), Some(step)) = (whole, self.step_of(state)) {
                    check_keys(name, &shape.iter().map(String::as_str).collect::<Vec<_>>(), step, problems);
                }
            }
        }
    }

    // ---- The template -------------------------------------------------------------------------

    fn machine_resource(&self) -> Option<&Value> {
        let mut resources = self.template["Resources"].as_object().into_iter().flatten();
        resources.find(|(_, r)| r["Type"] == "AWS::Serverless::StateMachine").map(|(_, resource)| resource)
    }

    fn substitutions(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.machine_resource()
            .and_then(|machine| machine["Properties"]["DefinitionSubstitutions"].as_object())
            .unwrap_or(&NONE)
    }

    fn check_substitutions(&self, problems: &mut Problems) {
        let definition = self.definition.to_string();
        let used: BTreeSet<&str> =
            definition.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let substitutions = self.substitutions();
        for key in &used {
            if !substitutions.contains_key(*key) {
                problems.add(format!("${{{key}}} is not in the template's DefinitionSubstitutions"));
            }
        }
        for (key, value) in substitutions {
            if !used.contains(key.as_str()) {
                problems.add(format!("DefinitionSubstitutions has {key}, which the definition does not use"));
            }
            let resource = resource_of(value).unwrap_or_default();
            if self.template["Resources"][resource].is_null() {
                problems.add(format!("{key} stands for {value}, which the template does not have"));
            }
        }
        let role = self.machine_resource().and_then(|machine| resource_of(&machine["Properties"]["Role"]));
        let policy = self.policy(role.unwrap_or_default());
        for value in substitutions.values() {
            if !policy.contains(&value.to_string()) {
                problems.add(format!("the state machine's role may not use {value}"));
            }
        }
    }

    fn policy(&self, role: &str) -> String {
        self.template["Resources"][role]["Properties"]["Policies"].to_string()
    }

    fn check_functions(&self, problems: &mut Problems) {
        let resources = &self.template["Resources"];
        for step in &self.steps {
            let (name, id) = (step.name, step.pascal());
            let function = &resources[format!("{id}Function")];
            let properties = &function["Properties"];
            for (what, holds) in [
                ("a function of its own", function["Type"] == "AWS::Serverless::Function"),
                ("its own binary", function["Metadata"]["BuildProperties"]["Binary"] == name),
                (
                    "its own name",
                    properties["FunctionName"]["Fn::Sub"] == format!("${{AWS::StackName}}-{name}"),
                ),
                ("its own role", resource_of(&properties["Role"]) == Some(format!("{id}Role").as_str())),
                (
                    "its own log group",
                    resource_of(&properties["LoggingConfig"]["LogGroup"])
                        == Some(format!("{id}LogGroup").as_str())
                        && self.policy(&format!("{id}Role")).contains(&format!("\"{id}LogGroup\"")),
                ),
                (
                    "a log group that forgets",
                    resources[format!("{id}LogGroup")]["Properties"]["RetentionInDays"].is_object(),
                ),
            ] {
                if !holds {
                    problems.add(format!("{name} does not have {what} in the template"));
                }
            }
        }
        for (id, resource) in resources.as_object().into_iter().flatten() {
            let binary = text(&resource["Metadata"]["BuildProperties"]["Binary"]);
            if resource["Type"] == "AWS::Serverless::Function"
                && !self.steps.iter().any(|step| step.name == binary)
            {
                problems.add(format!("{id} is built from {binary:?}, which is no step"));
            }
        }
    }
}

#[derive(Default)]
struct Problems {
    found: Vec<String>,
}

impl Problems {
    fn add(&mut self, problem: String) {
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn errors(list: &Value) -> impl Iterator<Item = &str> {
    let entries = list.as_array().into_iter().flatten();
    entries.flat_map(|entry| entry["ErrorEquals"].as_array().into_iter().flatten()).map(text)
}

fn check_order(name: &str, list: &str, entries: &Value, problems: &mut Problems) {
    let entries = array(entries);
    for (at, entry) in entries.iter().enumerate() {
        let errors = array(&entry["ErrorEquals"]);
        if errors.iter().any(|error| error == "States.ALL") && (errors.len() > 1 || at + 1 < entries.len()) {
            problems.add(format!("{name}: States.ALL must stand alone, and last in its {list}"));
        }
    }
}

fn check_map(name: &str, state: &Value, problems: &mut Problems) {
    let label = text(&state["Label"]);
    if label.is_empty() || label.len() > 40 || !label.bytes().all(|b| b.is_ascii_alphanumeric()) {
        problems.add(format!("{name}: its Label {label:?} must have 1 to 40 letters and digits"));
    }
    let reader = &state["ItemReader"];
    if !READERS.contains(&text(&reader["Resource"])) {
        problems.add(format!("{name}: {} is no reader of items", reader["Resource"]));
    }
    if !INPUT_TYPES.contains(&text(&reader["ReaderConfig"]["InputType"])) {
        problems.add(format!("{name}: {} is no InputType", reader["ReaderConfig"]["InputType"]));
    }
    let config = &state["ItemProcessor"]["ProcessorConfig"];
    if config["Mode"] != "DISTRIBUTED" || config["ExecutionType"] != "STANDARD" {
        problems.add(format!("{name}: its items must be processed DISTRIBUTED and STANDARD, not {config}"));
    }
    if !errors(&state["Catch"]).any(|error| error == "States.ALL") {
        problems.add(format!("{name}: not every error is caught; add a Catch of States.ALL"));
    }
    for error in errors(&state["Retry"]).chain(errors(&state["Catch"])) {
        if !STATES_ERRORS.contains(&error) {
            problems.add(format!("{name}: nothing there fails with {error}"));
        }
    }
}

fn check_keys(name: &str, keys: &[&str], step: &Step, problems: &mut Problems) {
    let input = Kind::of(&step.input);
    for key in keys.iter().filter(|key| !input.members().any(|member| member == **key)) {
        problems.add(format!("{name}: {} does not take {key}", step.name));
    }
    for key in input.required().filter(|required| !keys.contains(required)) {
        problems.add(format!("{name}: {} needs {key}", step.name));
    }
}

fn check_path(
    name: &str,
    expression: &str,
    kind: Kind<'_>,
    path: &[String],
    guarded: bool,
    reference: &Reference,
    problems: &mut Problems,
) {
    let mut kind = kind;
    for member in path {
        match kind.member(member) {
            Member::Always(next) => kind = next,
            Member::Sometimes(next) => {
                if !guarded {
                    problems.add(format!(
                        "{name}: {expression} reads {member}, which can be missing; ask $exists first"
                    ));
                }
                kind = next;
            }
            Member::Unknown => return,
            Member::Missing => {
                problems.add(format!("{name}: {expression} reads {member}, which nothing there has"));
                return;
            }
        }
    }
    if let (Some(compared), Some(texts)) = (&reference.compared, kind.texts())
        && !texts.contains(&compared.as_str())
    {
        problems.add(format!("{name}: {expression} can't be {compared:?}, only one of {texts:?}"));
    }
}

/// The reference as it is written.
fn written(reference: &Reference) -> String {
    let path: String = reference.path.iter().map(|member| format!(".{member}")).collect();
    format!("${}{path}", reference.variable)
}

/// Every expression of a state, but not of the states inside it.
fn expressions(state: &Value) -> Vec<&str> {
    fn gather<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => found.extend(jsonata::expression(text)),
            Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
            Value::Object(members) => {
                members.iter().filter(|(key, _)| *key != "ItemProcessor").for_each(|(_, v)| gather(v, found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    gather(state, &mut found);
    found
}

// ---- Machines: the definition itself, and the one inside each map -----------------------------

/// The keys of an input; `None` if they are not known.
type Shape = Option<BTreeSet<String>>;

struct Machine<'a> {
    start: &'a str,
    states: BTreeMap<&'a str, &'a Value>,
    input: Shape,
}

/// One way from a state to the next.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    assign: Option<&'a Value>,
    output: Option<&'a Value>,
    passes_input: bool,
    /// The variable that a choice has found not to be `null` where this way is taken.
    not_null: Option<&'a str>,
}

fn machines(definition: &Value) -> Vec<Machine<'_>> {
    let mut found = Vec::new();
    let mut open = vec![(definition, None)];
    while let Some((machine, input)) = open.pop() {
        let states: BTreeMap<&str, &Value> = machine["States"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, state)| (name.as_str(), state))
            .collect();
        for state in states.values().filter(|state| state["Type"] == "Map") {
            let keys = state["ItemSelector"].as_object().map(|keys| keys.keys().cloned().collect());
            open.push((&state["ItemProcessor"], keys));
        }
        found.push(Machine { start: text(&machine["StartAt"]), states, input });
    }
    found
}

impl<'a> Machine<'a> {
    fn edges(&self) -> Vec<Edge<'a>> {
        let mut edges = Vec::new();
        for (from, state) in &self.states {
            let passes = ["Choice", "Pass", "Wait"].contains(&text(&state["Type"]));
            let mut add = |to: &'a Value, of: &'a Value, passes_input| {
                if let Some(to) = to.as_str() {
                    let (assign, output) = (of.get("Assign"), of.get("Output"));
                    edges.push(Edge { from, to, assign, output, passes_input, not_null: None });
                }
            };
            add(&state["Next"], state, passes);
            for rule in state["Choices"].as_array().into_iter().flatten() {
                add(&rule["Next"], rule, passes);
            }
            for catch in state["Catch"].as_array().into_iter().flatten() {
                add(&catch["Next"], catch, false);
            }
            // What a choice assigns itself counts only where no rule matched.
            add(&state["Default"], state, passes);
            if let (Some(edge), [rule], true) =
                (edges.last_mut(), array(&state["Choices"]), state["Default"].is_string())
            {
                edge.not_null = jsonata::expression(text(&rule["Condition"]))
                    .and_then(|condition| condition.strip_prefix('$')?.strip_suffix(" = null"));
            }
        }
        edges
    }

    fn check_transitions(&self, problems: &mut Problems) {
        let edges = self.edges();
        for edge in edges.iter().filter(|edge| !self.states.contains_key(edge.to)) {
            problems.add(format!("{}: there is no state {}", edge.from, edge.to));
        }
        let mut reached = BTreeSet::new();
        let mut open = vec![self.start];
        while let Some(name) = open.pop() {
            if reached.insert(name) {
                open.extend(edges.iter().filter(|edge| edge.from == name).map(|edge| edge.to));
            }
        }
        for name in self.states.keys().filter(|name| !reached.contains(*name)) {
            problems.add(format!("{name}: no way leads there"));
        }
    }
}

// ---- Which assignments reach a state ----------------------------------------------------------

/// One assignment of a variable.
#[derive(Clone, Copy, Debug)]
struct Site<'a> {
    name: &'a str,
    state: &'a Value,
    value: &'a Value,
    /// Whether a choice on the way has ruled `null` out.
    ruled_out: bool,
}

impl Site<'_> {
    fn may_be_null(&self) -> bool {
        let expression = self.value.as_str().and_then(jsonata::expression);
        !self.ruled_out && (self.value.is_null() || expression.is_some_and(jsonata::may_be_null))
    }
}

/// For each variable that certainly has a value, the assignments it can come from.
type Sites<'a> = BTreeMap<&'a str, Vec<Site<'a>>>;

/// The variables that have a value when a state is entered, on whatever way. A machine begins with
/// none: inside a Distributed Map nothing of outside can be seen.
fn reaching<'a>(machine: &Machine<'a>, edges: &[Edge<'a>]) -> BTreeMap<&'a str, Sites<'a>> {
    let mut entries: BTreeMap<&str, Sites<'a>> = BTreeMap::from([(machine.start, Sites::new())]);
    loop {
        let mut changed = false;
        for edge in edges {
            let Some(mut sites) = entries.get(edge.from).cloned() else { continue };
            let Some(state) = machine.states.get(edge.from) else { continue };
            for (variable, value) in edge.assign.and_then(Value::as_object).into_iter().flatten() {
                sites.insert(variable, vec![Site { name: edge.from, state, value, ruled_out: false }]);
            }
            for variable in edge.not_null.iter().filter(|_| edge.assign.is_none()) {
                sites.entry(variable).or_default().iter_mut().for_each(|site| site.ruled_out = true);
            }
            changed |= match entries.get_mut(edge.to) {
                None => entries.insert(edge.to, sites).is_none(),
                Some(entry) => join(entry, &sites),
            };
        }
        if !changed {
            return entries;
        }
    }
}

fn join<'a>(entry: &mut Sites<'a>, other: &Sites<'a>) -> bool {
    let before = entry.len();
    entry.retain(|variable, _| other.contains_key(variable));
    let mut changed = entry.len() != before;
    for (variable, sites) in entry {
        for site in &other[variable] {
            let same =
                |known: &Site<'_>| std::ptr::eq(known.value, site.value) && known.ruled_out == site.ruled_out;
            if !sites.iter().any(same) {
                sites.push(*site);
                changed = true;
            }
        }
    }
    changed
}
