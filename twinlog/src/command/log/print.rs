//! Transactions as text, or one object a line.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use binlog::event::GtidEvent;
use serde_json::{Value, json};

use super::describe::{Described, Describer, Named};
use super::selection::{Halt, Origin, Seen, Sink, commit_time};
use super::{counted, time};
use crate::failure::Failure;

/// Prints what it is given.
pub(super) struct Printer<W: Write> {
    out: BufWriter<W>,
    json: bool,
    describer: Describer,
    server_uuid: Option<String>,
    file: Arc<str>,
    gtid: String,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, json: bool, with_rows: bool) -> Self {
        let describer = Describer::new(with_rows);
        let out = BufWriter::with_capacity(64 << 10, out);
        Self { out, json, describer, server_uuid: None, file: "".into(), gtid: String::new() }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<(), Halt> {
        self.out.flush().map_err(|e| halt(&e))
    }

    fn line(&mut self, text: &str) -> Result<(), Halt> {
        writeln!(self.out, "{text}").map_err(|e| halt(&e))
    }

    fn describe(&mut self, seen: &Seen) -> Result<(), Halt> {
        for described in self.describer.describe(&seen.event) {
            if self.json {
                let line = self.object(&described, seen)?;
                self.line(&line)?;
                continue;
            }
            let line = text_of(&described, seen);
            self.line(&line)?;
            for row in described.values.iter().flatten() {
                let images = [("before", &row.before), ("after ", &row.after)];
                for (when, values) in images {
                    if let Some(values) = values {
                        self.line(&format!("{:34}{when}  {}", "", values_of(values)))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn object(&self, described: &Described, seen: &Seen) -> Result<String, Halt> {
        let failed = |e| Halt::Failed(Failure::from_error("cannot write an event", &e));
        let mut object = serde_json::to_value(described).map_err(failed)?;
        if let Value::Object(fields) = &mut object {
            fields.insert("type".into(), "event".into());
            fields.insert("gtid".into(), self.gtid.clone().into());
            fields.insert("file".into(), (*self.file).into());
            self.place(fields, seen);
            fields.insert("source_end".into(), seen.source_end.into());
            fields.insert("bytes".into(), seen.event.size().into());
        }
        Ok(object.to_string())
    }

    fn place(&self, fields: &mut serde_json::Map<String, Value>, seen: &Seen) {
        if let Some(at) = seen.at {
            fields.insert("segment".into(), at.segment.into());
            fields.insert("offset".into(), at.offset.into());
        }
    }
}

impl<W: Write> Sink for Printer<W> {
    fn origin(&mut self, origin: &Origin) -> Result<(), Halt> {
        self.server_uuid.clone_from(&origin.server_uuid);
        self.file = origin.file.clone();
        Ok(())
    }

    fn begin(&mut self, begin: &GtidEvent, seen: &Seen) -> Result<(), Halt> {
        self.describer.begin();
        self.gtid = begin.gtid.as_ref().map_or_else(|| "anonymous".into(), ToString::to_string);
        let committed = time(commit_time(begin, &seen.event));
        let source_begin = seen.source_end.saturating_sub(seen.event.size().into());
        if self.json {
            let mut object = json!({
                "type": "transaction",
                "gtid": self.gtid,
                "committed": committed,
                "first_committed": time(begin.original_commit_timestamp),
                "server_uuid": self.server_uuid,
                "server_id": seen.event.server_id(),
                "file": &*self.file,
                "source_begin": source_begin,
                "bytes": begin.transaction_length,
            });
            if let Value::Object(fields) = &mut object {
                self.place(fields, seen);
            }
            self.line(&object.to_string())?;
        } else {
            let committed = committed.as_deref().unwrap_or("unknown");
            let line = format!(
                "{}  committed {committed}  at {}:{source_begin}, {} bytes",
                self.gtid, self.file, begin.transaction_length
            );
            self.line(&line)?;
        }
        self.describe(seen)
    }

    fn event(&mut self, seen: &Seen) -> Result<(), Halt> {
        self.describe(seen)
    }

    fn end(&mut self) -> Result<(), Halt> {
        // Who watches a quiet log is to see whole transactions.
        Ok(())
    }
}

/// `  segment:offset  to source position  kind  what`.
fn text_of(described: &Described, seen: &Seen) -> String {
    let at = seen.at.map(|at| at.to_string()).unwrap_or_default();
    let kind = format!("{}{}", if described.compressed { "  " } else { "" }, described.kind);
    let mut parts = Vec::new();
    parts.extend(described.table.as_deref().map(printable));
    let rows = described.rows.map(|rows| counted(u64::try_from(rows).unwrap_or(u64::MAX), "row"));
    parts.extend(rows);
    parts.extend(described.database.as_deref().map(|database| format!("[{}]", printable(database))));
    parts.extend(described.sql.as_deref().map(printable));
    parts.extend(described.xid.as_deref().map(printable));
    parts.extend(described.problem.as_deref().map(|problem| format!("(can't be read: {problem})")));
    let line = format!("  {at:<14} {:>12}  {kind:<18} {}", seen.source_end, parts.join("  "));
    line.trim_end().to_owned()
}

fn values_of(values: &Named) -> String {
    let shown = values.iter().map(|(name, value)| {
        let value = if value.is_null() { "NULL".into() } else { value.to_string() };
        format!("{}={value}", printable(name))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// One line, and nothing that a terminal would obey.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn halt(error: &io::Error) -> Halt {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Halt::Closed,
        _ => Failure::from_error("cannot write the events", error).into(),
    }
}
