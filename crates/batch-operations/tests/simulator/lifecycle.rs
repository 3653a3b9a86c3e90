//! States, confirmation, cancellation, and the calls around a job.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3control::error::ProvideErrorMetadata;
use aws_sdk_s3control::types::{JobStatus, RequestedJobStatus, S3Tag};
use batch_operations::{Config, RoleCredentials, Simulator};

use crate::bench::{ACCOUNT, Bench, client, failure, progress};
use crate::endpoint::ROLE_KEY;

#[tokio::test]
async fn runs_from_new_to_complete_as_the_job_role() {
    let bench = Bench::configured(|config| config.state_delay = Duration::from_millis(60)).await;
    let manifest = bench.objects(3);
    let created = bench.copy_job(manifest).description("three objects").send().await.unwrap();
    let id = created.job_id.unwrap();
    let first = bench.describe(&id).await;
    assert_eq!(first.status(), Some(&JobStatus::New));
    assert_eq!(first.job_arn(), Some(format!("arn:aws:s3:us-east-1:{ACCOUNT}:job/{id}").as_str()));
    let mut seen = Vec::new();
    let last = loop {
        let job = bench.describe(&id).await;
        let status = job.status().unwrap().clone();
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        if status == JobStatus::Complete {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let order = [
        JobStatus::New,
        JobStatus::Preparing,
        JobStatus::Ready,
        JobStatus::Active,
        JobStatus::Completing,
        JobStatus::Complete,
    ];
    // Active may be too short to be seen.
    let expected: Vec<_> = order.into_iter().filter(|status| seen.contains(status)).collect();
    assert_eq!(seen, expected);
    assert!(seen.len() >= 5, "{seen:?}");
    assert_eq!(progress(&last), [3, 3, 0]);
    assert!(last.progress_summary().unwrap().timers().is_some());
    assert!(last.termination_date().is_some() && last.creation_time().is_some());
    assert!(last.failure_reasons().is_empty() && last.suspended_cause().is_none());
    assert_eq!(last.description(), Some("three objects"));
    let world = bench.endpoint.world();
    assert_eq!(world.get("target", "k2").unwrap().body, b"k2");
    let session = world.calls("AssumeRole");
    assert_eq!(session[0].access_key, ACCOUNT);
    let body = String::from_utf8(session[0].body.to_vec()).unwrap();
    assert!(body.contains("RoleSessionName=service%3Dbatchoperations.s3.amazonaws.com"), "{body}");
    let keys: BTreeSet<_> = world
        .calls
        .iter()
        .filter(|call| call.operation != "AssumeRole")
        .map(|call| call.access_key.as_str())
        .collect();
    assert_eq!(keys, BTreeSet::from([ROLE_KEY]));
}

#[tokio::test]
async fn waits_for_confirmation() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    // Left out, ConfirmationRequired holds the job.
    let request = bench.copy_job(manifest).set_confirmation_required(None);
    let id = request.send().await.unwrap().job_id.unwrap();
    let update = |status| {
        let update = bench.client.update_job_status().account_id(ACCOUNT).job_id(&id);
        update.requested_job_status(status)
    };
    let held = bench.until(&id, |job| job.status() == Some(&JobStatus::Suspended)).await;
    assert_eq!(held.suspended_cause(), Some("AWAITING_CONFIRMATION"));
    assert_eq!(held.confirmation_required(), Some(true));
    assert_eq!(progress(&held), [1, 0, 0]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(bench.endpoint.world().calls("CopyObject").is_empty());
    let ready = update(RequestedJobStatus::Ready).status_update_reason("looks right").send().await;
    assert_eq!(ready.unwrap().status(), Some(&JobStatus::Ready));
    let job = bench.ended(&id).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    assert_eq!(job.status_update_reason(), Some("looks right"));
    assert_eq!(job.suspended_cause(), None);
    for status in [RequestedJobStatus::Ready, RequestedJobStatus::Cancelled] {
        let error = update(status).send().await.unwrap_err().into_service_error();
        assert!(error.is_job_status_exception(), "{error:?}");
    }
}

#[tokio::test]
async fn only_a_suspended_job_can_be_confirmed() {
    let bench = Bench::configured(|config| config.state_delay = Duration::from_millis(200)).await;
    let manifest = bench.objects(1);
    bench.endpoint.world().delays.insert("CopyObject", Duration::from_millis(200));
    let id = bench.copy_job(manifest).send().await.unwrap().job_id.unwrap();
    for status in [JobStatus::New, JobStatus::Preparing, JobStatus::Active] {
        bench.until(&id, |job| job.status() == Some(&status)).await;
        let update = bench.client.update_job_status().account_id(ACCOUNT).job_id(&id);
        let error = update.requested_job_status(RequestedJobStatus::Ready).send().await.unwrap_err();
        assert!(error.into_service_error().is_job_status_exception(), "{status:?}");
    }
}

#[tokio::test]
async fn fails_when_nobody_confirms() {
    let bench = Bench::configured(|config| config.confirmation_deadline = Duration::from_millis(30)).await;
    let manifest = bench.objects(1);
    let job = bench.run(bench.copy_job(manifest).confirmation_required(true)).await;
    assert_eq!(job.status(), Some(&JobStatus::Failed));
    assert_eq!(failure(&job).0, "ConfirmationExpired");
    assert!(job.termination_date().is_some());
    assert!(bench.endpoint.world().calls("PutObject").is_empty());
}

#[tokio::test]
async fn a_suspended_job_can_be_cancelled_and_leaves_no_report() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let request = bench.copy_job(manifest).confirmation_required(true);
    let id = request.send().await.unwrap().job_id.unwrap();
    bench.until(&id, |job| job.status() == Some(&JobStatus::Suspended)).await;
    let update = bench.client.update_job_status().account_id(ACCOUNT).job_id(&id);
    let update = update.requested_job_status(RequestedJobStatus::Cancelled).send().await.unwrap();
    assert_eq!(update.status(), Some(&JobStatus::Cancelling));
    let job = bench.ended(&id).await;
    assert_eq!(job.status(), Some(&JobStatus::Cancelled));
    assert_eq!(progress(&job), [1, 0, 0]);
    assert!(bench.report_manifest(&id).is_none());
}

#[tokio::test]
async fn cancelled_in_mid_run_it_reports_what_ran() {
    let bench = Bench::configured(|config| config.concurrency = 2).await;
    let manifest = bench.objects(200);
    bench.endpoint.world().delays.insert("CopyObject", Duration::from_millis(10));
    let id = bench.copy_job(manifest).send().await.unwrap().job_id.unwrap();
    bench.until(&id, |job| progress(job)[1] >= 5).await;
    let update = bench.client.update_job_status().account_id(ACCOUNT).job_id(&id);
    update.requested_job_status(RequestedJobStatus::Cancelled).send().await.unwrap();
    let job = bench.ended(&id).await;
    assert_eq!(job.status(), Some(&JobStatus::Cancelled));
    let [total, succeeded, failed] = progress(&job);
    assert!(total == 200 && (5..200).contains(&succeeded) && failed == 0, "{job:?}");
    let rows = bench.report_rows(&id, "succeeded");
    assert_eq!(rows.len(), usize::try_from(succeeded).unwrap());
    let copies = bench.endpoint.world().calls("CopyObject").len();
    assert_eq!(copies, rows.len());
}

#[tokio::test]
async fn the_same_token_makes_one_job() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let send = async |priority| bench.copy_job(manifest.clone()).priority(priority).send().await;
    let first = send(1).await.unwrap();
    let again = send(1).await.unwrap();
    assert_eq!(first.job_id(), again.job_id());
    let error = send(2).await.unwrap_err().into_service_error();
    assert!(error.is_idempotency_exception(), "{error:?}");
    let other = bench.copy_job(manifest.clone()).client_request_token("another").send().await;
    assert_ne!(first.job_id(), other.unwrap().job_id());
}

