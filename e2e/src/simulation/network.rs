//! The way of a request and of its answer. A request that was sent happens, whatever becomes of who sent it; its answer
//! may be lost, or come after the caller has given up. At every await of the caller its process may die or stand still.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::election;
use super::faults::{self, Fate};
use super::ports::Port;
use super::process;
use super::world::{Shared, World};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Kubernetes,
    Databricks,
}

/// No answer was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing was sent.
    NotConnected,
    /// It may have been done.
    NoAnswer,
}

/// The time in which a request is under way for its sender: from the first byte to the answer or the deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) from: Duration,
    pub(super) until: Duration,
}

impl Port {
    /// A request. `sent` happens when its first byte leaves, `effect` when it arrives.
    pub(super) async fn exchange<T: Send + 'static>(
        &self,
        (link, operation, deadline): (Link, &'static str, Duration),
        sent: impl FnOnce(&mut World, Flight) + Send,
        effect: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        self.hesitate("before", operation).await;
        // Reading objects is no effect.
        if (link == Link::Databricks || operation != "get") && !election::permits(&self.world.lock(), self.process) {
            return Err(Lost::NotConnected);
        }
        let slot: Arc<Mutex<Option<T>>> = Arc::default();
        let (answer_at, gives_up_at, was_sent) = {
            let mut world = self.world.lock();
            let now = world.now;
            let fate = faults::fate(&mut world, link, deadline);
            if let Fate::NotConnected { after } = fate {
                (None, now + after, false)
            } else {
                let (there, answer, gives_up) = match fate {
                    Fate::Answered { there, back } if there + back <= deadline => (there, Some(there + back), deadline),
                    Fate::Reset { there, told } => (there, None, told.min(deadline)),
                    Fate::Answered { there, .. } | Fate::Silent { there } => (there, None, deadline),
                    Fate::NotConnected { after } => (after, None, after),
                };
                let until = now + answer.unwrap_or(gives_up);
                sent(&mut world, Flight { from: now, until });
                let slot = Arc::clone(&slot);
                world.after(there, move |world| {
                    let outcome = effect(world);
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                });
                (answer.map(|answer| now + answer), now + gives_up, true)
            }
        };
        self.sleep_until(answer_at.unwrap_or(gives_up_at)).await;
        self.hesitate("after", operation).await;
        let answer = answer_at.and_then(|_| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        answer.ok_or(if was_sent { Lost::NoAnswer } else { Lost::NotConnected })
    }

    /// An await that takes a moment, in which a process may die or stand still.
    pub(super) async fn hesitate(&self, moment: &'static str, operation: &'static str) {
        let until = {
            let mut world = self.world.lock();
            faults::at_an_await(&mut world, self.process, moment, operation);
            let moment = world.chance.millis(1..=10);
            world.now + moment
        };
        self.sleep_until(until).await;
    }

    pub(super) fn sleep_until(&self, until: Duration) -> Sleep {
        Sleep { world: self.world.clone(), until, arranged: false }
    }
}

/// Ends at a true instant, or when a process that stood still goes on after it.
pub(super) struct Sleep {
    world: Shared,
    until: Duration,
    arranged: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let (shared, until) = (self.world.clone(), self.until);
        let mut world = shared.lock();
        if world.now >= until {
            return Poll::Ready(());
        }
        if !self.arranged {
            process::wake_at(&mut world, until);
            self.arranged = true;
        }
        Poll::Pending
    }
}
