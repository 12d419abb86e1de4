//! The scenarios, each a world of its own: none may be slower or faster for what another left behind. What is promised of the
//! operator stands where the figure is taken.

mod creates;
mod finished;
mod lags;
mod live;
mod outage;
mod restart;

use std::sync::Arc;

use super::Failure;
use super::figures::{Outcome, number};
use super::subject::{Kind, Programs, Subject};
use super::window::{Span, Window};
use super::witness::Witness;
use super::world::World;

/// What is played with.
#[derive(Clone, Copy)]
pub(super) struct Players<'a> {
    pub(super) programs: &'a Programs,
    pub(super) kind: Kind,
}

/// A world with who is measured in it, and who sees what comes of it.
struct Scene<'a> {
    subject: Subject,
    witness: Arc<Witness>,
    world: Arc<World>,
    players: Players<'a>,
}

impl<'a> Scene<'a> {
    /// Starts a witness and who is measured.
    async fn open(players: Players<'a>, world: World) -> Result<Self, Failure> {
        let witness = Arc::new(Witness::of(world.runs()));
        let subject = Subject::start(players.kind, players.programs, &world).await?;
        Ok(Self { subject, witness, world: Arc::new(world), players })
    }

    fn outcome(&self, scenario: &str, about: String) -> Outcome {
        Outcome::new(scenario, about, self.players.kind)
    }

    async fn look(&self) -> Result<Window, Failure> {
        Window::open(&self.world, &self.subject, &self.witness).await
    }

    async fn looked(&mut self, window: Window) -> Result<Span, Failure> {
        window.close(&self.world, &mut self.subject, &self.witness).await
    }

    /// Runs that were started beyond one for each object.
    fn runs_too_many(&self) -> f64 {
        number(self.world.runs_started().saturating_sub(self.witness.objects().len()))
    }
}

/// A scenario by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    /// (a) 25 users, each of whom creates a run every 12 seconds.
    Users,
    /// (b) 2,000 objects at once in one workspace.
    Burst,
    /// (c) 5, 10 and 20 objects a second over eight workspaces.
    Sustained,
    /// (d) 1,000 live runs in one workspace, then (h) a minute without answers under it.
    Live,
    /// (e) 10,000 live runs in five workspaces, then a relist, then (g) a restart under it.
    ManyLive,
    /// (f) 50,000 finished runs.
    Finished,
    /// The lag and the requests at 125 to 2,000 live runs in one workspace.
    Growth,
}

impl Scenario {
    /// All, in the order in which they are played.
    pub const ALL: [Self; 7] =
        [Self::Users, Self::Burst, Self::Sustained, Self::Live, Self::ManyLive, Self::Finished, Self::Growth];

    /// Plays it, smaller by this share for a trial.
    pub(super) async fn play(self, players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Users => creates::users(players, scale).await,
            Self::Burst => creates::burst(players, scale).await,
            Self::Sustained => creates::sustained(players, scale).await,
            Self::Live => live::in_one_workspace(players, scale).await,
            Self::ManyLive => live::in_five_workspaces(players, scale).await,
            Self::Finished => finished::at_rest(players, scale).await,
            Self::Growth => live::growth(players, scale).await,
        }
    }

    /// Whether the baseline is put to it as well: where it asks for what the baseline cannot do, there is nothing to compare.
    pub(super) fn has_baseline(self) -> bool {
        !matches!(self, Self::Finished)
    }
}

/// A number of the full size, made smaller for a trial; at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
fn scaled(full: u32, scale: f64) -> usize {
    ((f64::from(full) * scale).ceil() as usize).max(1)
}
