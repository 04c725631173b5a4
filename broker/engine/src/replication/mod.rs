//! Replication of one partition as its leader sees it: high watermark and due acknowledgements.
//!
//! ```text
//!   Event ──► Leadership::handle ──► Action
//!   append, flush, follower fetch      high watermark moved, acknowledge, propose an in-sync set
//! ```
//!
//! What the high watermark follows depends on the topic's durability, and it is the only thing that
//! consumers and `acks=all` follow:
//!
//! | durability | high watermark | acks=1 waits for | acks=all waits for |
//! |---|---|---|---|
//! | fsync | min over the in-sync set of `flushed` | the leader's flush | the high watermark |
//! | replicated | min over the in-sync set of `log_end` | the leader's append | the high watermark |
//!
//! Invariants, asserted on every event: the high watermark never regresses and never passes the
//! leader's log end; in an fsync topic no step moves it past the leader's `flushed`.

mod action;
mod event;
mod state;

pub use action::{Action, Claim};
pub use event::{Acks, Durability, Event, Progress, Ticket};
pub use state::{Leadership, LeadershipStart, Refusal, Rules};
