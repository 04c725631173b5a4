//! Step tables of classic groups, one file for what happens, and a simulation.

mod bench;
mod commit;
mod forget;
mod heartbeat;
mod join;
mod kinds;
mod leave;
mod migration;
mod mixed;
mod reload;
mod simulation;
mod static_member;
mod sync;
mod view;
