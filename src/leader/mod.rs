//! Who leads: one replica holds a Lease and has effects, the others stand by with warm caches. The protocol is client-go's.
//!
//! [`Election`] is the whole of it: a state machine that is told answers and the time and says what to ask next. [`campaign`]
//! is the thin task around it. What comes of it is a [`Tenure`], offered through [`Lead`]: until when the lease is surely ours,
//! for whoever is about to send something.
//!
//! That a run is started once does not rest on any of this (the intent and its token see to that), so nothing here may ever
//! be relied on for it. What the protocol does promise is in `election/tests`.

mod campaign;
mod election;
mod tenure;

pub use campaign::{ApiLeases, Campaign, Leases};
pub use election::{Answer, Ask, Election, Now, Timing, Turn};
pub use tenure::{Lead, Tenure};
