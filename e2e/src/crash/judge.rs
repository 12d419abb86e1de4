//! The judgement: what is left in the cluster and what people asked for, held against the workspace's own records, object by
//! object and run by run.

use std::collections::{BTreeMap, HashMap};

use databricks_run_operator::api::status::AttemptRecord;
use databricks_run_operator::lifecycle::IdempotencyToken;

use super::asked::{Asked, Kind, Ledger, request_of};
use super::report::Report;
use super::witness::{MAX_ATTEMPTS, Objects, Witness, is_so, repairs_told, verdict_of};
use crate::stage::{RunView, Stage};
use crate::workspace::RunRecord;

/// Tokens that are known beyond the last serial that was seen: a start that was never seen must be found all the same.
const BEYOND: i64 = 3;

/// Judges.
pub(super) async fn judge(stage: &Stage, ledger: &Ledger, witness: &Witness, report: &mut Report) {
    let runs = stage.databricks.runs();
    let book = ledger.book().clone();
    let mut objects = Objects::new();
    for name in book.keys().filter(|name| witness.objects().contains_key(*name)) {
        objects.insert(name.clone(), stage.now(name).await);
    }
    let serials = witness.serials();
    let mut owners = HashMap::new();
    for (name, asked) in &book {
        let last = serials.get(&asked.uid).copied().unwrap_or(0);
        for serial in 1..=last + BEYOND {
            owners.insert(IdempotencyToken::new(&asked.uid, serial).as_str().to_owned(), (name.as_str(), serial));
        }
    }
    report.objects = book.len();
    report.runs = stage.databricks.runs_started();
    report.requests = book.values().map(|asked| asked.edit as usize + 1).sum();
    report.duplicates = duplicates(&runs, &owners, &book);
    report.repairs = runs.iter().map(|run| run.repairs).sum();
    report.orphans = orphans(&runs, &owners, &book, &objects);
    report.wrong = witness.wrong();
    report.wrong.extend(objects.iter().filter_map(|(name, object)| {
        let asked = book.get(name)?;
        let complaint = wrong_about(object, asked, &runs)?;
        Some(format!("{name}: {complaint}\n{:#}", object.status()))
    }));
    report.wrong.extend(vanished(&book, witness));
    let told = |entry: &crate::workspace::Entry| format!("{entry:?}");
    report.overlaps = stage.databricks.overlaps().iter().map(told).collect();
    report.late_effects = stage.databricks.requests().iter().filter(|entry| entry.overlaps_abandoned).count();
    if stage.databricks.violations() > 0 {
        report.wrong.push("cancel-all was called".to_owned());
    }
}

/// Runs beyond the one of each start, and beyond those that each request may have.
fn duplicates(
    runs: &[RunRecord],
    owners: &HashMap<String, (&str, i64)>,
    book: &BTreeMap<String, Asked>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_token: HashMap<&str, i64> = HashMap::new();
    let mut by_request: BTreeMap<(String, u32), Vec<i64>> = BTreeMap::new();
    for run in runs {
        let Some(token) = run.idempotency_token.as_deref() else {
            found.push(format!("run {} was started without a token", run.id));
            continue;
        };
        if let Some(other) = by_token.insert(token, run.id) {
            found.push(format!("runs {other} and {} have the same token", run.id));
        }
        match (owners.get(token), request_of(&run.body)) {
            (Some((name, _)), Some(request)) if *name == request.0 => {
                by_request.entry(request).or_default().push(run.id);
            }
            (owner, request) => found.push(format!("run {} is nobody's: {owner:?}, {request:?}", run.id)),
        }
    }
    for ((name, edit), runs) in by_request {
        let may = book.get(&name).map_or(0, |asked| asked.runs_of(edit));
        if runs.len() > may {
            found.push(format!("request {edit} of {name} may have {may} runs and has {runs:?}"));
        }
    }
    found
}

/// Objects that are gone although nobody deleted them, or before they were finished.
fn vanished(book: &BTreeMap<String, Asked>, witness: &Witness) -> Vec<String> {
    let (objects, gone) = (witness.objects(), witness.gone());
    let missing = book.iter().filter(|(name, asked)| !asked.deleted && !objects.contains_key(*name));
    let early = |(name, asked): (&String, &Asked)| match gone.get(name) {
        Some(last) if asked.may_be_gone() && last.condition("Finished") == "True" => None,
        last => {
            Some(format!("{name} is gone and was last seen as {:#}", last.map(RunView::status).unwrap_or_default()))
        }
    };
    missing.filter_map(early).collect()
}

/// Runs that go on although their object is gone or speaks of another.
fn orphans(
    runs: &[RunRecord],
    owners: &HashMap<String, (&str, i64)>,
    book: &BTreeMap<String, Asked>,
    objects: &Objects,
) -> Vec<String> {
    let is_orphan = |run: &&RunRecord| {
        let name = run.idempotency_token.as_ref().and_then(|token| owners.get(token)).map(|(name, _)| *name);
        let Some((name, asked)) = name.and_then(|name| Some((name, book.get(name)?))) else { return true };
        match objects.get(name) {
            Some(object) => object.text("runId") != run.id.to_string(),
            None => !asked.orphan,
        }
    };
    runs.iter().filter(|run| run.active).filter(is_orphan).map(|run| format!("{run:?}")).collect()
}

/// What an object at rest says that is not so, of its run and of those before.
fn wrong_about(object: &RunView, asked: &Asked, runs: &[RunRecord]) -> Option<String> {
    let status = object.0.status.as_ref()?;
    let find = |id: Option<&String>| {
        let id = id?.parse::<i64>().ok()?;
        runs.iter().find(|run| run.id == id)
    };
    let wrong_before = |past: &&AttemptRecord| {
        let token = IdempotencyToken::new(&asked.uid, past.serial);
        match find(past.run_id.as_ref()) {
            // What was said before a repair was so then.
            Some(run) if run.repairs == 0 => {
                let deadline = past.state == "TimedOut" && asked.kind == Kind::Limited;
                let told = if deadline { "Canceled" } else { past.state.as_str() };
                run.idempotency_token.as_deref() != Some(token.as_str()) || told != verdict_of(run)
            }
            Some(_) => false,
            None => past.run_id.is_some(),
        }
    };
    if let Some(past) = status.attempts.iter().find(wrong_before) {
        return Some(format!("not so: {past:?}"));
    }
    if object.text("state") == "Suspended" {
        return None;
    }
    let Some(run) = find(status.run_id.as_ref()) else {
        let stopped = asked.cancel || asked.cancelled.contains(&asked.edit);
        return (!stopped).then(|| "it has no run".to_owned());
    };
    if !is_so(object, run) {
        return Some(format!("run {} is {}", run.id, verdict_of(run)));
    }
    if status.attempts.len() < MAX_ATTEMPTS && run.repairs > repairs_told(status, run.id) {
        return Some(format!("run {} was repaired {} times", run.id, run.repairs));
    }
    match request_of(&run.body) {
        Some((_, edit)) if edit == asked.edit => None,
        other => Some(format!("its run is of request {other:?}, and the newest is {}", asked.edit)),
    }
}
