//! For tests: a listener over a log that a make-believe source wrote. No server is needed, and positions can be such as
//! no test could wait for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use binlog::event::MAGIC;
use binlog::{Event, FormatDescription};
use bytes::Bytes;
use storage::{LogWriter, Options, RelayLog, SourceFile};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions, Secret, TlsMode, TlsOptions};

use crate::shared::{Shared, login_options};
use crate::status::Progress;
use crate::{Config, Limits, Start, listen};

/// A file that a server wrote: DDL, rows, tagged GTIDs.
const GOLDEN: &[u8] = include_bytes!("../../binlog/golden/tagged-and-ddl.binlog");

/// The password of the account `link`.
pub(crate) const PASSWORD: &str = "secret";

/// The events of the file before the last: format description, previous GTIDs, transactions.
pub(crate) fn golden() -> Vec<Event> {
    let mut events = golden_and_rotate();
    events.pop();
    events
}

/// The events of the file: behind the others stands which file comes next.
pub(crate) fn golden_and_rotate() -> Vec<Event> {
    let mut rest = Bytes::from_static(GOLDEN.strip_prefix(&MAGIC).unwrap());
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        events.push(Event::new(rest.split_to(size as usize)).unwrap());
    }
    events
}

/// The listener and what is behind it. Everything ends when it is dropped.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) writer: LogWriter,
    pub(crate) shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// A log that holds nothing and begins with the first transaction.
    pub(crate) async fn empty(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path().into(), limits);
        let (log, mut writer) = RelayLog::open(dir.path(), Options::new("shop", "eu")).unwrap();
        writer.set_start(&binlog::GtidSet::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let progress = Progress::new("eu");
        progress.state("running");
        let login = login_options(&config, "9.7.4-twinlog".into());
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::new(
            &config,
            login,
            address,
            &log,
            &progress,
            &crate::live::Live::new(&config),
            &stop,
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::run(listener, shared.clone()));
        Self { address, writer, shared, _tasks: tasks, _dir: dir }
    }

    /// The golden file's events, as if the file had so many bytes more before its first transaction.
    pub(crate) async fn golden_at(offset: u64, limits: Limits) -> Self {
        let mut stage = Self::empty(limits).await;
        stage.write_golden(offset);
        stage
    }

    pub(crate) fn write_golden(&mut self, offset: u64) {
        let mut events = golden().into_iter();
        let format = FormatDescription::parse(&events.next().unwrap()).unwrap();
        let position = if offset == 0 { 4 } else { offset + 158 };
        let file =
            SourceFile { server_uuid: Uuid::from_u128(7), file: "binlog.000001".into(), position, format };
        self.writer.source_file(&file).unwrap();
        for event in events {
            if offset > 0 && event.kind() == binlog::EventKind::PreviousGtids {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "the header's field is modulo 2^32")]
            let moved =
                event.with_header(|header| header.log_pos = (u64::from(header.log_pos) + offset) as u32);
            self.writer.append(&moved).unwrap();
        }
        self.flush();
    }

    /// What the writer's thread does after a flush.
    pub(crate) fn flush(&mut self) {
        let end = self.writer.sync().unwrap();
        self.shared.tail.add(self.writer.take_fresh());
        self.shared.tail.grow(end.position);
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions {
            address: self.address.to_string(),
            user: "link".into(),
            password: Secret::new(PASSWORD),
            tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
            connect_timeout: Duration::from_secs(20),
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&self.options()).await.unwrap()
    }

    /// A dump of everything that is not in `has`, with a heartbeat every 100 ms.
    pub(crate) async fn dump(&self, has: &str, flags: DumpFlags) -> EventStream {
        let mut connection = self.connect().await;
        let options = ReplicaOptions {
            server_id: 9,
            uuid: Uuid::new_v4(),
            report_host: String::new(),
            report_port: 0,
            heartbeat_period: Duration::from_millis(100),
            semi_sync: false,
            user_variables: Vec::new(),
        };
        connection.register_replica(&options).await.unwrap();
        let has: binlog::GtidSet = has.parse().unwrap();
        connection.dump_gtid(&has.to_wire(), flags).await.unwrap()
    }
}

pub(crate) fn config(dir: std::path::PathBuf, limits: Limits) -> Config {
    Config {
        sync: "shop".into(),
        region: "eu".into(),
        sources: Vec::new(),
        server_id: 42,
        start: Start::Oldest,
        semi_sync: false,
        dir,
        retain: Duration::from_secs(1000),
        max_size: u64::MAX,
        listen: "127.0.0.1:0".into(),
        tls: None,
        plain_beyond_loopback: false,
        user: "link".into(),
        password: Secret::new(PASSWORD),
        links: vec!["shop/eu/us".into()],
        limits,
    }
}
