//! Statuses that are stored, by an older version, a newer one, or a hand.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::check;
use super::life::{Life, pin};
use crate::api::conditions::Reason;
use crate::api::status::DatabricksRunStatus;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::project::MAX_STATUS;

const ROUNDS: usize = 16;
/// What one life may write beside what stood there.
const ROOM: usize = 24 << 10;

/// A stored status, however it came to be. What is decided on it comes to rest, whatever the spec and the workspace are; a
/// run is only started when that was written ahead, and what is written is not much more than what was there.
pub fn status(bytes: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<DatabricksRunStatus>(bytes) else { return };
    // As the API server gives it: times in whole seconds.
    let Ok(stored) = serde_json::to_value(&stored).and_then(serde_json::from_value::<DatabricksRunStatus>) else {
        return;
    };
    let running = json!({"life_cycle_state": "RUNNING"});
    let failed = json!({"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"});
    for spec in [plain(), told_to_stop(), insistent(), Value::Null] {
        for (state, deleted) in [(&running, false), (&failed, false), (&failed, true)] {
            let life = life(spec.clone(), &stored, state);
            let mut life = if deleted { life.deleted() } else { life };
            life.goes_on(ROUNDS);
        }
    }
    for workspace in [
        WorkspaceView::Missing,
        WorkspaceView::Retained { pin: pin() },
        WorkspaceView::NotAllowed { pin: pin(), message: "ask for it".to_owned() },
        WorkspaceView::NotReady { pin: pin(), reason: Reason::Unreachable, message: "later".to_owned() },
    ] {
        let mut life = life(plain(), &stored, &failed);
        life.workspace = workspace;
        life.goes_on(ROUNDS);
        // What may have been sent is sent again wherever that is possible.
        assert!(life.started.is_empty() || life.workspace != WorkspaceView::Missing, "started");
    }
}

fn plain() -> Value {
    json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}})
}

fn told_to_stop() -> Value {
    json!({
        "workspaceRef": {"name": "prod"}, "submit": {"run_name": "once", "tasks": [{"task_key": "main"}]},
        "suspend": true, "ttlSecondsAfterFinished": 10,
    })
}

fn insistent() -> Value {
    json!({
        "workspaceRef": {"name": "prod"}, "runNow": {}, "jobName": "nightly", "backoffLimit": 3,
        "onSpecChange": "Replace", "startingDeadlineSeconds": 60, "activeDeadlineSeconds": 600,
        "failurePolicy": {"rules": [{"action": "Repair", "onResultStates": ["FAILED"]}]},
    })
}

fn life(spec: Value, stored: &DatabricksRunStatus, state: &Value) -> Life {
    let mut life = Life::of(spec);
    let mut status = stored.clone();
    // What was stored names this workspace, or nothing could be done for it.
    if let Some(stored) = &mut status.workspace {
        *stored = pin();
    }
    life.own = false;
    life.held = true;
    life.most = MAX_STATUS.max(check::size(&status).saturating_add(ROOM));
    life.status = status;
    life.asked = [Some("again".to_owned()), None, Some("mend".to_owned())];
    // Within the times that its own times may be compared with.
    life.clock.wall = Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(500_000);
    let answer = json!({"run_id": 8, "job_id": 5, "start_time": 9, "end_time": 9, "state": state});
    life.answer = serde_json::from_value(answer).ok();
    life
}
