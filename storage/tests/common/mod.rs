//! A make-believe source: events with right headers, positions and checksums, in files that follow each other.
//! And the few words in which the tests tell their stories.

#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails here fails")]

use std::path::Path;

use binlog::event::{Header, MAGIC, artificial_rotate, previous_gtids};
use binlog::{Event, EventKind, FormatDescription, Gtid, GtidSet};
use bytes::{BufMut, Bytes};
use storage::{Appended, Item, LogReader, LogWriter, Options, RelayLog, SourceFile};
use uuid::Uuid;

/// A file that a server wrote.
pub(crate) const GOLDEN: &[u8] = include_bytes!("../../../binlog/golden/tagged-and-ddl.binlog");

/// The events of a file.
pub(crate) fn events_of(file: &[u8]) -> Vec<Event> {
    let mut rest = Bytes::copy_from_slice(file.strip_prefix(&MAGIC).unwrap());
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        events.push(Event::new(rest.split_to(size as usize)).unwrap());
    }
    events
}

/// A server that writes binary logs.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) uuid: Uuid,
    pub(crate) server_id: u32,
    pub(crate) file_number: u32,
    pub(crate) position: u64,
    pub(crate) next_gno: u64,
    pub(crate) executed: GtidSet,
    pub(crate) sequence: u64,
    /// Microseconds since 1970.
    pub(crate) clock: u64,
}

impl Source {
    pub(crate) fn new(n: u8) -> Self {
        Self {
            uuid: Uuid::from_bytes([n; 16]),
            server_id: n.into(),
            file_number: 0,
            position: 0,
            next_gno: 1,
            executed: GtidSet::new(),
            sequence: 1,
            clock: 1_790_000_000_000_000,
        }
    }

    pub(crate) fn file(&self) -> String {
        format!("binlog.{:06}", self.file_number)
    }

    pub(crate) fn format(&self) -> FormatDescription {
        let event = events_of(GOLDEN)[0].with_header(|header| header.server_id = self.server_id);
        FormatDescription::parse(&event).unwrap()
    }

    /// Begins the next file, and gives its previous-GTIDs event.
    pub(crate) fn next_file(&mut self) -> Event {
        self.file_number += 1;
        self.sequence = 1;
        self.position = 4 + u64::from(self.format().event().size());
        let event = previous_gtids(self.server_id, 0, 0, &self.executed);
        self.placed(&event)
    }

    /// What is to be said to the log where this file begins to be sent.
    pub(crate) fn source_file(&self) -> SourceFile {
        SourceFile { server_uuid: self.uuid, file: self.file(), position: 4, format: self.format() }
    }

    /// The event at the file's end.
    fn placed(&mut self, event: &Event) -> Event {
        self.position += u64::from(event.size());
        let log_pos = self.position as u32;
        event.with_header(|header| header.log_pos = log_pos)
    }

    fn event(&mut self, kind: EventKind, body: &[u8]) -> Event {
        let timestamp = (self.clock / 1_000_000) as u32;
        let header = Header { timestamp, kind, server_id: self.server_id, log_pos: 0, flags: 0 };
        self.placed(&Event::build(&header, body))
    }

    /// The event that ends the file.
    pub(crate) fn rotate(&mut self) -> Event {
        let mut body = 4u64.to_le_bytes().to_vec();
        body.extend(format!("binlog.{:06}", self.file_number + 1).bytes());
        self.event(EventKind::Rotate, &body)
    }

    /// The next GTID.
    pub(crate) fn gtid(&self) -> Gtid {
        Gtid::new(self.uuid, self.next_gno)
    }

    /// The next transaction: one row event of each size.
    pub(crate) fn transaction(&mut self, sizes: &[usize]) -> Vec<Event> {
        let gno = self.next_gno;
        self.next_gno += 1;
        self.clock += 1000;
        self.executed.insert(&Gtid::new(self.uuid, gno));
        let mut body = vec![1];
        body.put_slice(self.uuid.as_bytes());
        body.put_u64_le(gno);
        body.put_u8(2);
        body.put_u64_le(self.sequence - 1);
        body.put_u64_le(self.sequence);
        self.sequence += 1;
        body.put_uint_le(self.clock, 7);
        let mut events = vec![self.event(EventKind::Gtid, &body)];
        events.push(self.query("BEGIN"));
        for size in sizes {
            let fill: Vec<u8> = (0..*size).map(|i| (i as u64 ^ gno) as u8).collect();
            events.push(self.event(EventKind::WriteRows, &fill));
        }
        events.push(self.event(EventKind::Xid, &gno.to_le_bytes()));
        events
    }

    fn query(&mut self, sql: &str) -> Event {
        let mut body = vec![0; 13];
        body[8] = 1;
        body.extend(b"t\0");
        body.extend(sql.bytes());
        self.event(EventKind::Query, &body)
    }

    /// The rotate event a sender begins with.
    pub(crate) fn artificial_rotate(&self) -> Event {
        artificial_rotate(self.server_id, &self.file(), 4)
    }
}

pub(crate) fn options() -> Options {
    Options::new("shop", "eu")
}

pub(crate) fn open(dir: &Path) -> (RelayLog, LogWriter) {
    RelayLog::open(dir, options()).unwrap()
}

/// Begins the source's next file, and tells the log.
pub(crate) fn begin_file(writer: &mut LogWriter, source: &mut Source) {
    let previous = source.next_file();
    writer.source_file(&source.source_file()).unwrap();
    assert_eq!(writer.append(&source.artificial_rotate()).unwrap(), Appended::Passed);
    writer.append(&previous).unwrap();
}

/// Appends events that must all be taken.
pub(crate) fn append_all(writer: &mut LogWriter, events: &[Event]) {
    for event in events {
        assert_ne!(writer.append(event).unwrap(), Appended::Passed, "{event:?}");
    }
}

/// Appends this many small transactions.
pub(crate) fn append_some(writer: &mut LogWriter, source: &mut Source, n: usize) {
    for _ in 0..n {
        append_all(writer, &source.transaction(&[40]));
    }
}

/// All that a reader gives until it has caught up.
pub(crate) fn read_all(reader: &mut LogReader) -> Vec<Item> {
    let mut items = Vec::new();
    loop {
        let batch = reader.next_batch(100_000).unwrap();
        if batch.is_end() {
            return items;
        }
        items.extend(batch.items);
    }
}

/// The events among them.
pub(crate) fn only_events(items: Vec<Item>) -> Vec<Event> {
    let event = |item| match item {
        Item::Event(event) => Some(event.event),
        Item::Begins(_) => None,
    };
    items.into_iter().filter_map(event).collect()
}

/// What a reader gives that begins after this set.
pub(crate) fn read_after(log: &RelayLog, after: &GtidSet) -> Vec<Event> {
    only_events(read_all(&mut log.reader(after).unwrap()))
}

/// The bytes of the log's segment.
pub(crate) fn segment_path(dir: &Path, n: u64) -> std::path::PathBuf {
    dir.join(format!("segment-{n:08}.binlog"))
}

/// `uuid:1-n` of a source.
pub(crate) fn first(source: &Source, n: u64) -> GtidSet {
    let mut set = GtidSet::new();
    set.insert_run(source.uuid.into(), 1, n + 1);
    set
}
