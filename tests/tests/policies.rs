//! The template's roles are what the policy model derives, for every way a stack can be deployed.

use std::path::Path;

use brigade::policy::Statement;
use brigade::policy::role::{TargetAccess, copier_role, trust};
use brigade::policy::source::{ListAccess, SourceAccess};
use brigade::request::Verify;
use serde_json::{Value, json};
use tests::scene::id;
use tests::template::{Stack, read};

const SOURCE_KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/aaaa";
const OTHER_KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/bbbb";
const DESTINATION_KEY: &str = "arn:aws:kms:us-east-1:222222222222:key/cccc";
const BATCH_ROLE: &str = "arn:aws:iam::222222222222:role/brigade-batch";

fn template() -> Value {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml"));
    read(&text.expect("template.yaml")).expect("a template")
}

/// One way to deploy: a bit for each parameter that may be left out.
#[derive(Clone, Copy, Debug)]
struct Deployed(u8);

impl Deployed {
    fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    fn has(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }

    fn stack(self, template: &Value) -> Stack {
        let given = |bit, value: Value, none: Value| if self.has(bit) { value } else { none };
        let keys = [SOURCE_KEY, OTHER_KEY];
        Stack::new(
            template,
            &[
                ("SourceAccountId", json!("111111111111")),
                ("SourceBuckets", given(7, json!(["photos", "films"]), json!(["photos"]))),
                ("DestinationBucket", json!("archive")),
                ("SourceRegion", given(0, json!("eu-west-1"), json!(""))),
                ("SourceKmsKeyArns", given(1, json!(keys), json!([""]))),
                ("ManifestBucket", given(2, json!("lists"), json!(""))),
                ("DestinationPrefix", given(3, json!("incoming"), json!(""))),
                ("DestinationKmsKeyArn", given(4, json!(DESTINATION_KEY), json!(""))),
                ("DestinationAcl", given(5, json!("bucket-owner-full-control"), json!(""))),
                ("ReportBucket", given(6, json!("reports"), json!(""))),
            ],
        )
    }

    /// The widest need that such a deployment may be asked for.
    fn access(self) -> (SourceAccess, TargetAccess) {
        let keys = if self.has(1) { vec![id(SOURCE_KEY), id(OTHER_KEY)] } else { Vec::new() };
        let source = SourceAccess {
            role: id(BATCH_ROLE),
            account: id("111111111111"),
            buckets: if self.has(7) { vec![id("photos"), id("films")] } else { vec![id("photos")] },
            region: id(if self.has(0) { "eu-west-1" } else { "us-east-1" }),
            prefix: String::new(),
            keys,
            versions: true,
            tags: true,
            restore: true,
            checksums: true,
            lists: self.has(2).then(|| ListAccess { bucket: id("lists"), key: None, delivered: false }),
            expires: None,
        };
        let target = TargetAccess {
            account: id("222222222222"),
            bucket: id("archive"),
            region: id("us-east-1"),
            prefix: if self.has(3) { "incoming" } else { "" }.to_owned(),
            kms_key: self.has(4).then(|| id(DESTINATION_KEY)),
            tags: true,
            acl: self.has(5),
            multipart: true,
            function: Some("arn:aws:lambda:us-east-1:222222222222:function:brigade-copy-object:*".to_owned()),
            verify: Verify::Checksum,
            work_bucket: id("workbucket"),
            report_bucket: id(if self.has(6) { "reports" } else { "workbucket" }),
        };
        (source, target)
    }
}

/// Lists in place of single values, in the order that says nothing.
fn normal(statements: &Value) -> Vec<Value> {
    let list = |value: &Value| {
        let mut items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        items.sort_by_key(Value::to_string);
        Value::Array(items)
    };
    let mut statements = statements.as_array().cloned().unwrap_or_default();
    for statement in &mut statements {
        for member in ["Action", "Resource"] {
            if let Some(value) = statement.get(member) {
                statement[member] = list(value);
            }
        }
        if let Some(arns) = statement["Principal"].get("AWS") {
            statement["Principal"]["AWS"] = list(arns);
        }
    }
    statements.sort_by_key(|statement| statement["Sid"].to_string());
    for statement in &mut statements {
        if let Some(map) = statement.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
    }
    statements
}

fn derived(statements: &[Statement]) -> Vec<Value> {
    normal(&json!(statements))
}

fn own_policy(stack: &Stack, role: &str) -> Value {
    stack.properties(role)["Policies"][0]["PolicyDocument"]["Statement"].clone()
}

