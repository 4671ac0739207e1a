//! The source's end of a link: attach to the relay (or to a MySQL server), and read.
//!
//! A relay is told from a server by `@@twinlog_region`, a variable that no server has. What a link wants of it
//! beyond the protocol of replicas it asks as such variables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use binlog::{Event, EventKind, FormatDescription, GtidSet};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{AckSender, Checksum, ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions};

use crate::origin::LinkKey;
use crate::plan::Delivery;
use crate::position::SourcePosition;
use crate::progress::Progress;
use crate::transaction::{Assembler, Item};
use crate::{Config, Error};

/// How often an idle source shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Acknowledgements are sent no more often than this: they only move a purge floor.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(200);
/// Memory for transactions read and not yet committed, KiB. One row that is larger takes all of it.
const IN_FLIGHT_KIB: u32 = 64 << 10;
/// And how many of them, whatever their size.
pub(crate) const IN_FLIGHT: usize = 4096;
/// Unknown system variable.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// Whom to attach to, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    pub(crate) server: ConnectOptions,
    /// The region whose log is wanted, and its sync.
    pub(crate) region: String,
    pub(crate) sync: String,
    /// What a relay knows this downstream by.
    pub(crate) name: String,
    /// What people see in `SHOW REPLICAS`.
    pub(crate) label: String,
    pub(crate) server_id: u32,
    /// Whose echo a relay need not send in full: see the relay's `echo.rs`.
    pub(crate) without_echo: Option<String>,
    /// Pack what goes over the connection.
    pub(crate) compress: bool,
    /// Where the rows of large transactions go.
    pub(crate) spill: PathBuf,
}

impl Attach {
    /// To what a link reads.
    pub(crate) fn to_source(config: &Config, link: &LinkKey) -> Self {
        Self {
            server: config.source.clone(),
            region: config.from.clone(),
            sync: config.sync.clone(),
            name: link.text(),
            label: config.link.clone(),
            server_id: config.server_id,
            without_echo: Some(format!("{}/{}/{}", config.sync, config.meta_schema, config.to)),
            compress: config.compress,
            spill: config.spill_dir.clone(),
        }
    }

    /// To the relay of what a link writes into, for its conflict window.
    pub(crate) fn to_target(config: &Config, link: &LinkKey, relay: &ConnectOptions) -> Self {
        Self {
            server: relay.clone(),
            region: config.to.clone(),
            sync: config.sync.clone(),
            name: window_name(&link.text()),
            label: format!("{} window", config.link),
            server_id: config.server_id.wrapping_add(1),
            without_echo: None,
            compress: false,
            spill: config.spill_dir.clone(),
        }
    }
}

/// What a relay knows the conflict window of a link by, given the link's key.
pub fn window_name(link: &str) -> String {
    format!("{link}#window")
}

/// A connection to the source, before the dump.
pub(crate) struct Source {
    connection: Connection,
    attach: Attach,
    is_relay: bool,
    /// GTID uuids of the region's servers, as far as the source knows them.
    pub(crate) uuids: Vec<Uuid>,
    /// Does the relay remember an acknowledgement of this link?
    pub(crate) remembers_link: bool,
}

impl Source {
    /// Connects and finds out what answers.
    pub(crate) async fn connect(attach: Attach) -> Result<Self, Error> {
        let connection = if attach.compress {
            Connection::connect_compressed(&attach.server).await
        } else {
            Connection::connect(&attach.server).await
        };
        let connection = connection.map_err(Error::source("connecting"))?;
        let mut source =
            Self { connection, attach, is_relay: true, uuids: Vec::new(), remembers_link: false };
        let name = format!("SET @twinlog_link = {}", crate::sql::text(&source.attach.name));
        source.connection.execute(name).await.map_err(Error::source("presenting itself"))?;
        match source.variable("twinlog_region").await {
            Ok(region) => source.check_relay(region).await?,
            Err(wire::Error::Server(error)) if error.code == ER_UNKNOWN_SYSTEM_VARIABLE => {
                source.is_relay = false;
                let uuid =
                    source.variable("global.server_uuid").await.map_err(Error::source("asking its uuid"))?;
                source.uuids = parse_uuids(&uuid);
            }
            Err(error) => return Err(Error::source("asking its region")(error)),
        }
        Ok(source)
    }

