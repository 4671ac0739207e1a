//! Statements that commit by themselves: what they are ([`classify`]), and running them once ([`run`]).

mod classify;
mod lexer;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use classify::{ObjectName, Statement, classify};
