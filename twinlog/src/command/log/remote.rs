//! A relay log over the wire: what its relay tells anyone who attaches with the relay's account.

use std::sync::Arc;
use std::time::Duration;

use binlog::event::Rotate;
use binlog::{Event, EventKind, FormatDescription, GtidSet};
use rand::Rng;
use uuid::Uuid;
use wire::{Checksum, Connection, DumpFlags, ReplicaOptions};

use super::list::{Listing, Segment};
use super::place::{Configured, Place};
use super::range::Range;
use super::selection::{Halt, Origin, Seen, Selection, Sink};
use crate::failure::Failure;

/// A relay that says nothing for three of these is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to the relay.
pub(super) struct Remote {
    connection: Option<Connection>,
    address: String,
    durable: GtidSet,
    purged: GtidSet,
}

impl Remote {
    /// Attaches to the region's relay, because its folder is not on this host.
    pub(super) async fn connect(place: &Place, configured: &Configured) -> Result<Self, Failure> {
        let options = twinlog::config::attach_config(&configured.file, &configured.region)?;
        let address = options.address.clone();
        let doing = format!(
            "there is no relay log in {} on this host, and no answer from {address}",
            place.dir.display()
        );
        let failed = |e: wire::Error| Failure::from_diagnosis(&doing, &e);
        let mut connection = Connection::connect(&options).await.map_err(failed)?;
        connection.set_answer_timeout(Some(ANSWER));
        let region = ask(&mut connection, "@@twinlog_region").await.map_err(failed)?;
        if region != configured.region {
            return Err(Failure::failed(format!(
                "{address} is the relay of region {region}, not of {}",
                configured.region
            ))
            .with_remedy("correct relay.address in the configuration"));
        }
        let mut sets = Vec::new();
        for variable in ["@@global.gtid_executed", "@@global.gtid_purged"] {
            let text = ask(&mut connection, variable).await.map_err(failed)?;
            let set = text.parse::<GtidSet>();
            sets.push(set.map_err(|e| Failure::from_error(&format!("{address} tells no GTID set"), &e))?);
        }
        let (purged, durable) = (sets.pop().unwrap_or_default(), sets.pop().unwrap_or_default());
        Ok(Self { connection: Some(connection), address, durable, purged })
    }

    /// What of the range the relay does not have.
    pub(super) fn missing(&self, range: &Range) -> GtidSet {
        range.missing(&self.durable, &self.purged)
    }

    /// The source's files as far as the relay has them: it does not tell its segments.
    pub(super) async fn list(mut self) -> Result<Listing, Failure> {
        let Some(mut connection) = self.connection.take() else { return Err(self.used()) };
        let failed = |e: wire::Error| Failure::from_diagnosis(&self.cannot("list"), &e);
        let rows = connection.query_rows("SHOW BINARY LOGS").await.map_err(failed)?;
        let mut segments = Vec::new();
        for row in rows.iter() {
            segments.push(Segment {
                file: row.text("Log_name").map_err(failed)?,
                source_end: row.parse("File_size").map_err(failed)?,
                ..Segment::default()
            });
        }
        connection.close().await;
        Ok(Listing {
            bytes: segments.iter().map(|segment| segment.source_end).sum(),
            log: self.address,
            gtid_durable: self.durable.to_string(),
            gtid_purged: self.purged.to_string(),
            segments,
        })
    }