    async fn check_relay(&mut self, region: String) -> Result<(), Error> {
        let failed = Error::source("asking the relay");
        let sync = self.variable("twinlog_sync").await.map_err(&failed)?;
        if region != self.attach.region || sync != self.attach.sync {
            return Err(Error::WrongRelay {
                address: self.attach.server.address.clone(),
                serves: region,
                sync,
                wanted: format!("region {} of sync {}", self.attach.region, self.attach.sync),
            });
        }
        self.uuids = parse_uuids(&self.variable("twinlog_source_uuids").await.map_err(&failed)?);
        if self.uuids.is_empty() {
            return Err(Error::RelayNotReady);
        }
        let acknowledged = self.variable("twinlog_link_acknowledged").await.map_err(&failed)?;
        self.remembers_link = acknowledged == "1";
        Ok(())
    }

    async fn variable(&mut self, name: &str) -> Result<String, wire::Error> {
        self.connection.query_rows(format!("SELECT @@{name}")).await?.single_text()
    }

    /// Everything the source server has committed now: behind it a link without initial copy begins. The
    /// relay asks its own source; what it does not hold is not missed, so its purged set is added.
    pub(crate) async fn executed(&mut self) -> Result<GtidSet, Error> {
        let failed = Error::source("asking what it has executed");
        let name = if self.is_relay { "twinlog_source_gtid_executed" } else { "global.gtid_executed" };
        let executed = self.variable(name).await.map_err(&failed)?;
        let purged = self.variable("global.gtid_purged").await.map_err(&failed)?;
        let parse = |text: &str| text.parse::<GtidSet>().map_err(|_| Error::RelayNotReady);
        let mut set = parse(&executed)?;
        set.union_with(&parse(&purged)?);
        Ok(set)
    }

    /// What can be read here now: with that applied a link has caught up.
    pub(crate) async fn available(&mut self) -> Result<GtidSet, Error> {
        let failed = Error::source("asking what it has");
        let text = self.variable("global.gtid_executed").await.map_err(&failed)?;
        text.parse().map_err(|_| failed(wire::Error::Invalid { what: format!("{text:?} is no GTID set") }))
    }

    /// Lets a relay forget this downstream and what it has acknowledged. A server remembers nobody.
    pub(crate) async fn forget(mut self) -> Result<(), Error> {
        if !self.is_relay {
            return Ok(());
        }
        let forget = format!("RESET REPLICA FOR CHANNEL {}", crate::sql::text(&self.attach.name));
        self.connection.execute(forget).await.map_err(Error::source("letting the relay forget the link"))?;
        self.connection.close().await;
        Ok(())
    }

    /// Asks for everything behind `applied`.
    pub(crate) async fn dump(mut self, applied: &GtidSet) -> Result<Stream, Error> {
        let Attach { server_id, name, label, without_echo, compress, spill, .. } = self.attach;
        let mut user_variables = vec![("twinlog_link".to_owned(), name.clone())];
        user_variables.extend(without_echo.map(|whose| ("twinlog_without_echo".to_owned(), whose)));
        if compress {
            // Of a relay: a server does not know it, and packs as ever.
            user_variables.push(("twinlog_pack_on".to_owned(), "1".to_owned()));
        }
        let options = ReplicaOptions {
            server_id,
            // The same wherever the applier runs: a source ends an older dump of the same uuid.
            uuid: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
            report_host: label,
            report_port: 0,
            heartbeat_period: HEARTBEAT,
            semi_sync: self.is_relay,
            user_variables,
        };
        let info = self.connection.register_replica(&options).await.map_err(Error::source("registering"))?;
        if info.gtid_mode != "ON" {
            return Err(Error::Setting {
                server: "source",
                name: "gtid_mode",
                value: info.gtid_mode,
                wanted: "ON",
            });
        }
        let dump = self.connection.dump_gtid(&applied.to_wire(), DumpFlags::NONE).await;
        let (events, acknowledge) = dump.map_err(Error::source("asking for events"))?.split();
        let checksummed = info.checksum == Checksum::Crc32;
        Ok(Stream {
            events,
            acknowledge,
            format: None,
            checksummed,
            applied: applied.clone(),
            progress: None,
            spill,
        })
    }
}

fn parse_uuids(list: &str) -> Vec<Uuid> {
    list.split(',').filter_map(|uuid| Uuid::try_parse(uuid.trim()).ok()).collect()
}

