//! The hot pieces by themselves, so that a regression of one shows: nanoseconds an operation, the median of ten rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::event::Header;
use binlog::row::{Condenser, RowsEvent, TableMap};
use binlog::{Event, EventKind, FormatDescription, Gtid, GtidSet};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use uuid::Uuid;

#[derive(Args)]
pub(crate) struct Options {
    /// Only those whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// One round takes at least so long.
const ROUND: Duration = Duration::from_millis(50);
const ROUNDS: usize = 10;

struct Bench {
    only: String,
}

impl Bench {
    /// Measures an operation on so many bytes (0: not a matter of bytes).
    fn run<T>(&self, name: &str, bytes: usize, mut operation: impl FnMut() -> T) {
        if !name.contains(&self.only) {
            return;
        }
        let mut each = 1u32;
        let took = |each: u32, operation: &mut dyn FnMut() -> T| {
            let began = Instant::now();
            for _ in 0..each {
                black_box(operation());
            }
            began.elapsed()
        };
        while took(each, &mut operation) < ROUND {
            each *= 2;
        }
        let mut rounds: Vec<f64> =
            (0..ROUNDS).map(|_| took(each, &mut operation).as_nanos() as f64 / f64::from(each)).collect();
        rounds.sort_by(f64::total_cmp);
        let median = rounds[ROUNDS / 2];
        let rate = if bytes == 0 {
            String::new()
        } else {
            format!("   {:8.0} MB/s", bytes as f64 * 1000.0 / median)
        };
        println!("micro/{name:44} {median:14.1} ns{rate}");
        println!("{}", json!({ "bench": format!("micro/{name}"), "ns": median, "bytes": bytes }));
    }
}

pub(crate) fn run(options: Options) -> Result<()> {
    let bench = Bench { only: options.only };
    events(&bench)?;
    groups(&bench)?;
    log(&bench)?;
    sets(&bench);
    Ok(())
}

/// A log of another server's tests: its first event tells how events are laid out.
const GOLDEN: &[u8] = include_bytes!("../../binlog/golden/tagged-and-ddl.binlog");

/// The relay log: appending, each transaction into file and index, and one flush for a hundred.
fn log(bench: &Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut rest = Bytes::from_static(&GOLDEN[4..]);
    let size = usize::try_from(u32::from_le_bytes(rest[9..13].try_into()?))?;
    let format = FormatDescription::parse(&Event::new(rest.split_to(size))?)?;
    let uuid = Uuid::from_u128(7);
    let (_log, mut writer) = storage::RelayLog::open(folder.path(), storage::Options::new("bench", "eu"))?;
    let mut position = 4 + u64::from(format.event().size());
    let file = storage::SourceFile { server_uuid: uuid, file: "binlog.000001".into(), position: 4, format };
    writer.source_file(&file)?;
    let mut placed = |kind: EventKind, body: &[u8]| -> Result<Event> {
        let event = event(kind, body);
        position += u64::from(event.size());
        let log_pos = u32::try_from(position)?;
        Ok(event.with_header(|header| header.log_pos = log_pos))
    };
    let previous = binlog::event::previous_gtids(1, 0, 0, &GtidSet::new());
    writer.append(&placed(previous.kind(), previous.body())?)?;
    let mut gno = 0_u64;
    let mut append = |writer: &mut storage::LogWriter| -> Result<()> {
        gno += 1;
        let gtid = [
            &[1][..],
            uuid.as_bytes(),
            &gno.to_le_bytes(),
            &[2],
            &(gno - 1).to_le_bytes(),
            &gno.to_le_bytes(),
        ];
        let begin = [&[0; 8][..], &[1, 0, 0, 0, 0], b"t\0BEGIN"].concat();
        writer.append(&placed(EventKind::Gtid, &gtid.concat())?)?;
        writer.append(&placed(EventKind::Query, &begin)?)?;
        writer.append(&placed(EventKind::WriteRows, &[7; 400])?)?;
        writer.append(&placed(EventKind::Xid, &gno.to_le_bytes())?)?;
        Ok(())
    };
    let mut failed = None;
    bench.run("log/append_transaction", 0, || {
        failed = append(&mut writer).err().or(failed.take());
    });
    bench.run("log/append_100_transactions_and_flush", 0, || {
        for _ in 0..100 {
            failed = append(&mut writer).err().or(failed.take());
        }
        failed = writer.sync().map_err(anyhow::Error::from).err().or(failed.take());
    });
    failed.map_or(Ok(()), Err)
}

fn event(kind: EventKind, body: &[u8]) -> Event {
    Event::build(&Header { timestamp: 1, kind, server_id: 1, log_pos: 4, flags: 0 }, body)
}

fn events(bench: &Bench) -> Result<()> {
    for size in [100, 1000, 8000] {
        let bytes = event(EventKind::WriteRows, &vec![7; size]).bytes().clone();
        bench.run(&format!("frame_and_crc/size={size}"), bytes.len(), || Event::new(bytes.clone()).is_ok());
    }
    let (map, rows) = (table_map(1), update(1, 3));
    let parsed = TableMap::parse(&map)?;
    bench.run("table_map/read", 0, || TableMap::parse(&map).is_ok());
    bench.run("row_event/count_one_row", 0, || {
        RowsEvent::parse(&rows, &parsed).and_then(|rows| rows.count()).is_ok()
    });
    Ok(())
}

/// A table of sysbench's four columns.
fn table_map(id: u8) -> Event {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 6];
    body.extend_from_slice(b"sbtest\0\x06sbtes");
    body.extend_from_slice(&[b'0' + id, 0, 4, 3, 3, 254, 254, 4, 254, 240, 254, 240, 0]);
    event(EventKind::TableMap, &body)
}

