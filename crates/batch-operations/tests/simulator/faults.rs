//! Injected faults: the share asked for, the same in every run, and harmless when they pass.

use aws_sdk_s3control::types::JobStatus;
use batch_operations::{Config, Faults, ServeError, Simulator};

use crate::bench::{Bench, progress};

/// Runs 200 tasks; returns the sorted failed rows and how many copies were made.
async fn failures(faults: Faults) -> (Vec<String>, usize) {
    let bench = Bench::configured(|config| config.faults = faults).await;
    let manifest = bench.objects(200);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    let rows = bench.report_rows(job.job_id().unwrap(), "failed");
    assert_eq!(progress(&job)[2], i64::try_from(rows.len()).unwrap());
    let copies = bench.endpoint.world().calls("CopyObject").len();
    (rows, copies)
}

#[tokio::test]
async fn failing_tasks_are_the_same_in_every_run() {
    let faults = |seed| Faults { failing: 0.2, throttled: 0.3, seed, ..Faults::default() };
    let (first, copies) = failures(faults(1)).await;
    let (again, _) = failures(faults(1)).await;
    let (other, _) = failures(faults(2)).await;
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!((20..60).contains(&first.len()), "{}", first.len());
    assert_eq!(copies, 200 - first.len());
    let slow = first.iter().filter(|row| row.contains(",failed,503,SlowDown,")).count();
    let broken = first.iter().filter(|row| row.contains(",failed,500,InternalError,")).count();
    assert!(slow > 0 && broken > 0 && slow + broken == first.len(), "{first:?}");
}

#[tokio::test]
async fn throttled_tasks_succeed_when_redriven() {
    let faults = Faults { throttled: 1.0, ..Faults::default() };
    assert_eq!(failures(faults).await, (Vec::new(), 200));
    // Without redrives the throttling shows, which proves that it was there.
    let bench = Bench::configured(|config| {
        config.faults = faults;
        config.redrives = 0;
    })
    .await;
    let manifest = bench.objects(5);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [5, 0, 5]);
}

#[tokio::test]
async fn what_one_job_exhausts_another_may_copy() {
    let faults = Faults { exhausted: 0.3, ..Faults::default() };
    let bench = Bench::configured(|config| {
        config.faults = faults;
        config.redrive_delay = std::time::Duration::from_millis(1);
    })
    .await;
    let mut failed = Vec::new();
    for token in ["one", "two"] {
        let manifest = bench.objects(200);
        let job = bench.run(bench.copy_job(manifest).client_request_token(token)).await;
        failed.push(bench.report_rows(job.job_id().unwrap(), "failed"));
    }
    let [first, second] = &failed[..] else { panic!("two jobs") };
    for rows in [first, second] {
        assert!((30..90).contains(&rows.len()), "{}", rows.len());
        assert!(rows.iter().all(|row| row.contains(",failed,503,SlowDown,")), "{rows:?}");
    }
    assert_ne!(first, second);
    let both = first.iter().filter(|row| second.contains(row)).count();
    assert!(both < first.len(), "some of them succeed in the other job");
}

#[tokio::test]
async fn a_share_outside_of_zero_to_one_is_refused() {
    for share in [-0.1, 1.1, f64::NAN] {
        let mut config = Config::new("http://127.0.0.1:1");
        config.faults.failing = share;
        let started = Simulator::start(config).await;
        assert!(matches!(started, Err(ServeError::Share(_))), "{share}");
    }
}

#[tokio::test]
async fn only_loopback_is_served() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served = batch_operations::serve(Config::new("http://127.0.0.1:1"), listener).await;
    assert!(matches!(served, Err(ServeError::NotLoopback(_))), "{served:?}");
}