#[test]
fn the_batch_role_is_what_the_model_derives() {
    let template = template();
    for deployed in Deployed::all() {
        let (source, target) = deployed.access();
        let written = own_policy(&deployed.stack(&template), "BatchRole");
        assert_eq!(normal(&written), derived(&target.batch_role(&source)), "{deployed:?}");
    }
}

#[test]
fn the_batch_role_trusts_the_service_and_five_functions() {
    let stack = Deployed(0).stack(&template());
    let arns: Vec<_> = [
        "CheckInventoryRole",
        "CollectReportRole",
        "brigade-copy-object",
        "GenerateManifestRole",
        "ValidatePermissionsRole",
        "VerifyCopiesRole",
    ]
    .map(|role| id(&format!("arn:aws:iam::222222222222:role/{role}")))
    .into();
    let written = &stack.properties("BatchRole")["AssumeRolePolicyDocument"]["Statement"];
    assert_eq!(normal(written), derived(&trust(&arns)));
}

#[test]
fn the_creator_is_what_the_model_derives() {
    let template = template();
    for deployed in Deployed::all() {
        let (source, target) = deployed.access();
        let mut written = own_policy(&deployed.stack(&template), "CreateJobRole");
        // Every function writes its own log.
        written.as_array_mut().expect("statements").retain(|statement| statement["Sid"] != "WriteLogs");
        assert_eq!(normal(&written), derived(&target.creator(&source)), "{deployed:?}");
    }
}

#[test]
fn the_copier_is_what_the_model_derives() {
    let stack = Deployed(0).stack(&template());
    let mut written = own_policy(&stack, "CopyObjectRole");
    written.as_array_mut().expect("statements").retain(|statement| statement["Sid"] != "WriteLogs");
    let (_, target) = Deployed(0).access();
    assert_eq!(normal(&written), derived(&target.copier(&id(BATCH_ROLE))));
    let name = &stack.properties("CopyObjectRole")["RoleName"];
    let known = copier_role(&id(BATCH_ROLE)).expect("the template names it after the batch role");
    assert_eq!(name, known.name());
    assert_eq!(stack.properties("CopyObjectFunction")["FunctionName"], known.name());
    assert_eq!(copier_role(&id("arn:aws:iam::222222222222:role/copies")), None);
}

/// Jobs that restore, or compute checksums, are followed and told in the source's Region too.
#[test]
fn every_role_that_steers_jobs_does_so_in_both_regions() {
    let template = template();
    for deployed in [Deployed(0), Deployed(1)] {
        let (source, target) = deployed.access();
        let stack = deployed.stack(&template);
        for role in ["CreateJobRole", "UpdateJobStatusRole", "CancelJobsRole", "CollectReportRole"] {
            let written = own_policy(&stack, role);
            let steers =
                |statement: &&Value| json!(statement["Action"]).to_string().contains("s3:DescribeJob");
            let steering = written.as_array().expect("statements").iter().find(steers).expect("steers jobs");
            assert_eq!(steering["Resource"], json!(target.jobs(&source)), "{role}, {deployed:?}");
        }
    }
}

/// S3's delivery of inventories into the work bucket is granted in the same words as into a bucket
/// of the source's account.
#[test]
fn the_work_bucket_takes_inventories_as_the_model_says() {
    for deployed in [Deployed(0), Deployed(1 << 7)] {
        let stack = deployed.stack(&template());
        let written = stack.properties("WorkBucketPolicy")["PolicyDocument"]["Statement"].clone();
        let written = written.as_array().expect("statements");
        let written = written.iter().find(|statement| statement["Sid"] == "InventoriesOfTheSource");
        let (source, _) = deployed.access();
        let list = ListAccess { bucket: id("workbucket"), key: None, delivered: true };
        let grant = source.list_bucket(&list);
        let deliveries = &grant.statements[2..];
        // A statement for each bucket there, one for all of them here.
        let arns: Vec<&Value> = deliveries
            .iter()
            .map(|delivery| &delivery.condition.as_ref().expect("a condition")["ArnLike"]["aws:SourceArn"])
            .collect();
        let mut delivery = deliveries[0].clone();
        delivery.condition.as_mut().expect("a condition")["ArnLike"] = json!({ "aws:SourceArn": arns });
        delivery.sid = "InventoriesOfTheSource".to_owned();
        delivery.resource = vec!["arn:aws:s3:::workbucket/inventory/*".to_owned()];
        assert_eq!(normal(&json!([written])), derived(&[delivery]));
    }
}
