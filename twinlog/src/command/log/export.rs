//! `twinlog log export`: whole transactions as a binary log file that `mysqlbinlog` reads.
//!
//! ```text
//! magic  format description  previous GTIDs  { GTID … }*
//! ```
//! Events are as the source wrote them but for their positions, which are made those of the new file. Where the
//! source's format changes (a server was upgraded), the new description stands between two transactions. The previous
//! GTIDs are all that the log had before the first transaction in the file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use binlog::event::{GtidEvent, MAGIC, previous_gtids};
use binlog::{Event, Gtid, GtidSet};
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio::task::JoinSet;

use super::place::Place;
use super::progress::Progress;
use super::range::Range;
use super::selection::{Halt, Origin, Seen, Sink, read_view};
use super::{answer, counted};
use crate::cli::ExportArgs;
use crate::command::status::bytes;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// What of a format description differs when a server only was started again: the time that it started.
const CREATED: std::ops::Range<usize> = 52..56;

/// What was written.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    transactions: u64,
    bytes: u64,
    gtids: String,
}

/// Writes the file, whole or not at all.
pub(super) async fn run(args: ExportArgs) -> Result<ExitCode, Failure> {
    let place = Place::of(&args.place)?;
    let range = Range::of(&args.range)?;
    if args.output.exists() {
        return Err(exists(&args.output));
    }
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let report = tokio::task::block_in_place(|| {
        export(&place, &range, &args.output, || !shutdown.token.is_cancelled())
    })?;
    let text = format!(
        "{}, {}: {}\n{}\n",
        counted(report.transactions, "transaction"),
        bytes(report.bytes),
        report.file.display(),
        report.gtids
    );
    answer(args.json, &text, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn export(place: &Place, range: &Range, output: &Path, go_on: impl Fn() -> bool) -> Result<Report, Failure> {
    let view = place.view()?;
    let missing = range.missing(view.gtids_durable(), view.gtids_purged());
    if !missing.is_empty() {
        return Err(Failure::failed(format!("not in the relay log: {missing}"))
            .with_remedy("ask for what `twinlog log list` shows; the rest is purged or not received yet"));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = NamedTempFile::with_prefix_in(".twinlog-export-", folder);
    let file = file.map_err(|e| Failure::from_error(&format!("cannot write in {}", folder.display()), &e))?;
    let mut exporter = Exporter::new(file);
    let total = view.segments().iter().filter(|s| range.may_be_in(s)).map(|s| s.bytes).sum();
    let mut progress = Progress::new("exporting", total);
    match read_view(place, &view, range, &mut exporter, &mut progress, go_on) {
        Err(Halt::Failed(failure)) => return Err(failure),
        // Closed is a pipe that nobody reads; this is a file.
        Ok(()) | Err(Halt::Closed) => {}
    }
    drop(progress);
    if exporter.transactions == 0 {
        return Err(Failure::failed("no transaction of the relay log is in this range")
            .with_remedy("see its times and GTIDs with `twinlog log list`"));
    }
    exporter.finish(output)
}

fn exists(output: &Path) -> Failure {
    Failure::failed(format!("the file is there already: {}", output.display()))
        .with_remedy("remove it, or name another")
}

/// Writes the transactions that it is given.
struct Exporter {
    out: BufWriter<NamedTempFile>,
    position: u64,
    /// What the log had before.
    before: GtidSet,
    /// The format of the events to come, and that which the file said last.
    format: Option<Event>,
    written: Option<Event>,
    transactions: u64,
    gtids: GtidSet,
}

impl Exporter {
    fn new(file: NamedTempFile) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 20, file),
            position: 0,
            before: GtidSet::new(),
            format: None,
            written: None,
            transactions: 0,
            gtids: GtidSet::new(),
        }
    }

    /// Magic and head, or a format description that differs from the last.
    fn head(&mut self) -> Result<(), Halt> {
        let Some(format) = self.format.clone() else { return Ok(()) };
        match &self.written {
            Some(written) if is_same_format(written, &format) => return Ok(()),
            Some(_) => self.put(&format)?,
            None => {
                self.out.write_all(&MAGIC).map_err(|e| write_failed(&e))?;
                self.position = MAGIC.len() as u64;
                self.put(&format)?;
                let previous = previous_gtids(format.server_id(), format.timestamp(), 0, &self.before);
                self.put(&previous)?;
            }
        }
        self.written = Some(format);
        Ok(())
    }

    fn put(&mut self, event: &Event) -> Result<(), Halt> {
        self.position += u64::from(event.size());
        #[expect(clippy::cast_possible_truncation, reason = "the header's field is modulo 2^32")]
        let log_pos = self.position as u32;
        let event = event.with_header(|header| header.log_pos = log_pos);
        self.out.write_all(event.bytes()).map_err(|e| write_failed(&e))
    }

    /// Makes it durable, and gives it its name.
    fn finish(self, output: &Path) -> Result<Report, Failure> {
        let failed = |e: &io::Error| Failure::from_error(&format!("cannot write {}", output.display()), e);
        let file = self.out.into_inner().map_err(|e| failed(e.error()))?;
        file.as_file().sync_all().map_err(|e| failed(&e))?;
        file.persist_noclobber(output).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => exists(output),
            _ => failed(&e.error),
        })?;
        Ok(Report {
            file: output.to_path_buf(),
            transactions: self.transactions,
            bytes: self.position,
            gtids: self.gtids.to_string(),
        })
    }
}

impl Sink for Exporter {
    fn origin(&mut self, origin: &Origin) -> Result<(), Halt> {
        self.format = Some(origin.format.clone());
        if self.written.is_none() {
            self.before = (*origin.previous).clone();
        }
        Ok(())
    }

    fn passed(&mut self, gtid: &Gtid) {
        if self.written.is_none() {
            self.before.insert(gtid);
        }
    }

    fn begin(&mut self, begin: &GtidEvent, seen: &Seen) -> Result<(), Halt> {
        self.head()?;
        self.transactions += 1;
        if let Some(gtid) = &begin.gtid {
            self.gtids.insert(gtid);
        }
        self.put(&seen.event)
    }

    fn event(&mut self, seen: &Seen) -> Result<(), Halt> {
        self.put(&seen.event)
    }

    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
}

fn is_same_format(one: &Event, other: &Event) -> bool {
    let (one, other) = (one.body(), other.body());
    one.len() == other.len()
        && one.get(..CREATED.start) == other.get(..CREATED.start)
        && one.get(CREATED.end..) == other.get(CREATED.end..)
}

fn write_failed(error: &io::Error) -> Halt {
    Failure::from_error("cannot write the file", error)
        .with_remedy("make room there, or name another folder")
        .into()
}
