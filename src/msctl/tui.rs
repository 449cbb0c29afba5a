//! The console.

pub mod action;
pub mod effect;
pub mod event;
pub mod key;
pub mod keymap;
pub mod state;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;