/// Events on their way.
pub(crate) struct Stream {
    events: EventStream,
    acknowledge: AckSender,
    format: Option<FormatDescription>,
    /// Before the first format description: do events carry checksums?
    checksummed: bool,
    applied: GtidSet,
    /// Who wants to know when there is nothing more to read.
    progress: Option<Progress>,
    /// Where the rows of large transactions go.
    spill: PathBuf,
}

impl Stream {
    /// The same, telling when the source has nothing more to send.
    pub(crate) fn telling(self, progress: Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Reads until `stop` (`Ok`) or an error, handing over whole transactions. `acknowledged` tells what the
    /// checkpoint covers: only that is acknowledged, by **promise 7**.
    pub(crate) async fn run(
        self,
        to: mpsc::Sender<Delivery>,
        acknowledged: watch::Receiver<SourcePosition>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let Self { events, acknowledge, format, checksummed, applied, progress, spill } = self;
        let reader = Reader {
            events,
            format,
            checksummed,
            applied,
            progress,
            assembler: Assembler::spilling_to(spill),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            result = reader.run(to) => result,
            result = send_acknowledgements(acknowledge, acknowledged) => result,
        }
    }
}

struct Reader {
    events: EventStream,
    format: Option<FormatDescription>,
    checksummed: bool,
    applied: GtidSet,
    progress: Option<Progress>,
    assembler: Assembler,
}

impl Reader {
    async fn run(mut self, to: mpsc::Sender<Delivery>) -> Result<(), Error> {
        let budget = Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize));
        loop {
            let incoming = match self.events.next().await {
                Ok(incoming) => incoming,
                Err(error) => return Err(self.ended(error)),
            };
            let event = self.read(incoming.event)?;
            let is_heartbeat = matches!(event.kind(), EventKind::Heartbeat | EventKind::HeartbeatV2);
            if let Some(progress) = self.progress.as_ref().filter(|_| is_heartbeat) {
                // What was handed over and not taken yet is still to be done.
                if to.capacity() == to.max_capacity() {
                    progress.idle();
                }
            }
            let Some(item) = self.assembler.push(&event)? else { continue };
            let permit = match &item {
                Item::Format(format) => {
                    self.format = Some(format.clone());
                    None
                }
                Item::Transaction(t) => {
                    let kib = u32::try_from(t.held / 1024 + 1).unwrap_or(u32::MAX).min(IN_FLIGHT_KIB);
                    // The semaphore is never closed.
                    budget.clone().acquire_many_owned(kib).await.ok()
                }
            };
            if to.send((item, permit)).await.is_err() {
                // The planner has ended; it tells why.
                return Ok(());
            }
        }
    }

    /// Frames an event and verifies its checksum.
    fn read(&self, bytes: bytes::Bytes) -> Result<Event, Error> {
        let event = match &self.format {
            Some(format) => format.read_event(bytes),
            // The rotate event before the first format description.
            None if self.checksummed => Event::new(bytes),
            None if bytes.get(4) == Some(&15) => Event::new(bytes),
            None => Event::from_unchecksummed(&bytes),
        };
        event.map_err(|source| Error::Event { gtid: "in the stream".into(), source })
    }

    fn ended(&self, error: wire::Error) -> Error {
        // 1236: the source no longer has what is asked for, or can't go on reading its log.
        let gone = matches!(&error, wire::Error::Server(e) if e.code == 1236 && e.message.contains("purged"));
        if gone {
            return Error::Purged { missing: missing_in(&error, &self.applied), source: error };
        }
        Error::source("reading the stream")(error)
    }
}

/// The missing set, where the message names it between quotes.
fn missing_in(error: &wire::Error, applied: &GtidSet) -> GtidSet {
    let text = error.to_string();
    let sets = text.split('\'').filter_map(|part| part.parse::<GtidSet>().ok());
    sets.map(|set| set.minus(applied)).find(|set| !set.is_empty()).unwrap_or_default()
}

async fn send_acknowledgements(
    mut sender: AckSender,
    mut acknowledged: watch::Receiver<SourcePosition>,
) -> Result<(), Error> {
    loop {
        let at = acknowledged.borrow_and_update().clone();
        if !at.file.is_empty() {
            let sent = sender.acknowledge(at.file.as_bytes(), at.position).await;
            sent.map_err(Error::source("acknowledging"))?;
        }
        tokio::time::sleep(ACKNOWLEDGE_EVERY).await;
        if acknowledged.changed().await.is_err() {
            // The applier has ended; it tells why.
            std::future::pending::<()>().await;
        }
    }
}
