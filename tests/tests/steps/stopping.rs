//! What becomes of the jobs of an execution that ends without a verdict.

use brigade::ports::JobStatus;
use brigade::steps::cancel_jobs::{self, Output};
use serde_json::{Value, json};
use tests::flow::{Call, Flow};
use tests::memory::Pace;
use tests::scene::Scene;

use super::{flow, listing};

/// A transfer whose execution got so far as the last of the calls that `until` picks, and no further.
async fn abandoned(until: fn(&Call) -> bool) -> Flow {
    let mut whole = flow(&Scene::small(), listing());
    whole.judged().await;
    let last = whole.calls.iter().position(until).unwrap();
    let scene = Scene::small();
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let execution = flow(&scene, listing());
    // Nobody waits for a decision here.
    for call in whole.calls[..=last].iter().filter(|call| !matches!(call, Call::Decide(_))) {
        execution.invoke(call.clone()).await.unwrap();
    }
    execution
}

async fn waiting() -> Flow {
    abandoned(|call| matches!(call, Call::CreateJob(_))).await
}

async fn running() -> Flow {
    abandoned(|call| matches!(call, Call::UpdateJobStatus(_))).await
}

/// The event of an execution that ended so.
fn event(execution: &Flow, status: &str, input: Option<&Value>) -> Value {
    json!({
        "version": "0",
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {
            "executionArn": execution.arn(),
            "name": execution.execution,
            "status": status,
            "input": input.map(Value::to_string),
            "inputDetails": { "included": input.is_some() },
        },
    })
}

async fn told(execution: &Flow, event: Value) -> Result<Output, cancel_jobs::Error> {
    let Scene { world, .. } = &execution.scene;
    let input = serde_json::from_value(event).unwrap();
    cancel_jobs::run(input, execution.scene.work(), &world.as_ours(), world).await
}

fn statuses(execution: &Flow) -> Vec<JobStatus> {
    execution.scene.world.jobs().iter().map(|job| job.status).collect()
}

#[tokio::test]
async fn a_stopped_execution_takes_its_jobs_along() {
    for execution in [waiting().await, running().await] {
        let event = event(&execution, "ABORTED", Some(&execution.input));
        let output = told(&execution, event.clone()).await.unwrap();
        assert_eq!(output.transfer.unwrap().as_str(), "monday");
        assert_eq!(output.cancelled.len(), 1);
        let [job] = &execution.scene.world.jobs()[..] else { panic!("one job") };
        assert_eq!(
            (job.status, job.reason.as_deref()),
            (JobStatus::Cancelled, Some("its transfer's execution was stopped"))
        );
        assert_eq!(told(&execution, event).await.unwrap().cancelled, []);
    }
}

#[tokio::test]
async fn a_failed_execution_leaves_what_runs() {
    let execution = running().await;
    let failed = event(&execution, "FAILED", Some(&execution.input));
    assert_eq!(told(&execution, failed).await.unwrap().cancelled, []);
    assert_eq!(statuses(&execution), [JobStatus::Active]);
    let execution = waiting().await;
    let failed = event(&execution, "FAILED", Some(&execution.input));
    assert_eq!(told(&execution, failed).await.unwrap().cancelled.len(), 1);
    assert_eq!(statuses(&execution), [JobStatus::Cancelled]);
}

#[tokio::test]
async fn a_name_that_another_execution_claimed_is_left_alone() {
    let execution = waiting().await;
    let mut other = event(&execution, "ABORTED", Some(&execution.input));
    other["detail"]["executionArn"] = json!("arn:aws:states:eu-west-1:222222222222:execution:transfer:other");
    assert_eq!(told(&execution, other).await.unwrap().cancelled, []);
    assert_eq!(statuses(&execution), [JobStatus::Suspended]);
}

#[tokio::test]
async fn what_was_no_transfer_has_no_jobs() {
    let execution = waiting().await;
    let refused = event(&execution, "FAILED", Some(&json!({ "objects": {} })));
    let output = told(&execution, refused).await.unwrap();
    assert_eq!((output.transfer, output.cancelled), (None, vec![]));
    let cut = event(&execution, "ABORTED", None);
    let said = told(&execution, cut).await.unwrap_err().to_string();
    assert!(said.contains("the event lacks the execution's input"), "{said}");
}
