//! What members of a consumer group did and were told while others joined, left, crashed and stood
//! still, and what in it contradicts the coordinator's promises.
//!
//! ```text
//!   ClientMember (the client crate) ┐
//!   RawMember (the native API)      ├─ observations ─► Recorder ─► check ─► Report: anomalies
//!   an observer of commits          ┘                         └──► timing: evictions, pauses
//! ```
//!
//! A partition has two owners where one member is given it while another, of which the broker heard
//! less than a session ago, has neither given it up nor been told that its membership is over.

mod anomaly;
mod chaos;
mod check;
mod client_member;
mod excerpt;
mod history;
mod link;
mod moves;
mod observer;
mod raw_member;
mod run;
mod scene;
pub mod timing;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Report};
pub use check::check;
pub use client_member::{Ending, Life, SubscribeBy, live};
pub use history::{CommitNumber, MemberNumber, Observation, Observed, Recorder};
pub use moves::{Moves, moves};
pub use observer::{Committed, Observer, drain, record_log_ends};
pub use raw_member::{Ghost, RawMember, Standing};
pub use run::{Outcome, Plan, Run};
pub use scene::Scene;
