//! What downstreams are sent, over sockets, from logs no test could wait for a server to write.

use std::time::Duration;

use binlog::event::{Heartbeat, Rotate};
use binlog::{Event, EventKind};
use wire::{DumpFlags, EventStream};

use crate::Limits;
use crate::stage::{Stage, golden, golden_and_rotate};

const GIB: u64 = 1 << 30;

/// The next event, verified.
async fn next(stream: &mut EventStream) -> Event {
    let incoming = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap();
    Event::new(incoming.event).unwrap()
}

/// All events up to the heartbeat that tells this position, modulo 4 GiB, and that heartbeat. Others are left out.
async fn until_at(stream: &mut EventStream, end: u64) -> (Vec<Event>, Event) {
    let mut events = Vec::new();
    loop {
        let event = next(stream).await;
        match event.kind() {
            EventKind::Heartbeat | EventKind::HeartbeatV2
                if u64::from(event.log_pos()) == end % (4 * GIB) =>
            {
                return (events, event);
            }
            EventKind::Heartbeat | EventKind::HeartbeatV2 => {}
            _ => events.push(event),
        }
    }
}

/// Where the golden file ends.
fn end() -> u64 {
    golden().last().unwrap().log_pos().into()
}

#[tokio::test]
async fn a_heartbeat_beyond_4_gib_tells_the_place_to_who_asked_for_version_2() {
    let stage = Stage::golden_at(5 * GIB, Limits::default()).await;
    let end = end() + 5 * GIB;
    let mut stream = stage.dump("", DumpFlags::HEARTBEAT_V2).await;
    let (events, beat) = until_at(&mut stream, end).await;
    assert_eq!(beat.kind(), EventKind::HeartbeatV2);
    let place = Heartbeat { file: "binlog.000001".into(), position: end };
    assert_eq!(Heartbeat::parse(&beat).unwrap(), place);
    let rotate = Rotate::parse(&events[0]).unwrap();
    assert_eq!(rotate.position, 5 * GIB + 158, "where the log begins");
    // Version 1 has room for the lower half only.
    let mut stream = stage.dump("", DumpFlags::NONE).await;
    let (_, beat) = until_at(&mut stream, end).await;
    assert_eq!(beat.kind(), EventKind::Heartbeat);
    assert_eq!(u64::from(beat.log_pos()), end - 4 * GIB);
}

/// A replica whose source rotates and is lost before the next file begins would stop at a heartbeat from the old one.
#[tokio::test]
async fn behind_a_rotation_heartbeats_tell_the_file_in_which_the_log_goes_on() {
    let mut stage = Stage::golden_at(0, Limits::default()).await;
    let mut early = stage.dump("", DumpFlags::HEARTBEAT_V2).await;
    until_at(&mut early, end()).await;
    let rotate = golden_and_rotate().pop().unwrap();
    let Rotate { file, position } = Rotate::parse(&rotate).unwrap();
    assert_ne!(file, "binlog.000001");
    stage.writer.append(&rotate).unwrap();
    stage.flush();
    let mut late = stage.dump("", DumpFlags::HEARTBEAT_V2).await;
    for stream in [&mut early, &mut late] {
        while next(stream).await != rotate {}
        for _ in 0..3 {
            let beat = Heartbeat::parse(&next(stream).await).unwrap();
            assert_eq!(beat, Heartbeat { file: file.clone(), position });
        }
    }
}

#[tokio::test]
async fn transactions_that_are_left_out_are_told_by_heartbeats() {
    let stage = Stage::golden_at(0, Limits::default()).await;
    let gtids: Vec<_> = golden()
        .iter()
        .filter(|event| event.kind().is_gtid())
        .map(|event| binlog::event::GtidEvent::parse(event).unwrap().gtid.unwrap())
        .collect();
    // All but the second: what is before it is told before it, what is behind it at the end.
    let all: binlog::GtidSet = gtids.iter().cloned().collect();
    let has = all.minus(&std::iter::once(gtids[1].clone()).collect());
    let mut stream = stage.dump(&has.to_string(), DumpFlags::NONE).await;
    let mut kinds = Vec::new();
    let mut beats = Vec::new();
    while beats.len() < 3 {
        let event = next(&mut stream).await;
        kinds.push(event.kind());
        if event.kind() == EventKind::Heartbeat {
            beats.push(event.log_pos());
        }
    }
    let begins: Vec<_> =
        golden().iter().filter(|e| e.kind().is_gtid()).map(|e| e.log_pos() - e.size()).collect();
    assert_eq!(beats[0], begins[1], "behind the first transaction");
    let end = golden().last().unwrap().log_pos();
    let last_heartbeats =
        beats[1..].iter().all(|at| *at == end || *at == end - golden().last().unwrap().size());
    assert!(last_heartbeats, "{beats:?}, the end is {end}");
    let heartbeat = kinds.iter().position(|kind| *kind == EventKind::Heartbeat).unwrap();
    assert!(kinds[heartbeat + 1].is_gtid(), "{kinds:?}");
}

#[tokio::test]
async fn followers_get_from_memory_what_readers_get_from_the_disk() {
    let mut stage = Stage::empty(Limits::default()).await;
    let mut early = stage.dump("", DumpFlags::NONE).await;
    // It waits for the log to begin.
    while next(&mut early).await.kind() != EventKind::Heartbeat {}
    stage.write_golden(0);
    let (live, _) = until_at(&mut early, end()).await;
    let mut late = stage.dump("", DumpFlags::NONE).await;
    let (read, _) = until_at(&mut late, end()).await;
    assert_eq!(live, read);
    assert_eq!(
        read.iter().filter(|event| !event.is_artificial()).cloned().collect::<Vec<_>>()[1..],
        golden()[1..]
    );
}

#[tokio::test]
async fn a_follower_that_has_some_of_it_gets_the_rest_from_memory_too() {
    let mut stage = Stage::empty(Limits::default()).await;
    let has = golden()
        .iter()
        .filter(|event| event.kind().is_gtid())
        .map(|event| binlog::event::GtidEvent::parse(event).unwrap().gtid.unwrap())
        .nth(1);
    let has: binlog::GtidSet = has.into_iter().collect();
    // Ahead of an empty log, which knows nothing of the sequence.
    let mut early = stage.dump(&has.to_string(), DumpFlags::NONE).await;
    while next(&mut early).await.kind() != EventKind::Heartbeat {}
    stage.write_golden(0);
    let (live, _) = until_at(&mut early, end()).await;
    let gtid = |event: &Event| binlog::event::GtidEvent::parse(event).unwrap().gtid.unwrap();
    let got: Vec<_> = live.iter().filter(|event| event.kind().is_gtid()).map(gtid).collect();
    let all: Vec<_> = golden().iter().filter(|event| event.kind().is_gtid()).map(gtid).collect();
    let lacking: Vec<_> = all.into_iter().filter(|gtid| !has.contains(gtid)).collect();
    assert_eq!(got, lacking);
}
