//! `[sync]`.

use std::path::PathBuf;

use applier::TablePatterns;

use super::reader::Section;
use super::{Admin, Sync, derive, read_admin, value};

/// Reads `[sync]`.
pub(super) fn read(root: &Section<'_>) -> Sync {
    let mut sync = Sync {
        name: String::new(),
        tables: TablePatterns::default(),
        meta_schema: "twinlog".into(),
        state_dir: PathBuf::new(),
        allow_inline_secrets: false,
        admin: Admin::default(),
        console: Admin::default(),
    };
    let Some(section) = root.section("sync") else {
        root.fault("sync", "the section [sync] is missing");
        return sync;
    };
    sync.name = section.required("name", value::name).unwrap_or_default();
    sync.tables = read_tables(&section);
    sync.meta_schema = section.parsed("meta_schema", value::schema).unwrap_or(sync.meta_schema);
    sync.allow_inline_secrets = section.flag("allow_inline_secrets").unwrap_or(false);
    sync.admin = read_admin::read(&section);
    sync.console = read_admin::read_console(&section);
    let state_dir = section.file("state_dir").or_else(|| derive::state_dir(&sync.name));
    match state_dir {
        Some(dir) => sync.state_dir = dir,
        None => section.fault("state_dir", "is missing, and neither XDG_STATE_HOME nor HOME is set"),
    }
    section.finish();
    sync
}

fn read_tables(section: &Section<'_>) -> TablePatterns {
    let Some(patterns) = section.strings("tables") else {
        section.fault("tables", "is missing: name what is in step, for example [\"shop.*\"]");
        return TablePatterns::default();
    };
    if !patterns.iter().any(|p| !p.starts_with('!')) {
        section.fault("tables", "no table is in step: name some, for example [\"shop.*\"]");
    }
    TablePatterns::parse(&patterns).unwrap_or_else(|e| {
        section.fault("tables", e.to_string());
        TablePatterns::default()
    })
}