#[tokio::test]
async fn lists_jobs_of_the_account_by_status_and_in_pages() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let mut ids = Vec::new();
    for number in 0..3 {
        let request = bench.copy_job(manifest.clone()).client_request_token(format!("t{number}"));
        let id = request.confirmation_required(number == 2).send().await.unwrap().job_id.unwrap();
        if number < 2 {
            bench.ended(&id).await;
        } else {
            bench.until(&id, |job| job.status() == Some(&JobStatus::Suspended)).await;
        }
        ids.insert(0, id);
    }
    let list = || bench.client.list_jobs().account_id(ACCOUNT);
    let page = list().max_results(2).send().await.unwrap();
    let names = |jobs: &[aws_sdk_s3control::types::JobListDescriptor]| {
        jobs.iter().map(|job| job.job_id().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(page.jobs()), ids[..2]);
    let rest = list().set_next_token(page.next_token).send().await.unwrap();
    assert_eq!(names(rest.jobs()), ids[2..]);
    assert_eq!(rest.next_token(), None);
    assert_eq!(rest.jobs()[0].progress_summary().unwrap().number_of_tasks_succeeded(), Some(1));
    let held =
        list().job_statuses(JobStatus::Suspended).job_statuses(JobStatus::Failed).send().await.unwrap();
    assert_eq!(names(held.jobs()), ids[..1]);
    let error = list().next_token("nonsense").send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_next_token_exception(), "{error:?}");
    let foreign = bench.client.list_jobs().account_id("333333333333").send().await.unwrap();
    assert!(foreign.jobs().is_empty());
    let describe = bench.client.describe_job().account_id("333333333333").job_id(&ids[0]);
    let error = describe.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 404);
    assert_eq!(error.code(), Some("NoSuchJob"));
}

