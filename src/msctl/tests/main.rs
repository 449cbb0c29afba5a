//! The real binary over the embedded etcd and over a real one, the same table for both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod bad_input;
mod call_flags;
mod call_kept;
mod completions;
mod config;
mod config_canary;
mod config_changes;
mod config_docs;
mod config_edit;
mod config_effects;
mod config_faults;
mod config_lost;
mod config_race;
mod config_rollout;
mod config_secrets;
mod config_series;
mod config_trees;
mod console;
mod demo;
mod demo_calls;
mod demo_changes;
mod demo_guarded;
mod doctor;
mod gateway;
mod help;
mod main_job;
mod services;
mod settings;
mod terminal;
mod turn;
mod world;
