//! People at work: as long as fewer requests than usual are under way, one more move is made: an object is created,
//! edited, touched, deleted, or its endless run is told to finish. Nobody waits for a time; the operator's progress is
//! the pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use databricks_run_operator::api::run::{CANCEL_ANNOTATION, REPAIR_ANNOTATION, RERUN_ANNOTATION};
use kube::api::DeleteParams;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use super::asked::{Asked, Kind, Ledger};
use super::witness::{Objects, Witness, is_settled};
use crate::stage::Stage;

/// Requests under way at once.
const BUSY: usize = 8;
/// Endless runs at once.
const ENDLESS: usize = 4;
/// Objects that are left lying about.
const KEPT: usize = 32;
/// Repairs that people ask for of one object: fewer than past attempts are remembered.
const REPAIRS: u32 = 3;

/// The people; they stop when dropped.
pub(super) struct People {
    stop: Arc<AtomicBool>,
    work: Option<JoinHandle<()>>,
}

impl People {
    pub(super) fn start(stage: &Arc<Stage>, ledger: &Arc<Ledger>, witness: &Witness, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut crowd = Crowd {
            stage: Arc::clone(stage),
            ledger: Arc::clone(ledger),
            witness: witness.clone(),
            random: StdRng::seed_from_u64(seed),
            created: 0,
            stop: Arc::clone(&stop),
        };
        Self { stop, work: Some(tokio::spawn(async move { crowd.work().await })) }
    }

    /// Makes them stop after the move they are making.
    pub(super) async fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(work) = self.work.take() {
            // A move that panicked has said so itself, and what it left undone is found by the judge.
            let _ = work.await;
        }
    }
}

struct Crowd {
    stage: Arc<Stage>,
    ledger: Arc<Ledger>,
    witness: Witness,
    random: StdRng,
    created: u32,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    async fn work(&mut self) {
        let mut changes = self.witness.changes();
        while !self.stop.load(Ordering::SeqCst) {
            let objects = self.witness.objects();
            if self.busy(&objects) < BUSY {
                self.make_a_move(&objects).await;
            }
            // A moment without news is no reason to stand still for ever, nor to be deaf to the end.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(250), changes.changed()).await;
        }
    }

    /// Requests that the operator has something to do for now: an endless run that goes on and a wait for the next attempt
    /// are none.
    fn busy(&self, objects: &Objects) -> usize {
        let book = self.ledger.book().clone();
        let idle = |name: &String| {
            let (Some(asked), Some(seen)) = (book.get(name), objects.get(name)) else { return false };
            let waits = seen.0.status.as_ref().is_some_and(|status| status.backoff.is_some());
            !asked.deleted && (waits || (asked.kind.goes_on() && seen.text("state") == "Running"))
        };
        self.ledger.under_way(objects).keys().filter(|name| !idle(name)).count()
    }

