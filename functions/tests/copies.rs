//! Copying within S3, against answers that S3 gives: 200 with an error inside, and what requests say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use brigade::ports::{
    AwsError, ContentHeaders, CopiedPart, CopyObjects, ObjectAt, OpenUpload, Original, Pinned,
};
use brigade::steps::copy_object::{Division, PartRange};
use brigade::transfer::Destination;
use functions::{Aws, Settings};
use serde_json::json;
use tokio::net::TcpListener;

const INTERNAL_ERROR: &str = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>";
const ACCESS_DENIED: &str =
    "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIA</AccessKeyId>\
    <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";

/// What S3 answers, one after the other, and what it was asked.
#[derive(Clone, Default)]
struct S3(Arc<Mutex<(VecDeque<Answer>, Vec<Asked>)>>);

/// A status and a body.
type Answer = (u16, String);

struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl S3 {
    fn answers(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        let answers = answers.into_iter().map(|(status, body)| (status, body.to_owned()));
        self.0.lock().expect("no panic").0 = answers.collect();
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().expect("no panic").1)
    }

    async fn copies(&self) -> functions::aws::Copies {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let routes = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let credentials = Credentials::new("AKIA", "secret", None, None, "test");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .load()
            .await;
        Aws::new(config, settings()).role_copies().await
    }
}

async fn answer(
    State(s3): State<S3>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    if method == Method::POST && body.contains("Action=AssumeRole") {
        return ASSUMED.into_response();
    }
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    let mut held = s3.0.lock().expect("no panic");
    held.1.push(Asked { path: uri.to_string(), headers: headers.iter().map(text).collect(), body });
    let (status, body) = held.0.pop_front().unwrap_or((500, String::new()));
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

fn settings() -> Settings {
    let variable = |name: &str| {
        let value = match name {
            "ACCOUNT_ID" => "222222222222",
            "SOURCE_ACCOUNT_ID" => "111111111111",
            "AWS_REGION" | "SOURCE_REGION" => "us-east-1",
            "SOURCE_BUCKETS" => "photos",
            "DESTINATION_BUCKET" => "archive",
            "WORK_BUCKET" | "REPORT_BUCKET" => "work",
            "BATCH_ROLE_ARN" | "CREATE_JOB_ROLE_ARN" => "arn:aws:iam::222222222222:role/batch",
            _ => "",
        };
        Some(value.to_owned())
    };
    Settings::read(variable).expect("settings")
}

fn how() -> Destination {
    serde_json::from_value(json!({
        "account": "222222222222", "bucket": "archive", "region": "us-east-1", "storageClass": "STANDARD_IA",
        "kmsKey": "arn:aws:kms:us-east-1:222222222222:key/a", "bucketKey": true,
        "checksumAlgorithm": "CRC64NVME", "acl": "bucket-owner-full-control"
    }))
    .expect("a destination")
}

fn source() -> Pinned {
    serde_json::from_value(json!({
        "bucket": "photos", "key": "a b+\u{fc}/%", "version": "v+1", "etag": "abc-2", "size": 6_000_000_000_u64
    }))
    .expect("a source")
}

fn to() -> ObjectAt {
    ObjectAt::new(&"archive".parse().expect("a bucket"), "copy".parse().expect("a key"))
}

fn upload() -> OpenUpload {
    OpenUpload { at: to(), id: "upload".to_owned(), begun: None }
}

fn part() -> PartRange {
    Division::of(6_000_000_000).expect("parts").ranges().nth(1).expect("a second part")
}

fn copied() -> CopiedPart {
    CopiedPart { number: 1, size: 5, etag: "e1".to_owned(), checksum: Some("crc".to_owned()) }
}

#[tokio::test]
async fn an_error_inside_an_answer_of_200_is_an_error() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    s3.answers([(200, ACCESS_DENIED)]);
    let denied = copies.copy(&source(), &to(), &how()).await;
    assert!(
        matches!(&denied, Err(AwsError::Forbidden(words)) if words.starts_with("AccessDenied: ")),
        "{denied:?}"
    );
    s3.answers([(200, ACCESS_DENIED)]);
    let denied = copies.copy_part(&source(), &upload(), part(), &how()).await;
    assert!(matches!(denied, Err(AwsError::Forbidden(_))), "{denied:?}");
    s3.answers([(200, ACCESS_DENIED)]);
    let denied = copies.complete(&upload(), &[copied()], 5, &how()).await;
    assert!(matches!(denied, Err(AwsError::Forbidden(_))), "{denied:?}");
}

#[tokio::test]
async fn a_passing_error_inside_an_answer_of_200_is_tried_again() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    let good =
        "<CopyPartResult><ETag>\"e2\"</ETag><ChecksumCRC64NVME>crc</ChecksumCRC64NVME></CopyPartResult>";
    s3.answers([(200, INTERNAL_ERROR), (200, good)]);
    let copied = copies.copy_part(&source(), &upload(), part(), &how()).await.expect("copied");
    assert_eq!((copied.number, copied.etag.as_str(), copied.checksum.as_deref()), (2, "e2", Some("crc")));
    s3.answers([(200, INTERNAL_ERROR); 5]);
    let given_up = copies.copy_part(&source(), &upload(), part(), &how()).await;
    assert!(matches!(given_up, Err(AwsError::Transient(_))), "{given_up:?}");
    assert_eq!(s3.asked().len(), 7);
}

