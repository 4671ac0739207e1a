//! Whole source transactions, put together from the stream's events.

use std::path::PathBuf;

use binlog::event::{FLAG_IGNORABLE, Query, Rotate, XaPrepare};
use binlog::{Event, EventKind, FormatDescription, Gtid, Part, TransactionTracker, payload};

use crate::order::Order;
use crate::position::SourcePosition;
use crate::rows::{Rows, RowsBuilder};
use crate::{Error, ddl};

/// Most bytes of one event of a compressed transaction. The server's own limit is `max_allowed_packet`, 1 GiB.
const LARGEST_EVENT: usize = (1 << 30) + (1 << 20);

/// Bytes of memory that a transaction in a file is taken to need.
const HELD_OF_A_FILE: usize = 16 << 20;

/// A whole transaction of the source.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) gtid: Gtid,
    /// When the source committed it, microseconds since 1970.
    pub(crate) committed_at: u64,
    /// Which others of its file it waits for, where the source tells.
    pub(crate) order: Option<Order>,
    /// Bytes of the stream, and what a compressed transaction was unpacked to.
    pub(crate) bytes: usize,
    /// Bytes in memory: fewer where its rows are in a file.
    pub(crate) held: usize,
    /// Where it begins, and where it ends.
    pub(crate) begin: SourcePosition,
    pub(crate) end: SourcePosition,
    /// The session's `time_zone`, where the first of its statements used it.
    pub(crate) zone: Option<String>,
    pub(crate) body: Body,
}

/// What a transaction does.
#[derive(Debug)]
pub(crate) enum Body {
    /// Rows: table maps and row events, nothing else.
    Rows(Rows),
    /// A statement that commits by itself.
    Statement(Event),
    /// `CREATE TABLE … SELECT`: the table, then its rows, in one transaction.
    CreateSelect { create: Event, rows: Rows },
    /// The first half of an XA transaction: rows that wait for `XA COMMIT`.
    Prepared { xid: String, rows: Rows },
    /// Changes that the source made and could not log.
    Incident,
}

/// What the stream gives.
#[derive(Debug)]
pub(crate) enum Item {
    Transaction(Box<Transaction>),
    /// How the events behind it are laid out.
    Format(FormatDescription),
}

/// Puts events together. After a reconnect a new one is needed: a stream begins with a rotate event.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    tracker: TransactionTracker,
    position: SourcePosition,
    last: Option<Gtid>,
    open: Option<Open>,
    /// Where the rows of large transactions go.
    spill: Option<PathBuf>,
}

/// A transaction that has begun.
#[derive(Debug)]
struct Open {
    gtid: Gtid,
    committed_at: u64,
    order: Option<Order>,
    begin: SourcePosition,
    bytes: usize,
    zone: Option<String>,
    rows: RowsBuilder,
    statement: Option<Event>,
    create: Option<Event>,
    xid: Option<String>,
    is_incident: bool,
}

impl Assembler {
    /// One that puts the rows of large transactions into files in this folder.
    pub(crate) fn spilling_to(dir: PathBuf) -> Self {
        Self { spill: Some(dir), ..Self::default() }
    }

    /// Takes the next event.
    pub(crate) fn push(&mut self, event: &Event) -> Result<Option<Item>, Error> {
        let part = self.tracker.observe(event).map_err(|source| Error::Sequence {
            after: self.last.as_ref().map_or("none".into(), Gtid::to_string),
            source,
        })?;
        let before = matches!(part, Part::Begins(_)).then(|| self.position.clone());
        // Only what stands in a transaction moves it: a format description that is sent again behind a rotate
        // event lies before the place that one told, which would look like a file grown beyond 4 GiB.
        if part != Part::Between && !event.is_artificial() {
            self.position.advance(event.log_pos());
        }
        match part {
            Part::Between => self.between(event),
            Part::Begins(begin) => {
                let Some(gtid) = begin.gtid else { return Err(anonymous(&self.position)) };
                let bytes = event.bytes().len();
                self.open = Some(Open {
                    gtid,
                    committed_at: begin.immediate_commit_timestamp,
                    order: Order::new(begin.last_committed, begin.sequence_number),
                    begin: before.unwrap_or_default(),
                    bytes,
                    zone: None,
                    rows: RowsBuilder::new(self.spill.as_deref()),
                    statement: None,
                    create: None,
                    xid: None,
                    is_incident: false,
                });
                Ok(None)
            }
            Part::Inside => {
                self.inside(event)?;
                Ok(None)
            }
            Part::Ends => {
                self.inside(event)?;
                Ok(self.finish()?.map(|t| Item::Transaction(Box::new(t))))
            }
        }
    }