    async fn make_a_move(&mut self, objects: &Objects) {
        let alive: Vec<(String, Asked)> = {
            let book = self.ledger.book();
            let there = |(name, asked): &(&String, &Asked)| !asked.deleted && objects.contains_key(*name);
            book.iter().filter(there).map(|(name, asked)| (name.clone(), asked.clone())).collect()
        };
        // What deletes itself is left alone: whoever applies it again makes another object.
        let steady: Vec<_> = alive.iter().filter(|(_, asked)| asked.kind != Kind::Brief).cloned().collect();
        let endless: Vec<_> = steady.iter().filter(|(_, asked)| asked.kind.goes_on()).cloned().collect();
        if steady.len() > KEPT {
            return self.delete(&steady).await;
        }
        if endless.len() > ENDLESS {
            if self.random.random_bool(0.4) {
                return self.finish(&endless, objects);
            }
            return self.delete(&endless).await;
        }
        match self.random.random_range(0..24) {
            0..10 => self.create().await,
            10..13 => self.edit(&steady).await,
            13 => self.touch(&steady).await,
            14..16 => self.delete(&alive).await,
            16 => self.finish(&endless, objects),
            17..19 => self.suspend_or_resume(&steady).await,
            19 => self.cancel(&steady).await,
            20 => self.command(&steady, RERUN_ANNOTATION).await,
            21 => self.command(&steady, CANCEL_ANNOTATION).await,
            _ => self.repair(&steady, objects).await,
        }
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.random.random_range(0..all.len())].clone())
    }

    async fn create(&mut self) {
        let name = format!("run-{}", self.created);
        self.created += 1;
        let mut asked = Asked::new(Kind::ALL[self.random.random_range(0..Kind::ALL.len())]);
        asked.orphan = !asked.kind.goes_on() && self.random.random_bool(0.1);
        asked.replace = self.random.random_bool(0.3);
        asked.suspend = asked.kind != Kind::Brief && self.random.random_bool(0.05);
        self.apply(&name, asked).await;
    }

    /// Asks for another run.
    async fn edit(&mut self, among: &[(String, Asked)]) {
        let Some((name, mut asked)) = self.one_of(among) else { return };
        asked.edit += 1;
        asked.cancel = false;
        asked.suspend &= self.random.random_bool(0.5);
        self.apply(&name, asked).await;
    }

    /// Changes what starts no run.
    async fn touch(&mut self, among: &[(String, Asked)]) {
        let Some((name, mut asked)) = self.one_of(among) else { return };
        asked.bytes = self.random.random_range(0..1000);
        self.apply(&name, asked).await;
    }

    async fn suspend_or_resume(&mut self, among: &[(String, Asked)]) {
        // Whoever is suspended is not left so.
        let suspended: Vec<_> = among.iter().filter(|(_, asked)| asked.suspend).cloned().collect();
        let resume = !suspended.is_empty() && self.random.random_bool(0.5);
        let Some((name, mut asked)) = self.one_of(if resume { &suspended } else { among }) else { return };
        asked.suspend = !asked.suspend;
        if asked.suspend {
            *asked.again.entry(asked.edit).or_default() += 1;
        }
        self.apply(&name, asked).await;
    }

    async fn cancel(&mut self, among: &[(String, Asked)]) {
        let Some((name, mut asked)) = self.one_of(among) else { return };
        asked.cancel = true;
        asked.cancelled.push(asked.edit);
        self.apply(&name, asked).await;
    }

    /// Has what failed of a run done again.
    async fn repair(&mut self, among: &[(String, Asked)], objects: &Objects) {
        let failed = |(name, asked): &&(String, Asked)| {
            let told = asked.tokens.get(REPAIR_ANNOTATION).copied().unwrap_or(0);
            asked.kind.fails_in_parts()
                && told < REPAIRS
                && objects.get(name).is_some_and(|seen| is_settled(seen, asked) && seen.text("state") == "Failed")
        };
        let failed: Vec<_> = among.iter().filter(failed).cloned().collect();
        self.command(&failed, REPAIR_ANNOTATION).await;
    }

    /// Writes a new token into an annotation.
    async fn command(&mut self, among: &[(String, Asked)], annotation: &'static str) {
        let Some((name, mut asked)) = self.one_of(among) else { return };
        let token = asked.tokens.entry(annotation).or_default();
        *token += 1;
        let token = token.to_string();
        match annotation {
            RERUN_ANNOTATION => *asked.again.entry(asked.edit).or_default() += 1,
            CANCEL_ANNOTATION => asked.cancelled.push(asked.edit),
            _ => {}
        }
        self.ledger.book().insert(name.clone(), asked);
        self.stage.annotate(&name, annotation, &token).await;
    }

    /// Applies the manifest as it now is, as people do.
    async fn apply(&mut self, name: &str, mut asked: Asked) {
        let applied = self.stage.apply(&asked.manifest(&self.stage, name)).await;
        asked.uid = applied.metadata.uid.unwrap_or_default();
        asked.generation = applied.metadata.generation.unwrap_or_default();
        self.ledger.book().insert(name.to_owned(), asked);
    }

    async fn delete(&mut self, among: &[(String, Asked)]) {
        let Some((name, _)) = self.one_of(among) else { return };
        if let Some(asked) = self.ledger.book().get_mut(&name) {
            asked.deleted = true;
        }
        // It may have deleted itself meanwhile.
        let _ = self.stage.runs().delete(&name, &DeleteParams::default()).await;
    }

    fn finish(&mut self, endless: &[(String, Asked)], objects: &Objects) {
        let Some((name, _)) = self.one_of(endless) else { return };
        if let Some(Ok(run)) = objects.get(&name).map(|seen| seen.text("runId").parse()) {
            self.stage.databricks.finish(run);
        }
    }
}
