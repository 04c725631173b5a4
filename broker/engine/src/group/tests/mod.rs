//! Step tables of the coordinator, one file for what happens, and a simulation of members, a log and
//! crashes that checks its promises.

mod bench;
mod classic;
mod commit;
mod forget;
mod heartbeat;
mod join;
mod leave;
mod rebalance;
mod regex;
mod reload;
mod simulation;
