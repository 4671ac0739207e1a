//! Groups against a real server: `BINLOG` among other statements, and what stays after an error.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::{Event, EventKind, GtidSet};
use bytes::Bytes;
use harness::{Region, RegionOptions, Slot, take_slot};
use uuid::Uuid;
use wire::{
    ConnectOptions, Connection, DumpFlags, Error, EventStream, GroupError, ReplicaOptions, Secret, TlsOptions,
};

const TABLES: [&str; 3] = [
    "CREATE DATABASE d",
    "CREATE TABLE d.checkpoint (id INT PRIMARY KEY, seq INT NOT NULL)",
    "CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(20))",
];

pub(crate) async fn root(region: &Region) -> Connection {
    let options = ConnectOptions {
        address: region.address().to_owned(),
        user: "root".into(),
        password: Secret::default(),
        tls: TlsOptions::default(),
        connect_timeout: Duration::from_secs(10),
    };
    Connection::connect(&options).await.unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn replica() -> ReplicaOptions {
    ReplicaOptions {
        server_id: 77,
        uuid: Uuid::new_v4(),
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(1),
        semi_sync: false,
        user_variables: Vec::new(),
    }
}

/// A dump of what comes after this set.
pub(crate) async fn dump(region: &Region, after: &GtidSet, flags: DumpFlags) -> EventStream {
    let mut connection = root(region).await;
    connection.register_replica(&replica()).await.unwrap_or_else(|e| panic!("{e}"));
    connection.dump_gtid(&after.to_wire(), flags).await.unwrap_or_else(|e| panic!("{e}"))
}

/// All events to the end of the log, their checksums verified.
async fn events_after(region: &Region, after: &GtidSet) -> Vec<Event> {
    let mut stream = dump(region, after, DumpFlags::NON_BLOCK).await;
    let mut events = Vec::new();
    loop {
        match stream.next().await {
            Ok(incoming) => events.push(Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"))),
            Err(Error::EndOfStream) => return events,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Two servers with the same tables, and for each statement run in the first its row events as a `BINLOG` takes them.
struct Stage {
    target: Region,
    format: Bytes,
    changes: Vec<Vec<u8>>,
    _slot: Slot,
}

impl Stage {
    async fn with(statements: &[&str]) -> Self {
        let slot = take_slot().await;
        let region = |name, server_id| RegionOptions { name, server_id, extra_args: Vec::new() };
        let [source, target] = Region::start_all([region("eu", 1), region("us", 2)]);
        for region in [&source, &target] {
            region.run_all(&TABLES).await;
            region.run("INSERT INTO d.checkpoint VALUES (1, 0)").await;
        }
        let (mut format, mut changes) = (Bytes::new(), Vec::new());
        for statement in statements {
            let before = source.executed().await;
            source.run(statement).await;
            let events = events_after(&source, &before).await;
            let found = events.iter().find(|e| e.kind() == EventKind::FormatDescription);
            format = found.expect("a dump has a format description").bytes().clone();
            let rows = events.iter().filter(|e| e.kind() == EventKind::TableMap || e.kind().is_rows());
            changes.push(rows.flat_map(|e| e.bytes().to_vec()).collect());
        }
        Self { target, format, changes, _slot: slot }
    }

    /// A session that can run `BINLOG`.
    async fn session(&self) -> Connection {
        let mut session = root(&self.target).await;
        let format = STANDARD.encode(&self.format);
        session.execute(format!("BINLOG '{format}'")).await.unwrap_or_else(|e| panic!("{e}"));
        session.execute("SET gtid_next = 'AUTOMATIC'").await.unwrap_or_else(|e| panic!("{e}"));
        session
    }

    /// One text for all of these changes: padding in the middle would end it silently.
    fn binlog(&self, changes: &[usize]) -> String {
        let bytes: Vec<u8> = changes.iter().flat_map(|c| self.changes[*c].clone()).collect();
        format!("BINLOG '{}'", STANDARD.encode(bytes))
    }

    async fn rows(&self) -> Vec<i32> {
        self.target.rows("SELECT id FROM d.t ORDER BY id").await
    }

    async fn seq(&self) -> i32 {
        self.target.row("SELECT seq FROM d.checkpoint").await
    }
}

const BUMP: &[u8] = b"UPDATE d.checkpoint SET seq = seq + 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_a_binlog_statement_has_one_answer_for_each_statement() {
    let stage =
        Stage::with(&["INSERT INTO d.t VALUES (1, 'a'), (2, 'bb')", "INSERT INTO d.t VALUES (3, 'ccc')"])
            .await;
    let mut session = stage.session().await;
    for round in 1..=3 {
        let binlog = stage.binlog(&[0, 1]);
        let answers = session.run_group(&[b"BEGIN", BUMP, binlog.as_bytes(), b"COMMIT"]).await;
        assert_eq!(answers.unwrap_or_else(|e| panic!("{e}")).len(), 4);
        // In step: the next command gets its own answer.
        let seq = session.query_rows("SELECT seq FROM d.checkpoint").await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(seq.first().expect("a row").parse::<i32>("seq").expect("a number"), round);
        assert_eq!(stage.rows().await, [1, 2, 3]);
        stage.target.run("DELETE FROM d.t").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binlog_that_fails_in_the_middle_leaves_nothing_after_a_rollback() {
    let stage = Stage::with(&["INSERT INTO d.t VALUES (1, 'a')", "INSERT INTO d.t VALUES (2, 'b')"]).await;
    stage.target.run("INSERT INTO d.t VALUES (2, 'in the way')").await;
    let mut session = stage.session().await;
    let binlog = stage.binlog(&[0, 1]);
    let error =
        session.run_group(&[b"BEGIN", BUMP, binlog.as_bytes(), b"COMMIT"]).await.expect_err("a duplicate");
    assert!(matches!(error, GroupError::Failed { index: 2, statements: 4, .. }), "{error:?}");
    assert_eq!(error.code(), Some(1062));
    // The first row event is in the open transaction: that is why ROLLBACK comes before anything else.
    let open = session.query_rows("SELECT id FROM d.t WHERE id = 1").await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(open.rows.len(), 1);
    let ok = session.execute("ROLLBACK").await.unwrap_or_else(|e| panic!("{e}"));
    assert!(!ok.in_transaction());
    assert_eq!((stage.rows().await, stage.seq().await), (vec![2], 0));
    // And the session goes on.
    let binlog = stage.binlog(&[0]);
    let answers = session.run_group(&[b"BEGIN", BUMP, binlog.as_bytes(), b"COMMIT"]).await;
    assert_eq!(answers.unwrap_or_else(|e| panic!("{e}")).len(), 4);
    assert_eq!((stage.rows().await, stage.seq().await), (vec![1, 2], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_is_an_error_of_the_group() {
    let stage = Stage::with(&["INSERT INTO d.t VALUES (1, 'a')"]).await;
    let mut session = stage.session().await;
    let binlog = stage.binlog(&[0]);
    let read_only = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.target.run("SET GLOBAL super_read_only = ON").await;
    };
    // Root itself is held up by super_read_only.
    let statements = [&b"BEGIN"[..], BUMP, binlog.as_bytes(), b"DO SLEEP(2)", b"COMMIT"];
    let (result, ()) = tokio::join!(session.run_group(&statements), read_only);
    let error = result.expect_err("COMMIT is refused");
    assert!(matches!(error, GroupError::Failed { index: 4, .. }), "{error:?}");
    assert_eq!(error.code(), Some(1290));
    assert!(error.is_transient());
    assert_eq!((stage.rows().await, stage.seq().await), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_killed_in_the_middle_leaves_the_outcome_unknown_and_refuses_to_go_on() {
    let stage = Stage::with(&["INSERT INTO d.t VALUES (1, 'a')"]).await;
    let mut session = stage.session().await;
    let id = session.connection_id();
    let kill = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.target.run(&format!("KILL {id}")).await;
    };
    let binlog = stage.binlog(&[0]);
    let statements = [&b"BEGIN"[..], BUMP, binlog.as_bytes(), b"DO SLEEP(30)", b"COMMIT"];
    let (result, ()) = tokio::join!(session.run_group(&statements), kill);
    match result.expect_err("the session was killed") {
        GroupError::Unknown { answered, .. } => {
            assert!(answered >= 3, "{answered}");
            assert!(!session.is_usable());
        }
        // The server may find the time to say so.
        error @ GroupError::Failed { .. } => assert!(error.is_transient(), "{error:?}"),
        error @ GroupError::NotSent { .. } => panic!("{error:?}"),
    }
    assert_eq!((stage.rows().await, stage.seq().await), (vec![], 0));
}
