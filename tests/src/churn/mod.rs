//! What members of a group did and were told while others joined, left, crashed and stood still, and
//! what in it contradicts the coordinator's promises.
//!
//! ```text
//!   ClientMember (the client crate)     ┐
//!   RawMember (the native API)          ├─ observations ─► Recorder ─► check ─► Report: anomalies
//!   KafkaMember (classic, and KIP-848)  │                         └──► timing: evictions, pauses
//!   an observer of commits              ┘
//! ```
//!
//! A partition has two owners where one member is given it while another, of which the broker heard
//! less than a session ago, has neither given it up nor been told that its membership is over.

mod anomaly;
mod chaos;
mod check;
mod client_member;
mod excerpt;
mod group;
mod history;
mod kafka_member;
mod link;
mod member;
mod moves;
mod observer;
mod raw_member;
mod run;
mod scene;
pub mod timing;
mod witness;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Report};
pub use check::check;
pub use client_member::{Ending, Life, SubscribeBy, live};
pub use group::{Cast, GroupOutcome};
pub use history::{CommitNumber, MemberNumber, Observation, Observed, Recorder};
pub use kafka_member::{Dialect, KafkaMember};
pub use member::Protocol;
pub use moves::{Moves, moves};
pub use observer::{Committed, Observer, drain, record_log_ends};
pub use raw_member::{Ghost, RawMember, Standing};
pub use run::{Outcome, Plan, Run};
pub use scene::Scene;
