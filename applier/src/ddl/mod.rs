//! Statements that commit by themselves: what they are ([`classify`]), what they are called in the target ([`rename`]),
//! and running them once ([`run`]).

mod classify;
mod lexer;
mod program;
mod rename;
mod rename_query;
mod run;
#[cfg(test)]
mod tests;

use classify::is_database_option;
pub(crate) use classify::{ObjectName, Statement, classify};
pub(crate) use program::{disabled_event, mentions, trigger_on, without_definer};
pub(crate) use rename::{qualified, rename};
