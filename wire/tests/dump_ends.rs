//! How a stream of events ends, on both sides.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::replica::{Attached, attach};
use common::{event, raw_client, soon};
use wire::Error;

#[tokio::test]
async fn the_sources_error_ends_the_stream_with_its_full_text() {
    let Attached { mut stream, mut sender, acks: _acks, .. } =
        attach(false, false, Duration::from_secs(60)).await;
    sender.send(&event(40), false).await.unwrap();
    let text = "Cannot replicate because the source purged required binary logs.";
    sender.send_error(1236, "HY000", text).await.unwrap();
    soon(stream.next()).await.unwrap();
    let error = soon(stream.next()).await.unwrap_err();
    assert_eq!(error.code(), Some(1236));
    assert!(error.to_string().starts_with(text));
    assert!(!error.is_transient());
    assert!(matches!(soon(stream.next()).await, Err(Error::Poisoned { .. })));
}

#[tokio::test]
async fn the_end_of_a_dump_that_does_not_wait_is_told() {
    let Attached { mut stream, sender, acks: _acks, .. } =
        attach(false, false, Duration::from_secs(60)).await;
    sender.send_eof().await.unwrap();
    assert!(matches!(soon(stream.next()).await, Err(Error::EndOfStream)));
}

#[tokio::test]
async fn a_source_without_heartbeat_is_given_up_after_three_periods() {
    let period = Duration::from_millis(100);
    let Attached { mut stream, mut sender, acks: _acks, .. } = attach(false, false, period).await;
    let beat = async {
        for _ in 0..8 {
            sender.send(&event(30), false).await.unwrap();
            sender.flush().await.unwrap();
            tokio::time::sleep(period).await;
        }
    };
    let listen = async {
        for _ in 0..8 {
            stream.next().await.unwrap();
        }
        let begin = tokio::time::Instant::now();
        // Cancelled again and again, as in a select: the watchdog goes on counting all the same.
        let error = loop {
            if let Ok(end) = tokio::time::timeout(period / 4, stream.next()).await {
                break end.unwrap_err();
            }
        };
        (error, begin.elapsed())
    };
    let ((), (error, after)) = soon(async { tokio::join!(beat, listen) }).await;
    assert!(matches!(error, Error::Silent { after } if after == period * 3), "{error:?}");
    assert!(after >= period * 3, "{after:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn what_came_with_an_event_is_there_without_waiting() {
    let Attached { mut stream, mut sender, acks: _acks, .. } =
        attach(false, false, Duration::from_secs(60)).await;
    assert!(stream.try_next().unwrap().is_none());
    for size in [30, 40, 50] {
        sender.send(&event(size), false).await.unwrap();
    }
    sender.flush().await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().event.len(), 30);
    assert_eq!(stream.try_next().unwrap().unwrap().event.len(), 40);
    assert_eq!(stream.try_next().unwrap().unwrap().event.len(), 50);
    assert!(stream.try_next().unwrap().is_none());
}

#[tokio::test]
async fn an_event_whose_length_is_not_that_of_its_packet_ends_the_stream() {
    let Attached { mut stream, mut sender, acks: _acks, .. } =
        attach(false, false, Duration::from_secs(60)).await;
    sender.send(&event(60)[..59], false).await.unwrap();
    sender.flush().await.unwrap();
    assert!(matches!(soon(stream.next()).await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn a_replica_that_takes_nothing_is_given_up() {
    let (connection, session) = common::both(
        &common::client_options("link", "secret"),
        &wire::LoginOptions { write_timeout: Duration::from_millis(100), ..common::login_options() },
    )
    .await;
    let _connection = connection.unwrap();
    let (mut sender, _acks) = session.unwrap().into_dump(false);
    let big = event(1 << 20);
    let error = soon(async {
        loop {
            if let Err(error) = sender.send(&big, false).await {
                break error;
            }
        }
    })
    .await;
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(matches!(sender.flush().await, Err(Error::Poisoned { .. })));
}

#[tokio::test]
async fn nonsense_in_the_middle_of_a_dump_is_an_error_of_the_client() {
    let (session, mut raw) = raw_client(&common::login_options()).await;
    let (_sender, mut acks) = session.into_dump(true);
    raw.send(0, b"\x03SELECT 1").await;
    assert!(matches!(soon(acks.next()).await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn a_client_that_takes_its_leave_in_the_middle_of_a_dump_has_left() {
    let (session, mut raw) = raw_client(&common::login_options()).await;
    let (_sender, mut acks) = session.into_dump(false);
    raw.send(0, &[1]).await;
    assert_eq!(soon(acks.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_replica_that_takes_little_but_goes_on_taking_it_is_waited_for() {
    let write_timeout = Duration::from_millis(200);
    let options = wire::LoginOptions { write_timeout, ..common::login_options() };
    let (session, mut raw) = raw_client(&options).await;
    let (mut sender, _acks) = session.into_dump(false);
    let big = event(1 << 20);
    let slowly = async {
        let begin = tokio::time::Instant::now();
        let (mut left, mut part) = (big.len() + 5, vec![0; 64 * 1024]);
        while left > 0 {
            tokio::time::sleep(write_timeout / 8).await;
            left -= tokio::io::AsyncReadExt::read(&mut raw.stream, &mut part).await.unwrap();
        }
        begin.elapsed()
    };
    let send = async {
        sender.send(&big, false).await.unwrap();
        sender.flush().await.unwrap();
    };
    let ((), took) = soon(async { tokio::join!(send, slowly) }).await;
    assert!(took > write_timeout, "in all it took longer than one write may: {took:?}");
}
