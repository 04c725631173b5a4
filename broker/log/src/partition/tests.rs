//! Behaviour of a partition log over the memory and the fault-injecting file system.

mod append;
mod checked;
mod compaction;
mod concurrency;
mod damage;
mod decode;
mod faults;
mod limits;
mod lookup;
mod model;
mod retention;
mod schedule;
mod truncate;
