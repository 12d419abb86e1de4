//! People at work: as long as fewer requests than usual are under way, one more move is made: an object is created,
//! edited, touched, deleted, or its endless run is told to finish. Nobody waits for a time; the operator's progress is
//! the pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::DeleteParams;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::asked::{Asked, Kind, Ledger};
use super::witness::{Objects, Witness};
use crate::stage::Stage;

/// Requests under way at once.
const BUSY: usize = 8;
/// Endless runs at once.
const ENDLESS: usize = 4;
/// Objects that are left lying about.
const KEPT: usize = 24;

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

    /// Requests that the operator has something to do for; an endless run that goes on is none.
    fn busy(&self, objects: &Objects) -> usize {
        let running = |asked: &Asked, name: &str| {
            asked.kind == Kind::Endless
                && !asked.deleted
                && objects.get(name).is_some_and(|seen| seen.text("state") == "Running")
        };
        let idle = self.ledger.book().iter().filter(|(name, asked)| running(asked, name)).count();
        self.ledger.under_way(objects).len().saturating_sub(idle)
    }

    async fn make_a_move(&mut self, objects: &Objects) {
        let alive: Vec<(String, Asked)> = {
            let book = self.ledger.book();
            book.iter().filter(|(_, asked)| !asked.deleted).map(|(name, asked)| (name.clone(), asked.clone())).collect()
        };
        let endless: Vec<_> = alive.iter().filter(|(_, asked)| asked.kind == Kind::Endless).cloned().collect();
        if alive.len() > KEPT {
            return self.delete(&alive).await;
        }
        if endless.len() > ENDLESS {
            if self.random.random_bool(0.4) {
                return self.finish(&endless, objects);
            }
            return self.delete(&endless).await;
        }
        match self.random.random_range(0..10) {
            0..5 => self.create().await,
            5..7 => self.edit(&alive).await,
            7 => self.touch(&alive).await,
            8 => self.delete(&alive).await,
            _ => self.finish(&endless, objects),
        }
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.random.random_range(0..all.len())].clone())
    }

    async fn create(&mut self) {
        let name = format!("run-{}", self.created);
        self.created += 1;
        let kind = Kind::ALL[self.random.random_range(0..Kind::ALL.len())];
        let asked = Asked {
            uid: String::new(),
            kind,
            orphan: kind != Kind::Endless && self.random.random_bool(0.1),
            edit: 0,
            generation: 0,
            deleted: false,
        };
        self.apply(&name, asked, None).await;
    }

    /// Asks for another run.
    async fn edit(&mut self, alive: &[(String, Asked)]) {
        let Some((name, asked)) = self.one_of(alive) else { return };
        let edit = asked.edit + 1;
        self.apply(&name, Asked { edit, ..asked }, None).await;
    }

    /// Changes what starts no run.
    async fn touch(&mut self, alive: &[(String, Asked)]) {
        let Some((name, asked)) = self.one_of(alive) else { return };
        let bytes = self.random.random_range(0..1000);
        self.apply(&name, asked, Some(json!({"maxBytes": bytes}))).await;
    }

    /// Applies the manifest as it now is, as people do.
    async fn apply(&mut self, name: &str, mut asked: Asked, output: Option<Value>) {
        let mut manifest = self.stage.run(name, asked.kind.body(&self.stage.databricks, name, asked.edit));
        if asked.orphan {
            manifest["spec"]["deletionPolicy"] = json!("Orphan");
        }
        if let Some(output) = output {
            manifest["spec"]["output"] = output;
        }
        let applied = self.stage.apply(&manifest).await;
        asked.uid = applied.metadata.uid.unwrap_or_default();
        asked.generation = applied.metadata.generation.unwrap_or_default();
        self.ledger.book().insert(name.to_owned(), asked);
    }

    async fn delete(&mut self, among: &[(String, Asked)]) {
        let Some((name, _)) = self.one_of(among) else { return };
        if let Some(asked) = self.ledger.book().get_mut(&name) {
            asked.deleted = true;
        }
        // It cannot be gone: nobody else deletes here.
        let _ = self.stage.runs().delete(&name, &DeleteParams::default()).await;
    }

    fn finish(&mut self, endless: &[(String, Asked)], objects: &Objects) {
        let Some((name, _)) = self.one_of(endless) else { return };
        if let Some(Ok(run)) = objects.get(&name).map(|seen| seen.text("runId").parse()) {
            self.stage.databricks.finish(run);
        }
    }
}
