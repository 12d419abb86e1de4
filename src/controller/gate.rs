//! The gate before every effect: nothing is sent by a process that does not lead, and what is under way is given up before
//! anybody else can lead. Asked at the point of sending, after everything that may have taken time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::Stream;

use crate::leader::Lead;
use crate::poller::{Clock, SystemClock};

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// It was not begun.
    NotBegun,
    /// It was given up: it may have been carried out.
    GivenUp,
}

/// Whether this process leads, at any instant.
#[derive(Debug, Clone)]
pub(super) struct Gate<C = SystemClock> {
    lead: Lead,
    clock: C,
}

impl<C: Clock> Gate<C> {
    /// `clock` is the one that the lease's instants are counted on.
    pub(super) fn new(lead: Lead, clock: C) -> Self {
        Self { lead, clock }
    }

    /// Whether an effect may begin now.
    pub(super) fn is_open(&self) -> bool {
        self.lead.permits(self.clock.now().monotonic)
    }

    /// A call within the lease: it begins only while the lease is surely ours, and it ends before somebody else can hold it. While
    /// the lease is renewed, that end moves ahead.
    pub(super) async fn within<T>(&self, call: impl Future<Output = T> + Send) -> Result<T, Shut> {
        if !self.is_open() {
            return Err(Shut::NotBegun);
        }
        let mut lead = self.lead.clone();
        let mut call = pin!(call);
        loop {
            let end = lead.tenure().end_by;
            if end <= self.clock.now().monotonic {
                return Err(Shut::GivenUp);
            }
            tokio::select! {
                biased;
                answer = &mut call => return Ok(answer),
                () = lead.changed() => {}
                () = async { self.clock.sleep_until(end).await }, if end != Duration::MAX => {}
            }
        }
    }

    /// Each beginning of a term of ours, from now on.
    pub(super) fn terms(&self) -> impl Stream<Item = ()> + Send + 'static {
        let (lead, term) = (self.lead.clone(), self.lead.tenure().term);
        futures::stream::unfold((lead, term), |(mut lead, mut term)| async move {
            while lead.tenure().term == term {
                lead.changed().await;
            }
            term = lead.tenure().term;
            Some(((), (lead, term)))
        })
    }

    /// Ends when this process leads.
    pub(super) async fn opened(&self) {
        let mut lead = self.lead.clone();
        while !self.is_open() {
            lead.changed().await;
        }
    }

    /// Ends when this process does not lead; never where there is no election.
    pub(super) async fn shut(&self) {
        let mut lead = self.lead.clone();
        loop {
            let end = lead.tenure().begin_before;
            if end <= self.clock.now().monotonic {
                return;
            }
            tokio::select! {
                () = lead.changed() => {}
                () = async { self.clock.sleep_until(end).await }, if end != Duration::MAX => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    use futures::{FutureExt, StreamExt};
    use tokio::sync::watch;

    use super::*;
    use crate::leader::Tenure;
    use crate::poller::Now;

    /// A clock that is turned by hand and wakes those who wait for it.
    #[derive(Debug, Clone)]
    struct Turned(Arc<Mutex<watch::Sender<Duration>>>);

    impl Turned {
        fn to(&self, seconds: u64) {
            self.0.lock().unwrap().send_replace(Duration::from_secs(seconds));
        }
    }

    impl Clock for Turned {
        fn now(&self) -> Now {
            Now { monotonic: *self.0.lock().unwrap().borrow(), wall: SystemTime::UNIX_EPOCH }
        }

        async fn sleep_until(&self, instant: Duration) {
            let mut time = self.0.lock().unwrap().subscribe();
            let _ = time.wait_for(|now| *now >= instant).await;
        }
    }

    fn gate() -> (watch::Sender<Tenure>, Turned, Gate<Turned>) {
        let (tenure, lead) = Lead::of_a_candidate();
        let clock = Turned(Arc::new(Mutex::new(watch::Sender::new(Duration::ZERO))));
        (tenure, clock.clone(), Gate::new(lead, clock))
    }

    fn until(seconds: u64, term: u64) -> Tenure {
        Tenure { begin_before: Duration::from_secs(seconds), end_by: Duration::from_secs(seconds + 3), term }
    }

    #[test]
    fn nothing_begins_without_the_lease_or_when_it_has_lapsed() {
        let (tenure, clock, gate) = gate();
        let begun = async || panic!("begun");
        assert_eq!(gate.within(begun()).now_or_never(), Some(Err::<(), _>(Shut::NotBegun)));
        tenure.send_replace(until(10, 1));
        assert_eq!(gate.within(async { 7 }).now_or_never(), Some(Ok(7)));
        clock.to(10);
        assert_eq!(gate.within(begun()).now_or_never(), Some(Err::<(), _>(Shut::NotBegun)));
    }

    #[tokio::test]
    async fn what_is_under_way_lives_as_long_as_the_lease_is_renewed_and_is_given_up_when_it_is_not() {
        let (tenure, clock, gate) = gate();
        tenure.send_replace(until(10, 1));
        let mut call = pin!(gate.within(std::future::pending::<()>()));
        assert_eq!((&mut call).now_or_never(), None);
        tenure.send_replace(until(20, 1));
        clock.to(13);
        assert_eq!((&mut call).now_or_never(), None, "renewed");
        clock.to(22);
        assert_eq!((&mut call).now_or_never(), None, "there is time left to finish");
        clock.to(23);
        assert_eq!(call.await, Err(Shut::GivenUp));
    }

    #[tokio::test]
    async fn a_lease_that_became_another_s_ends_what_is_under_way_at_once() {
        let (tenure, _clock, gate) = gate();
        tenure.send_replace(until(10, 1));
        let mut call = pin!(gate.within(std::future::pending::<()>()));
        assert_eq!((&mut call).now_or_never(), None);
        tenure.send_replace(Tenure { term: 1, ..Tenure::default() });
        assert_eq!(call.await, Err(Shut::GivenUp));
    }

    #[tokio::test]
    async fn each_term_is_told_once_and_renewals_are_not() {
        let (tenure, _clock, gate) = gate();
        let mut terms = pin!(gate.terms());
        assert_eq!(terms.next().now_or_never(), None);
        tenure.send_replace(until(10, 1));
        assert_eq!(terms.next().await, Some(()));
        tenure.send_replace(until(12, 1));
        assert_eq!(terms.next().now_or_never(), None);
        tenure.send_replace(until(30, 2));
        assert_eq!(terms.next().await, Some(()));
    }

    #[tokio::test]
    async fn the_end_of_the_lease_is_noticed_when_it_lapses() {
        let (tenure, clock, gate) = gate();
        tenure.send_replace(until(10, 1));
        let mut shut = pin!(gate.shut());
        clock.to(9);
        assert_eq!((&mut shut).now_or_never(), None);
        clock.to(10);
        shut.await;
    }
}
