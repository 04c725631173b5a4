//! Integration tests with the real binaries; see the modules.

mod bit_flips;
mod command_line;
mod compaction;
mod disk_full;
mod first_page;
mod flights;
mod group_churn;
mod group_commands;
mod group_files;
mod group_flights;
mod group_metrics;
mod group_records;
mod group_replay;
mod hostile_names;
mod idle_connections;
mod interop;
mod io_errors;
mod kafka_files;
mod kafka_tools;
mod kill_loop;
mod lifecycle;
mod map_faults;
mod packaging;
mod power_loss;
mod retry;
mod streams;
