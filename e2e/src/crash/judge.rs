//! The judgement: what is left in the cluster and what people asked for, held against the workspace's own records, object by
//! object and run by run.

use std::collections::{BTreeMap, HashMap};

use databricks_run_operator::api::status::AttemptRecord;
use databricks_run_operator::lifecycle::IdempotencyToken;

use super::asked::{Asked, Kind, Ledger, request_of};
use super::killer::Nap;
use super::report::Report;
use super::witness::{MAX_ATTEMPTS, Objects, Witness, is_so, repairs_told, verdict_of};
use crate::stage::{RunView, Stage};
use crate::workspace::{Entry, Millis, RunRecord};

/// Tokens that are known beyond the last serial that was seen: a start that was never seen must be found all the same.
const BEYOND: i64 = 3;

/// A signal takes a moment.
const AT_ONCE: Millis = 200;
/// How long after it was frozen a process may still send what it had decided before.
const WAKING: Millis = 1000;

/// Judges.
pub(super) async fn judge(stage: &Stage, ledger: &Ledger, witness: &Witness, naps: &[Nap], report: &mut Report) {
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
    let requests = stage.databricks.requests();
    let overlaps = requests.iter().filter(|entry| entry.overlaps);
    let (of_sleepers, others): (Vec<_>, Vec<_>) = overlaps.partition(|entry| is_a_sleeper_s(entry, &requests, naps));
    report.overlaps = others.into_iter().map(|entry| format!("{entry:?}")).collect();
    report.overlaps_of_sleepers = of_sleepers.len();
    report.naps = naps.len();
    report.late_effects = requests.iter().filter(|entry| entry.overlaps_abandoned).count();
    if stage.databricks.violations() > 0 {
        report.wrong.push("cancel-all was called".to_owned());
    }
}

/// Whether two requests met because a process was frozen with one on its way, or between its last look at the clock and
/// the send. Nothing can prevent that, and the token makes them one run.
fn is_a_sleeper_s(second: &Entry, requests: &[Entry], naps: &[Nap]) -> bool {
    let first = requests.iter().filter(|entry| {
        entry.number < second.number
            && entry.idempotency_token == second.idempotency_token
            && entry.answered.is_none_or(|answered| answered >= second.received)
    });
    let began: Vec<_> = first.map(|entry| entry.received).collect();
    naps.iter().any(|nap| {
        let frozen_under_way = second.received >= nap.from && began.iter().any(|began| *began <= nap.from + AT_ONCE);
        let sent_on_waking = (nap.to..=nap.to.saturating_add(WAKING)).contains(&second.received);
        frozen_under_way || sent_on_waking
    })
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
