//! The configuration: one file for the whole sync, read whole or refused whole.
//!
//! ```text
//! text ──toml──▶ tree with line numbers ──sections──▶ File ──rules──▶ File + warnings ──convert──▶ relay::Config
//!                        │                   │                  │                                  applier::Config
//!                        └── faults ─────────┴──────────────────┴──▶ all of them at once, each with line and key
//! ```
//!
//! Unknown keys are faults that name the nearest known key. Relative paths are relative to the file's folder.
//! Passwords are read when a relay's or applier's configuration is made, not before: `status` needs none.
//! `example.toml` beside this crate's manifest shows every key.

mod convert;
mod derive;
mod fault;
mod file;
mod read_admin;
mod read_link;
mod read_region;
mod read_sync;
mod read_verify;
mod reader;
mod rings;
mod rules;
mod secret;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use wire::Secret;

pub use convert::{
    applier_config, attach_config, conflict_rules, links_from, names, objects, region_servers,
    region_with_relay, relay_config, verify_config,
};
pub use fault::{Fault, Faults};
pub use file::{
    Account, Admin, Detect, Existing, File, Initial, Link, Mysql, Operation, Policy, Region, Relay, Sync,
    TableSettings, Verify,
};
pub use secret::{PasswordSource, Place};

/// Reads and checks a configuration file.
pub fn load(path: &Path) -> Result<File, Faults> {
    let text = std::fs::read_to_string(path).map_err(|e| Faults::unreadable(path, &e))?;
    parse(&text, path)
}

/// Checks a configuration that was read from `path`; relative paths in it are relative to that file's folder.
pub fn parse(text: &str, path: &Path) -> Result<File, Faults> {
    let (tree, errors) = toml::de::DeTable::parse_recoverable(text);
    let lines = fault::Lines::of(text, tree.get_ref());
    let faults = fault::Collector::new(path, lines);
    for error in errors {
        faults.syntax(text, &error);
    }
    // What follows a syntax error is guesswork: its faults would not be true.
    faults.stop_if_any()?;
    let root = reader::Section::root(tree.get_ref(), &faults);
    let sync = read_sync::read(&root);
    let mut file = File {
        path: path.to_path_buf(),
        text: Secret::new(text),
        regions: named(&root, "region", |name, section| read_region::read(name, section, &sync)),
        links: named(&root, "link", |name, section| read_link::read(name, section, &sync)),
        sync,
        warnings: Vec::new(),
    };
    root.finish();
    rules::check(&mut file, &faults);
    faults.stop_if_any()?;
    file.warnings = faults.into_warnings();
    Ok(file)
}

/// Reads every `[KEY.NAME]`.
fn named<T>(
    root: &reader::Section<'_>,
    key: &'static str,
    read: impl Fn(&str, &reader::Section<'_>) -> T,
) -> BTreeMap<String, T> {
    root.sections(key).iter().map(|(name, section)| (name.clone(), read(name, section))).collect()
}

#[cfg(test)]
mod tests;