#[tokio::test]
async fn priority_and_tags_can_be_changed() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let tag = |key: &str, value: &str| S3Tag::builder().key(key).value(value).build().unwrap();
    let request = bench.copy_job(manifest).tags(tag("run", " 1 & 2 ")).confirmation_required(true);
    let id = request.send().await.unwrap().job_id.unwrap();
    let tags = async || {
        let output = bench.client.get_job_tagging().account_id(ACCOUNT).job_id(&id).send().await;
        output.unwrap().tags.unwrap_or_default()
    };
    assert_eq!(tags().await, [tag("run", " 1 & 2 ")]);
    let put = bench.client.put_job_tagging().account_id(ACCOUNT).job_id(&id);
    put.tags(tag("a", "b")).tags(tag("c", "")).send().await.unwrap();
    assert_eq!(tags().await, [tag("a", "b"), tag("c", "")]);
    let many = bench.client.put_job_tagging().account_id(ACCOUNT).job_id(&id);
    let many = many.set_tags(Some((0..51).map(|number| tag(&number.to_string(), "")).collect()));
    assert!(many.send().await.unwrap_err().into_service_error().is_too_many_tags_exception());
    bench.client.delete_job_tagging().account_id(ACCOUNT).job_id(&id).send().await.unwrap();
    assert!(tags().await.is_empty());
    let update = bench.client.update_job_priority().account_id(ACCOUNT).job_id(&id);
    assert_eq!(update.priority(99).send().await.unwrap().priority(), 99);
    assert_eq!(bench.describe(&id).await.priority(), 99);
}

#[tokio::test]
async fn a_job_outlives_the_sessions_of_its_role() {
    let bench = Bench::configured(|config| config.concurrency = 1).await;
    bench.endpoint.world().session = Some(Duration::from_secs(2));
    let manifest = bench.objects(3);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [3, 3, 0]);
    // One session to see whether the role can be assumed, then a new one whenever the last runs out.
    assert!(bench.endpoint.world().calls("AssumeRole").len() > 3);
}

#[tokio::test]
async fn fixed_credentials_need_no_sts() {
    let bench = Bench::configured(|config| {
        config.role_credentials = RoleCredentials::Fixed {
            access_key_id: "AKIAFIXED".to_owned(),
            secret_access_key: "s".to_owned(),
            session_token: None,
        };
    })
    .await;
    let manifest = bench.objects(1);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [1, 1, 0]);
    let world = bench.endpoint.world();
    assert!(world.calls.iter().all(|call| call.access_key == "AKIAFIXED"));
}

#[tokio::test]
async fn a_simulator_that_was_shut_down_answers_no_more() {
    let simulator = Simulator::start(Config::new("http://127.0.0.1:1")).await.unwrap();
    let client = client(&simulator.url());
    let list = async || client.list_jobs().account_id(ACCOUNT).send().await;
    assert!(list().await.is_ok());
    tokio::time::timeout(Duration::from_secs(5), simulator.shutdown()).await.unwrap();
    assert!(list().await.is_err());
}