    fn between(&mut self, event: &Event) -> Result<Option<Item>, Error> {
        let malformed = |source| Error::Event { gtid: "between transactions".into(), source };
        match event.kind() {
            EventKind::Rotate => {
                let rotate = Rotate::parse(event).map_err(malformed)?;
                self.position.rotate(&rotate.file, rotate.position);
            }
            EventKind::FormatDescription => {
                return Ok(Some(Item::Format(FormatDescription::parse(event).map_err(malformed)?)));
            }
            EventKind::Incident => {
                return Err(Error::NotApplicable {
                    gtid: format!("at {}", self.position),
                    what: "the source reports an incident: its binary log lacks changes".into(),
                    remedy: "compare the regions with twinlog verify, repair, and begin anew with twinlog link reset"
                        .into(),
                });
            }
            _ => {}
        }
        Ok(None)
    }

    fn inside(&mut self, event: &Event) -> Result<(), Error> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        open.bytes += event.bytes().len();
        if event.kind() != EventKind::TransactionPayload {
            return open.take(event);
        }
        let gtid = open.gtid.clone();
        let failed = |source| Error::Payload { gtid: gtid.clone(), source };
        for event in payload::open(event, LARGEST_EVENT).map_err(failed)? {
            let event = event.map_err(failed)?;
            open.bytes += event.bytes().len();
            open.take(&event)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Transaction>, Error> {
        let Some(open) = self.open.take() else { return Ok(None) };
        self.last = Some(open.gtid.clone());
        let rows = open.rows.finish()?;
        // What is in a file takes the memory of a batch where it is used.
        let held = if matches!(rows, Rows::File(_)) { open.bytes.min(HELD_OF_A_FILE) } else { open.bytes };
        let body = match (open.statement, open.create, open.xid) {
            _ if open.is_incident => Body::Incident,
            (Some(statement), _, _) => Body::Statement(statement),
            (None, Some(create), _) => Body::CreateSelect { create, rows },
            (None, None, Some(xid)) => Body::Prepared { xid, rows },
            (None, None, None) => Body::Rows(rows),
        };
        Ok(Some(Transaction {
            gtid: open.gtid,
            committed_at: open.committed_at,
            order: open.order,
            bytes: open.bytes,
            held,
            begin: open.begin,
            end: self.position.clone(),
            zone: open.zone,
            body,
        }))
    }
}

impl Open {
    fn take(&mut self, event: &Event) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: self.gtid.to_string(), source };
        match event.kind() {
            EventKind::TableMap if self.statement.is_some() => {
                return Err(self.refuse(
                    "rows follow a statement that is logged as text".into(),
                    "set binlog_format = ROW for the session that wrote it",
                ));
            }
            EventKind::TableMap => self.rows.push(event.clone())?,
            kind if kind.is_rows() => self.rows.push(event.clone())?,
            EventKind::Xid | EventKind::RowsQuery | EventKind::Intvar | EventKind::Rand => {}
            EventKind::UserVar | EventKind::TransactionContext | EventKind::Ignorable => {}
            // Who is in a group of servers now: nothing of it is data.
            EventKind::ViewChange => {}
            EventKind::Incident => self.is_incident = true,
            EventKind::XaPrepare => {
                let prepare = XaPrepare::parse(event).map_err(malformed)?;
                self.xid = (!prepare.one_phase).then_some(prepare.xid);
            }
            EventKind::Query => {
                let query = Query::parse(event).map_err(malformed)?;
                return self.take_query(event, &query);
            }
            _ if event.flags() & FLAG_IGNORABLE != 0 => {}
            EventKind::BeginLoadQuery | EventKind::ExecuteLoadQuery => {
                return Err(self.refuse(
                    "LOAD DATA is logged as a statement".into(),
                    "set binlog_format = ROW for the session that ran it; do in the target what it did, then skip it with twinlog link skip --gtid",
                ));
            }
            kind => {
                return Err(self.refuse(
                    format!("it holds an event that is not understood: {kind:?}"),
                    "upgrade twinlog, or skip the transaction with twinlog link skip --gtid",
                ));
            }
        }
        Ok(())
    }

    fn take_query(&mut self, event: &Event, query: &Query<'_>) -> Result<(), Error> {
        if query.is("ROLLBACK") && !self.rows.is_empty() {
            return Err(self.refuse(
                "it was rolled back, and is logged because a table without transactions was changed".into(),
                "keep tables without transactions (MyISAM) out of transactions on synced tables",
            ));
        }
        if query.is("BEGIN") || query.starts_with("XA START") {
            self.zone = query.settings().time_zone;
        }
        let passed = ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|word| query.is(word));
        let ignored = ["SAVEPOINT", "RELEASE SAVEPOINT", "XA START", "XA END"];
        if passed || ignored.iter().any(|word| query.starts_with(word)) {
            return Ok(());
        }
        if query.starts_with("ROLLBACK TO") {
            return Err(self.refuse(
                "part of it was rolled back after a table without transactions was changed".into(),
                "keep tables without transactions (MyISAM) out of transactions on synced tables",
            ));
        }
        // A statement in a transaction that BEGIN opened is text only where rows could not be logged;
        // the table of CREATE TABLE … SELECT is the one exception. Alone, it commits by itself.
        if ddl::opens_transaction(query) {
            self.create = Some(event.clone());
        } else if self.statement.replace(event.clone()).is_some() || !self.rows.is_empty() {
            return Err(self.refuse(
                format!("a statement is logged among its rows: {}", String::from_utf8_lossy(query.sql)),
                "set binlog_format = ROW for the session that wrote it",
            ));
        }
        Ok(())
    }

    fn refuse(&self, what: String, remedy: &str) -> Error {
        Error::NotApplicable { gtid: self.gtid.to_string(), what, remedy: remedy.into() }
    }
}

