//! Reading a table of the file key by key: what is wrong becomes a fault, what nobody asked for is unknown.

use std::cell::RefCell;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::fault::{Collector, join};

/// One table of the file. Every getter marks its key as known; [`Section::finish`] then faults the others.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    path: String,
    faults: &'a Collector,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, faults: &'a Collector) -> Self {
        Self { table, path: String::new(), faults, known: RefCell::default() }
    }

    fn child(&self, key: &str, table: &'a DeTable<'a>) -> Self {
        Self { table, path: self.path(key), faults: self.faults, known: RefCell::default() }
    }

    /// The path of a key in this table.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The line of a key in this table.
    pub(super) fn line(&self, key: &str) -> usize {
        self.faults.line(&self.path(key))
    }

    pub(super) fn fault(&self, key: &str, message: impl Into<String>) {
        self.faults.fault(&self.path(key), message);
    }

    /// A fault of the table itself, of its name for example.
    pub(super) fn fault_here(&self, message: impl Into<String>) {
        self.faults.fault(&self.path, message);
    }

    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.faults.warn(&self.path(key), message);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn value(&self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key).map(|v| v.get_ref())
    }

    /// A string.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            DeValue::String(text) => Some(text.to_string()),
            other => self.wrong(key, "a string", other),
        }
    }

    /// The path of a file or folder; relative ones start from the configuration file's folder.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(|text| self.faults.absolute(&text))
    }

    /// A string that `parse` understands; its error becomes the fault.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|message| self.fault(key, message)).ok()
    }

    /// As [`Section::parsed`], and the key must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.fault(key, "is missing");
        }
        self.parsed(key, parse)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        match self.value(key)? {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.wrong(key, "true or false", other),
        }
    }

    /// An integer from `low` to `high`.
    pub(super) fn integer(&self, key: &'static str, low: u64, high: u64) -> Option<u64> {
        let DeValue::Integer(integer) = self.value(key)? else {
            return self.wrong(key, "an integer", self.value(key)?);
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if (low..=high).contains(&value) => Some(value),
            _ => {
                self.fault(key, format!("must be from {low} to {high}: {integer}"));
                None
            }
        }
    }

    /// A number of bytes: an integer, or a string with a unit.
    pub(super) fn size(&self, key: &'static str, low: u64, high: u64) -> Option<u64> {
        if let Some(DeValue::Integer(_)) = self.value(key) {
            return self.integer(key, low, high);
        }
        let size = self.parsed(key, super::value::size)?;
        if (low..=high).contains(&size) {
            return Some(size);
        }
        self.fault(key, format!("must be from {low} to {high} bytes: {size}"));
        None
    }

    /// A string or a list of strings.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        match self.value(key)? {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(array) => {
                let mut strings = Vec::new();
                for item in array.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => strings.push(text.to_string()),
                        other => return self.wrong(key, "a list of strings", other),
                    }
                }
                Some(strings)
            }
            other => self.wrong(key, "a string or a list of strings", other),
        }
    }

    /// A table of this table.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        match self.value(key)? {
            DeValue::Table(table) => Some(self.child(key, table)),
            other => self.wrong(key, "a table", other),
        }
    }

    /// The tables of a table whose keys are names: `[region.NAME]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let Some(outer) = self.section(key) else { return Vec::new() };
        let mut sections = Vec::new();
        for (name, value) in outer.table {
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push((name.get_ref().to_string(), outer.child(name.get_ref(), table)))
                }
                other => {
                    let _: Option<()> = outer.wrong(name.get_ref(), "a table", other);
                }
            }
        }
        sections
    }

    /// The strings of a table whose keys are names: `rename`.
    pub(super) fn pairs(&self, key: &'static str) -> Option<Vec<(String, String)>> {
        let outer = self.section(key)?;
        let mut pairs = Vec::new();
        for (name, value) in outer.table {
            match value.get_ref() {
                DeValue::String(text) => pairs.push((name.get_ref().to_string(), text.to_string())),
                other => return outer.wrong(name.get_ref(), "a string", other),
            }
        }
        Some(pairs)
    }

    /// Faults every key that no getter asked for, and names the nearest that one could have meant.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys().map(|k| k.get_ref()) {
            if known.iter().any(|k| k == key) {
                continue;
            }
            let nearest = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
            let hint = nearest.map(|n| format!("; the nearest known key is {n}")).unwrap_or_default();
            self.fault(key, format!("unknown key{hint}"));
        }
    }

    fn wrong<T>(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.fault(key, format!("must be {wanted}, not {}", found.type_str()));
        None
    }
}
