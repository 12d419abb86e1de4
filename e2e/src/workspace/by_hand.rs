//! What a person does on a run's page in Databricks, beside whoever else minds the run. The same code as behind the API
//! does it; nothing of it is in the request log.

use serde_json::{Value, json};

use super::arguments::Query;
use super::change;
use super::control::Control;
use super::errors::ApiError;
use super::state::{Call, State};

/// Who does it; a principal with every right, as those have whom nobody took any from.
const PERSON: &str = "someone@example.com";

impl Control {
    /// A person cancels a run. Whether the workspace did it.
    #[must_use]
    pub fn cancel_by_hand(&self, run_id: i64) -> bool {
        self.by_hand(&json!({ "run_id": run_id }), change::cancel)
    }

    /// A person repairs what failed of an ended run that was not repaired before. Whether the workspace did it.
    #[must_use]
    pub fn repair_by_hand(&self, run_id: i64) -> bool {
        self.by_hand(&json!({ "run_id": run_id, "rerun_all_failed_tasks": true }), change::repair)
    }

    fn by_hand<T>(&self, body: &Value, act: impl FnOnce(&mut State, &Call<'_>) -> Result<T, ApiError>) -> bool {
        let mut state = self.0.state();
        let now = state.clock.now();
        let call = Call { query: &Query::default(), body, principal: PERSON, version: "2.1", now };
        act(&mut state, &call).is_ok()
    }
}