/// An update of one row, whole images.
fn update(id: u8, value: u8) -> Event {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 2, 0, 4, 15, 15];
    for image in 0..2u8 {
        body.extend_from_slice(&[0, value, 0, 0, 0, image, 0, 0, 0, 120]);
        body.extend_from_slice(&[b'c'; 120]);
        body.push(60);
        body.extend_from_slice(&[b'p'; 60]);
    }
    event(EventKind::UpdateRows, &body)
}

fn groups(bench: &Bench) -> Result<()> {
    for (transactions, tables) in [(256, 1u8), (256, 9), (1000, 1)] {
        let mut events = Vec::new();
        for n in 0..transactions * 4usize {
            let table = u8::try_from(n % usize::from(tables))? + 1;
            events.extend([table_map(table), update(table, u8::try_from(n % 200)?)]);
        }
        let bytes: usize = events.iter().map(|event| event.bytes().len()).sum();
        bench.run(&format!("group/transactions={transactions}/tables={tables}"), bytes, || {
            Condenser::new(events.iter(), |_| true, 16 << 20)
                .map(|buffer| buffer.map_or(0, |b| b.len()))
                .sum::<usize>()
        });
    }
    let raw = vec![0x5a_u8; 1 << 20];
    let mut out = vec![0; base64::encoded_len(raw.len(), true).unwrap_or(2 << 20)];
    bench.run("base64/size=1MiB", raw.len(), || STANDARD.encode_slice(&raw, &mut out).is_ok());
    Ok(())
}

fn sets(bench: &Bench) {
    const INTERVALS: u64 = 10_000;
    let uuid = Uuid::from_u128(7);
    let holes: GtidSet = (0..INTERVALS).map(|n| Gtid::new(uuid, 2 * n + 1)).collect();
    let filling: GtidSet = (0..INTERVALS).map(|n| Gtid::new(uuid, 2 * n + 2)).collect();
    let (text, wire) = (holes.to_string(), holes.to_wire());
    let name = |what: &str| format!("gtid_set/intervals={INTERVALS}/{what}");
    bench.run(&name("contains"), 0, || holes.contains(&Gtid::new(uuid, 9_999)));
    bench.run(&name("contains_all"), 0, || holes.contains_all(&holes));
    bench.run(&name("union"), 0, || {
        let mut all = holes.clone();
        all.union_with(&filling);
        all.count()
    });
    bench.run(&name("minus"), 0, || holes.minus(&filling).count());
    bench.run(&name("insert_next"), 0, || {
        let mut set = GtidSet::new();
        (1..1000).for_each(|n| _ = set.insert(&Gtid::new(uuid, n)));
        set.count()
    });
    bench.run(&name("to_text"), 0, || holes.to_string().len());
    bench.run(&name("from_text"), 0, || text.parse::<GtidSet>().is_ok());
    bench.run(&name("to_wire"), 0, || holes.to_wire().len());
    bench.run(&name("from_wire"), 0, || GtidSet::from_wire(&wire).is_ok());
}