#[tokio::test]
async fn a_part_names_the_version_and_etag_of_the_source_and_its_bytes() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    s3.answers([(200, "<CopyPartResult><ETag>\"e2\"</ETag></CopyPartResult>")]);
    copies.copy_part(&source(), &upload(), part(), &how()).await.expect("copied");
    let asked = s3.asked().remove(0);
    assert!(asked.path.contains("partNumber=2") && asked.path.contains("uploadId=upload"), "{}", asked.path);
    assert_eq!(asked.headers["x-amz-copy-source"], "photos/a%20b%2B%C3%BC/%25?versionId=v%2B1");
    assert_eq!(asked.headers["x-amz-copy-source-if-match"], "\"abc-2\"");
    assert_eq!(asked.headers["x-amz-copy-source-range"], "bytes=134217728-268435455");
}

#[tokio::test]
async fn an_upload_carries_by_hand_what_a_part_does_not() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    s3.answers([(
        200,
        "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    )]);
    let text = |text: &str| Some(text.to_owned());
    let original = Original {
        pinned: source(),
        archived: false,
        headers: ContentHeaders {
            cache_control: text("max-age=60"),
            content_disposition: text("attachment"),
            content_encoding: text("br"),
            content_language: text("fr"),
            content_type: text("application/x-thing"),
            expires: text("never"),
        },
        metadata: [("colour".to_owned(), "red".to_owned())].into(),
        unreadable_metadata: 0,
    };
    let tags = [("team".to_owned(), "a & b".to_owned()), ("x".to_owned(), String::new())].into();
    assert_eq!(copies.begin(&original, &tags, &to(), &how()).await, Ok("u".to_owned()));
    let asked = s3.asked().remove(0);
    let sent = [
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment"),
        ("content-encoding", "br"),
        ("content-language", "fr"),
        ("content-type", "application/x-thing"),
        ("expires", "never"),
        ("x-amz-meta-colour", "red"),
        ("x-amz-tagging", "team=a%20%26%20b&x="),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:222222222222:key/a"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-checksum-algorithm", "CRC64NVME"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ];
    for (name, value) in sent {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    // What is not signed, S3 refuses.
    assert!(asked.headers["authorization"].contains("expires;"), "{}", asked.headers["authorization"]);
}

#[tokio::test]
async fn a_whole_copy_carries_what_the_source_has() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    let good = "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>";
    s3.answers([(200, good), (200, good)]);
    copies.copy(&source(), &to(), &how()).await.expect("copied");
    let none = Destination { tags: Some(BTreeMap::new()), ..how() };
    copies.copy(&source(), &to(), &none).await.expect("copied");
    let [asked, without_tags] = &s3.asked()[..] else { panic!("two requests") };
    let sent = [
        ("x-amz-metadata-directive", "COPY"),
        ("x-amz-tagging-directive", "COPY"),
        ("x-amz-object-annotation-directive", "EXCLUDE"),
        ("x-amz-copy-source-if-match", "\"abc-2\""),
    ];
    for (name, value) in sent {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(without_tags.headers["x-amz-tagging-directive"], "REPLACE");
    assert!(!without_tags.headers.contains_key("x-amz-tagging"));
}

#[tokio::test]
async fn the_end_of_an_upload_names_its_parts_and_size() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    s3.answers([(
        200,
        "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>",
    )]);
    copies.complete(&upload(), &[copied()], 5, &how()).await.expect("an object");
    let asked = s3.asked().remove(0);
    assert_eq!(asked.headers["x-amz-mp-object-size"], "5");
    assert!(asked.body.contains("<ETag>&quot;e1&quot;</ETag>") || asked.body.contains("<ETag>\"e1\"</ETag>"));
    assert!(asked.body.contains("<ChecksumCRC64NVME>crc</ChecksumCRC64NVME>"), "{}", asked.body);
}

#[tokio::test]
async fn uploads_of_the_role_are_told_from_others() {
    let s3 = S3::default();
    let copies = s3.copies().await;
    s3.answers([(
        200,
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
         <Upload><Key>copy</Key><UploadId>ours</UploadId><Initiated>2026-11-20T12:00:00.000Z</Initiated>\
         <Initiator><ID>arn:aws:sts::222222222222:assumed-role/batch/bucket-brigade</ID></Initiator></Upload>\
         <Upload><Key>copy</Key><UploadId>theirs</UploadId>\
         <Initiator><ID>arn:aws:iam::222222222222:user/batch</ID></Initiator></Upload>\
         <Upload><Key>copy%2Bmore</Key><UploadId>longer</UploadId>\
         <Initiator><ID>arn:aws:sts::222222222222:assumed-role/batch/bucket-brigade</ID></Initiator></Upload>\
         </ListMultipartUploadsResult>",
    )]);
    let open = copies.uploads(&to()).await.expect("a list");
    let ids: Vec<&str> = open.iter().map(|upload| upload.id.as_str()).collect();
    assert_eq!(ids, ["ours"]);
    assert!(open[0].begun.is_some());
}