    /// Reads the range into a sink, up to the end that the relay has now.
    pub(super) async fn read(&mut self, range: &Range, sink: &mut impl Sink) -> Result<(), Halt> {
        let Some(mut connection) = self.connection.take() else { return Err(self.used().into()) };
        let failed = |e: wire::Error| Failure::from_diagnosis(&self.cannot("read"), &e);
        let replica = ReplicaOptions {
            // Ours for a moment; a downstream with the same one would only be shown twice.
            server_id: rand::rng().random_range(1 << 31..u32::MAX),
            uuid: Uuid::new_v4(),
            report_host: String::new(),
            report_port: 0,
            heartbeat_period: HEARTBEAT,
            semi_sync: false,
            user_variables: Vec::new(),
        };
        let source = connection.register_replica(&replica).await.map_err(failed)?;
        let available = self.durable.minus(&self.purged);
        let wanted = range.gtids.as_ref().map_or(available.clone(), |set| set.intersection(&available));
        // Everything that is there already is said to be here, but what is wanted.
        let has = self.durable.minus(&wanted);
        let flags = DumpFlags::NON_BLOCK | DumpFlags::HEARTBEAT_V2;
        let mut stream = connection.dump_gtid(&has.to_wire(), flags).await.map_err(failed)?;
        let named = range.named_in(&self.durable, &self.purged);
        let mut selection = Selection::new(range, sink, named);
        let mut frames = Frames::new(source.checksum == Checksum::Crc32);
        while !selection.is_done() {
            let bytes = match stream.next().await {
                Ok(incoming) => incoming.event,
                Err(wire::Error::EndOfStream) => return Ok(()),
                Err(e) => return Err(failed(e).into()),
            };
            match frames.take(bytes).map_err(|e| Failure::from_error(&self.cannot("read"), &e))? {
                Taken::Origin(origin) => selection.origin(&origin)?,
                Taken::Event(seen) => selection.take(&seen)?,
                Taken::Nothing => {}
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the relay log over the wire, from {}", self.address)
    }

    fn used(&self) -> Failure {
        Failure::failed(self.cannot("use"))
    }
}

async fn ask(connection: &mut Connection, variable: &str) -> Result<String, wire::Error> {
    connection.query_rows(format!("SELECT {variable}")).await?.single_text()
}

/// What a piece of the stream is.
enum Taken {
    Origin(Box<Origin>),
    Event(Seen),
    Nothing,
}

/// Follows the stream: which file, which format, where.
struct Frames {
    format: Option<FormatDescription>,
    checksummed: bool,
    file: Arc<str>,
    position: u64,
}

impl Frames {
    fn new(checksummed: bool) -> Self {
        Self { format: None, checksummed, file: "".into(), position: 4 }
    }

    fn take(&mut self, bytes: bytes::Bytes) -> Result<Taken, binlog::EventError> {
        let is_format = bytes.get(4).copied().map(EventKind::from_code) == Some(EventKind::FormatDescription);
        let event = match &self.format {
            Some(format) => format.read_event(bytes)?,
            // The rotate event before the first format description.
            None if self.checksummed || is_format => Event::new(bytes)?,
            None => Event::from_unchecksummed(&bytes)?,
        };
        match event.kind() {
            EventKind::Rotate if event.is_artificial() => {
                let rotate = Rotate::parse(&event)?;
                (self.file, self.position) = (rotate.file.into(), rotate.position);
                Ok(Taken::Nothing)
            }
            EventKind::FormatDescription => {
                let format = FormatDescription::parse(&event)?;
                let origin = Origin {
                    server_uuid: None,
                    file: self.file.clone(),
                    format: format.normalised(),
                    previous: Arc::default(),
                };
                self.format = Some(format);
                Ok(Taken::Origin(Box::new(origin)))
            }
            EventKind::Heartbeat | EventKind::HeartbeatV2 => Ok(Taken::Nothing),
            _ => {
                self.position = self.end_of(&event);
                Ok(Taken::Event(Seen { event, at: None, source_end: self.position }))
            }
        }
    }

    /// Positions in headers are modulo 2^32, and ascend within a file.
    fn end_of(&self, event: &Event) -> u64 {
        const WRAP: u64 = 1 << 32;
        if event.log_pos() == 0 {
            return self.position + u64::from(event.size());
        }
        let end = self.position & !(WRAP - 1) | u64::from(event.log_pos());
        if end < self.position { end + WRAP } else { end }
    }
}