fn anonymous(position: &SourcePosition) -> Error {
    Error::NotApplicable {
        gtid: format!("at {position}"),
        what: "it has no GTID".into(),
        remedy: "set gtid_mode = ON at the source, and begin anew behind the anonymous transactions with twinlog link reset".into(),
    }
}

#[cfg(test)]
mod tests {
    use binlog::event::{Header, artificial_rotate};
    use binlog::{Event, EventKind};

    use super::{Assembler, Body, Item};
    use crate::Error;

    fn event(kind: EventKind, body: &[u8]) -> Event {
        Event::build(&Header { timestamp: 0, kind, server_id: 1, log_pos: 100, flags: 0 }, body)
    }

    fn query(sql: &str) -> Event {
        event(EventKind::Query, &[&[0; 14], sql.as_bytes()].concat())
    }

    #[test]
    fn a_compressed_transaction_counts_with_what_it_was_unpacked_to() {
        let inner: Vec<u8> = [query("BEGIN"), event(EventKind::RowsQuery, &[b'x'; 50_000]), query("COMMIT")]
            .iter()
            .flat_map(|event| {
                // Inside a payload events have no checksum.
                let mut bytes = event.bytes()[..event.bytes().len() - 4].to_vec();
                let size = u32::try_from(bytes.len()).unwrap();
                bytes[9..13].copy_from_slice(&size.to_le_bytes());
                bytes
            })
            .collect();
        // Not compressed at all is one of the algorithms.
        let payload = event(EventKind::TransactionPayload, &[&[2, 3, 0xfc, 255, 0, 0], &inner[..]].concat());
        let Some(Item::Transaction(t)) = run(std::slice::from_ref(&payload)).unwrap() else {
            panic!("no transaction")
        };
        assert!(t.bytes > payload.bytes().len() + 50_000, "{}", t.bytes);
    }

    #[test]
    fn a_format_description_behind_a_rotate_event_does_not_move_the_position() {
        let mut assembler = Assembler::default();
        let format = event(EventKind::FormatDescription, &[0; 8]);
        let mut push = |event: &Event| assembler.push(event);
        push(&artificial_rotate(1, "binlog.000006", 157)).unwrap();
        // Its body is not one: only the place in its header counts here.
        assert!(push(&format).is_err());
        let events = [gtid(), query("BEGIN"), event(EventKind::Xid, &[0; 8])];
        let ended = events.iter().map(|e| push(&e.with_header(|h| h.log_pos = 400)).unwrap()).last().unwrap();
        let Some(Item::Transaction(t)) = ended else { panic!("no transaction") };
        assert_eq!(
            (t.begin.to_string(), t.end.to_string()),
            ("binlog.000006:157".into(), "binlog.000006:400".into())
        );
    }

    fn gtid() -> Event {
        event(EventKind::Gtid, &[&[0][..], &[7; 16], &[1, 0, 0, 0, 0, 0, 0, 0]].concat())
    }

    fn run(events: &[Event]) -> Result<Option<Item>, Error> {
        let mut assembler = Assembler::default();
        assembler.push(&gtid())?;
        let mut last = None;
        for event in events {
            last = assembler.push(event)?;
        }
        Ok(last)
    }

    #[test]
    fn rows_that_were_rolled_back_are_not_taken_for_committed() {
        let map = event(EventKind::TableMap, &[0; 8]);
        let whole = run(&[query("BEGIN"), map.clone(), event(EventKind::Xid, &[0; 8])]).unwrap();
        assert!(matches!(whole, Some(Item::Transaction(t)) if matches!(t.body, Body::Rows(_))));
        let refused = run(&[query("BEGIN"), map, query("ROLLBACK")]);
        assert!(matches!(refused, Err(Error::NotApplicable { .. })), "{refused:?}");
        assert!(run(&[query("BEGIN"), query("ROLLBACK")]).is_ok(), "nothing was rolled back");
    }
}
