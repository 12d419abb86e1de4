//! The operator's rights, as `config/rbac/` grants them: enough in each mode, none idle, each missed when it is withheld.
//! Every other test runs with them too, and fails when an operator asks for more; these are about the rights themselves.

mod deletion;
mod limits;
mod modes;
mod people;
mod table;
mod withheld;

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, Operation};
use serde_json::{Value, json};

use crate::run_now;

/// The run that a scenario is about.
const PROBE: &str = "probe";

/// A run for which everything is needed that an operator may do: it is started a second time after an answer in doubt, for
/// which its object is read again, and deletes itself after its end.
fn probe(stage: &Stage) -> Value {
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::error(500, "INTERNAL_ERROR", "boom")).once());
    let mut run = stage.run(PROBE, run_now(job));
    run["spec"]["ttlSecondsAfterFinished"] = json!(1);
    run
}
