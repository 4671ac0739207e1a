//! `[link.NAME]`: one direction and its tables.

use std::collections::{BTreeMap, BTreeSet};

use applier::{GroupLimits, Load};

use super::read_region::{both_or_none, read_admin};
use super::reader::Section;
use super::{Detect, Existing, Initial, Link, Operation, Policy, Sync, TableSettings, derive, value};

const INITIAL: [(&str, Initial); 4] = [
    ("structure+data", Initial::StructureAndData),
    ("structure", Initial::Structure),
    ("data", Initial::Data),
    ("none", Initial::None),
];

const EXISTING: [(&str, Existing); 2] = [("error", Existing::Error), ("keep", Existing::Keep)];

const POLICIES: [(&str, Policy); 4] = [
    ("report", Policy::Report),
    ("ignore", Policy::Ignore),
    ("overwrite", Policy::Overwrite),
    ("newest", Policy::Newest),
];

const DETECT: [(&str, Detect); 2] = [("row", Detect::Row), ("key", Detect::Key)];

const OPERATIONS: [(&str, Operation); 3] =
    [("insert", Operation::Insert), ("update", Operation::Update), ("delete", Operation::Delete)];

/// The checkpoint has so many rows, and each group on its way writes one of its own.
const MOST_WORKERS: u64 = 16;

/// As many as MySQL's own replica has. On two cores they gain little, and lose nothing.
const WORKERS: usize = 4;

/// Beyond this a group holds its locks for too long.
const LARGEST_GROUP: u64 = 100_000;

/// A group is one packet, and a packet at most 1 GiB; base64 takes a third more.
const LARGEST_GROUP_BYTES: u64 = 512 << 20;

/// Each has a session in both servers.
const MOST_LOAD_THREADS: u64 = 64;

/// A chunk is held in memory, and its locks until it is committed.
const LARGEST_BATCH: u64 = 1_000_000;

const SMALLEST_GROUP_BYTES: u64 = 1 << 10;

/// Reads one link.
pub(super) fn read(name: &str, section: &Section<'_>, sync: &Sync) -> Link {
    if let Err(message) = value::name(name) {
        section.fault_here(message);
    }
    let server_id =
        section.integer("server_id", 1, u64::from(u32::MAX)).and_then(|id| u32::try_from(id).ok());
    let workers = section.integer("workers", 1, MOST_WORKERS).and_then(|w| usize::try_from(w).ok());
    let link = Link {
        name: name.to_owned(),
        from: section.required("from", value::name).unwrap_or_default(),
        to: section.required("to", value::name).unwrap_or_default(),
        initial: section.parsed("initial", |t| value::word(t, &INITIAL)).unwrap_or(Initial::None),
        existing: section.parsed("existing", |t| value::word(t, &EXISTING)).unwrap_or(Existing::Error),
        load: read_load(section),
        on_conflict: section.parsed("on_conflict", |t| value::word(t, &POLICIES)),
        detect: section.parsed("detect", |t| value::word(t, &DETECT)),
        operations: read_operations(section).unwrap_or_else(|| Operation::ALL.into()),
        ddl: section.flag("ddl").unwrap_or(false),
        rename: read_rename(section),
        renames_are_derived: false,
        workers: workers.unwrap_or(WORKERS),
        group: read_group(section),
        start_at: section.parsed("start_at", value::time),
        server_id: server_id.unwrap_or_else(|| derive::server_id(&sync.name, "link", name)),
        tls_cert: section.file("tls_cert"),
        tls_key: section.file("tls_key"),
        admin: read_admin(section),
        tables: read_tables(section),
    };
    both_or_none(section, link.tls_cert.is_some(), link.tls_key.is_some());
    section.finish();
    link
}

fn read_operations(section: &Section<'_>) -> Option<BTreeSet<Operation>> {
    let words = section.strings("operations")?;
    let mut operations = BTreeSet::new();
    for text in &words {
        match value::word(text, &OPERATIONS) {
            Ok(operation) => {
                operations.insert(operation);
            }
            Err(message) => section.fault("operations", message),
        }
    }
    if words.is_empty() {
        section.fault("operations", "is empty: a link without operations does nothing");
    }
    Some(operations)
}

fn read_rename(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut rename = BTreeMap::new();
    for (from, to) in section.pairs("rename").unwrap_or_default() {
        for name in [&from, &to] {
            if let Err(message) = value::database_or_table(name) {
                section.fault("rename", message);
            }
        }
        if from.contains('.') != to.contains('.') {
            section.fault(
                "rename",
                format!("a database becomes a database, a table a table: {from:?} = {to:?}"),
            );
        }
        if let Some((other, _)) = rename.iter().find(|(_, t)| **t == to) {
            section.fault("rename", format!("{other} and {from} would both become {to}"));
        }
        rename.insert(from, to);
    }
    rename
}

fn read_load(section: &Section<'_>) -> Load {
    let mut load = Load::default();
    let Some(keys) = section.section("load") else { return load };
    let threads = keys.integer("threads", 1, MOST_LOAD_THREADS).and_then(|n| usize::try_from(n).ok());
    load.threads = threads.unwrap_or(load.threads);
    load.batch_rows = keys.integer("batch_rows", 1, LARGEST_BATCH).unwrap_or(load.batch_rows);
    load.max_rows_per_second = keys.integer("max_rows_per_second", 1, u64::from(u32::MAX));
    load.max_load = keys.integer("max_load", 1, 100_000).and_then(|n| u32::try_from(n).ok());
    load.max_lag = keys.parsed("max_lag", value::duration);
    keys.finish();
    load
}

fn read_group(section: &Section<'_>) -> GroupLimits {
    let mut limits = GroupLimits::default();
    let Some(group) = section.section("group") else { return limits };
    let as_usize = |value: Option<u64>| value.and_then(|v| usize::try_from(v).ok());
    if let Some(n) = as_usize(group.integer("max_transactions", 1, LARGEST_GROUP)) {
        limits.max_transactions = n;
    }
    if let Some(bytes) = as_usize(group.size("max_bytes", SMALLEST_GROUP_BYTES, LARGEST_GROUP_BYTES)) {
        limits.max_bytes = bytes;
    }
    group.finish();
    limits
}

fn read_tables(section: &Section<'_>) -> BTreeMap<String, TableSettings> {
    let mut tables = BTreeMap::new();
    for (name, table) in section.sections("table") {
        if let Err(message) = value::table(&name) {
            table.fault_here(message);
        }
        let settings = TableSettings {
            on_conflict: table.parsed("on_conflict", |t| value::word(t, &POLICIES)),
            detect: table.parsed("detect", |t| value::word(t, &DETECT)),
            operations: read_operations(&table),
        };
        table.finish();
        tables.insert(name, settings);
    }
    tables
}
