//! The log without its index.

use binlog::event::{Header, previous_gtids};
use binlog::{Event, EventKind, FormatDescription, Gtid, GtidSet};
use uuid::Uuid;

use crate::{Acknowledged, Options, RelayLog, SourceFile};

const SERVER: Uuid = Uuid::from_bytes([1; 16]);

/// A transaction of one statement.
fn transaction(gno: u64, log_pos: u32) -> [Event; 2] {
    let header = |kind| Header { timestamp: 1, kind, server_id: 1, log_pos, flags: 0 };
    let body = [&[1][..], SERVER.as_bytes(), &gno.to_le_bytes()].concat();
    let mut query = vec![0; 14];
    query.extend(b"CREATE TABLE t (a INT)");
    [Event::build(&header(EventKind::Gtid), &body), Event::build(&header(EventKind::Query), &query)]
}

fn first(n: u64) -> GtidSet {
    (1..=n).map(|gno| Gtid::new(SERVER, gno)).collect()
}

#[test]
fn an_index_that_fails_while_the_log_runs_costs_speed_only() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new("shop", "eu");
    let (log, mut writer) = RelayLog::open(dir.path(), options.clone()).unwrap();
    log.register("link");
    let golden = include_bytes!("../../binlog/golden/one-insert.binlog");
    let size = u32::from_le_bytes(golden[13..17].try_into().unwrap()) as usize;
    let format = Event::new(bytes::Bytes::from_static(&golden[4..4 + size])).unwrap();
    let format = FormatDescription::parse(&format).unwrap();
    for file in 0..4u64 {
        if file == 2 {
            log.shared.index.fail_from_now_on();
        }
        let name = format!("binlog.{file}");
        writer
            .source_file(&SourceFile { server_uuid: SERVER, file: name, position: 4, format: format.clone() })
            .unwrap();
        writer.append(&previous_gtids(1, 0, 200, writer.received())).unwrap();
        for n in 0..1500 {
            for event in transaction(file * 1500 + n + 1, u32::try_from(400 + n * 200).unwrap()) {
                writer.append(&event).unwrap();
            }
        }
        writer.sync().unwrap();
    }
    let gnos = |log: &RelayLog, after: u64| {
        log.reader(&first(after)).unwrap().next_batch(usize::MAX).unwrap().items.len()
    };
    assert_eq!(gnos(&log, 5900), 201);
    assert_eq!(gnos(&log, 1400), 2 * 4600 + 4);
    log.acknowledge("link", &Acknowledged::Gtids(first(4000)));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    assert_eq!(log.purge(later, std::time::Duration::ZERO).unwrap().segments, 2);
    writer.close().unwrap();
    drop(log);
    let (log, _writer) = RelayLog::open(dir.path(), options).unwrap();
    assert_eq!(log.segments().len(), 2);
    assert_eq!(*log.gtids_durable(), first(6000));
    assert_eq!(gnos(&log, 5900), 201);
    assert!(log.shared.index.last_place(3, |_| true).is_some(), "what was missing was read again");
}
