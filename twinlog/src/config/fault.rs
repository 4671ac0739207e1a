//! Faults of a configuration file, and the collector that lets all of them be told at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One thing that is wrong, or odd, in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// The key, as a path from the root; empty when it is about the whole file.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration file, by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub list: Vec<Fault>,
}

impl Faults {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::one(path, Fault { line: 0, key: String::new(), message: format!("cannot be read: {error}") })
    }

    pub(super) fn one(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_path_buf(), list: vec![fault] }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}:", self.path.display())?;
        for fault in &self.list {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The line of every key, by its path.
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn of(text: &str, tree: &DeTable<'_>) -> Self {
        let mut lines = BTreeMap::new();
        collect(text, tree, "", &mut lines);
        Self(lines)
    }

    /// The line of this key, or of the nearest thing around it that is in the file.
    fn line(&self, key: &str) -> usize {
        let mut path = key;
        loop {
            if let Some(line) = self.0.get(path) {
                return *line;
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return 0,
            }
        }
    }
}

fn collect(text: &str, table: &DeTable<'_>, path: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_at(text, key.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            collect(text, inner, &path, lines);
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|b| **b == b'\n').count() + 1
}

/// A key's path, quoted where TOML would want it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A key's path from its steps.
pub(super) fn path_of(steps: &[&str]) -> String {
    steps.iter().fold(String::new(), |path, step| join(&path, step))
}

/// Gathers what is wrong while a file is read.
pub(super) struct Collector {
    path: PathBuf,
    lines: Lines,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl Collector {
    pub(super) fn new(path: &Path, lines: Lines) -> Self {
        Self { path: path.to_path_buf(), lines, faults: RefCell::default(), warnings: RefCell::default() }
    }

    /// Something that makes the file unusable. A key is faulted once: what follows from the first fault is noise.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) {
        if !self.is_faulty(key) {
            self.faults.borrow_mut().push(self.at(key, message.into()));
        }
    }

    /// Something that is allowed and probably not meant.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.at(key, message.into()));
    }

    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.borrow().iter().any(|f| f.key == key)
    }

    pub(super) fn syntax(&self, text: &str, error: &toml::de::Error) {
        let line = error.span().map_or(0, |s| line_at(text, s.start));
        let fault = Fault { line, key: String::new(), message: format!("not TOML: {}", error.message()) };
        self.faults.borrow_mut().push(fault);
    }

    /// The line of a key.
    pub(super) fn line(&self, key: &str) -> usize {
        self.lines.line(key)
    }

    /// A path that the file gives; relative ones start from the file's folder.
    pub(super) fn absolute(&self, text: &str) -> PathBuf {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()).join(text)
    }

    pub(super) fn stop_if_any(&self) -> Result<(), Faults> {
        let mut list = self.faults.borrow().clone();
        if list.is_empty() {
            return Ok(());
        }
        list.sort_by_key(|f| f.line);
        Err(Faults { path: self.path.clone(), list })
    }

    pub(super) fn into_warnings(self) -> Vec<Fault> {
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|f| f.line);
        warnings
    }

    fn at(&self, key: &str, message: String) -> Fault {
        Fault { line: self.lines.line(key), key: key.to_owned(), message }
    }
}
