//! Single statements, with and without the capability that replaces EOF packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{CAPABILITIES, DEPRECATE_EOF, OK, OK_MORE, err, logged_in, raw_client, raw_server, soon};
use wire::{Answer, Column, Command, Connection, Error};

const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";

async fn ask(capabilities: u32, answers: &[&[u8]]) -> (Connection, Result<Answer, Error>) {
    let (mut connection, mut raw) = raw_server(capabilities).await;
    let server = async {
        raw.receive().await;
        for (number, answer) in (1..).zip(answers) {
            raw.send(number, answer).await;
        }
    };
    let (answer, ()) = soon(async { tokio::join!(connection.query("SELECT a"), server) }).await;
    (connection, answer)
}

#[tokio::test]
async fn rows_are_read_in_both_forms_of_a_result_set() {
    let new_end: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
    let old_end: &[u8] = &[0xfe, 0, 0, 2, 0];
    for (capabilities, answers) in [
        (CAPABILITIES, vec![&[1][..], COLUMN, b"\x0212", b"\xfb", new_end]),
        (CAPABILITIES & !DEPRECATE_EOF, vec![&[1][..], COLUMN, old_end, b"\x0212", b"\xfb", old_end]),
    ] {
        let (connection, answer) = ask(capabilities, &answers).await;
        let Ok(Answer::Rows(set)) = answer else { panic!("{answer:?}") };
        assert_eq!(set.columns[0].name, "a");
        assert_eq!(set.rows.len(), 2);
        assert_eq!(set.first().unwrap().parse::<u8>("a").unwrap(), 12);
        assert_eq!(set.rows[1], [None]);
        assert!(connection.is_usable());
    }
}

#[tokio::test]
async fn an_error_between_rows_ends_the_result_and_not_the_connection() {
    let (connection, answer) =
        ask(CAPABILITIES, &[&[1], COLUMN, b"\x0212", &err(1317, "Query execution was interrupted")]).await;
    assert_eq!(answer.unwrap_err().code(), Some(1317));
    assert!(connection.is_usable());
}

#[tokio::test]
async fn answers_that_cannot_be_poison_the_connection() {
    for answers in [
        vec![&[0xfb, b'f'][..]],
        vec![&[][..]],
        vec![&[1][..], &[0][..]],
        vec![&[0xfd, 0xff, 0xff, 0xff][..]],
        vec![&[1][..], COLUMN, b"\x05abc"],
        vec![&[1][..], COLUMN, b"\x01ab"],
        vec![OK_MORE],
        vec![&[0, 0][..]],
    ] {
        let (connection, answer) = ask(CAPABILITIES, &answers).await;
        assert!(matches!(answer, Err(Error::Protocol { .. })), "{answers:?}: {answer:?}");
        assert!(!connection.is_usable(), "{answers:?}");
    }
}

#[tokio::test]
async fn a_packet_with_the_wrong_number_is_not_taken_for_an_answer() {
    let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
    raw.send(7, OK).await;
    assert!(matches!(soon(connection.query("SELECT 1")).await, Err(Error::Protocol { .. })));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_server_that_takes_no_more_bytes_is_heard_to_the_end() {
    let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
    raw.send(1, &err(1153, "Got a packet bigger than 'max_allowed_packet' bytes")).await;
    drop(raw);
    let error = soon(connection.query(vec![b'x'; 1 << 20])).await.unwrap_err();
    assert_eq!(error.code(), Some(1153), "{error:?}");
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_poisons_the_connection() {
    let (mut connection, _raw) = raw_server(CAPABILITIES).await;
    connection.set_answer_timeout(Some(Duration::from_millis(50)));
    let error = soon(connection.query("SELECT SLEEP(100)")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn rows_of_a_session_of_ours_arrive() {
    let (mut connection, mut session) = logged_in().await;
    let columns = [Column::text("file"), Column::integer("position")];
    let rows: Vec<_> = (0..1000)
        .map(|n| vec![Column::value(format!("binlog.{n:06}")), Column::value(n.to_string())])
        .collect();
    let server = async {
        let command = session.next_command().await.unwrap();
        assert_eq!(command, Command::Query("SHOW BINARY LOGS".into()));
        session.send_rows(&columns, &rows).await.unwrap();
        session.next_command().await.unwrap();
        session.send_rows(&columns, &[]).await.unwrap();
        session.next_command().await.unwrap();
        session.send_error(1193, "HY000", "Unknown system variable 'x'").await.unwrap();
        session.next_command().await.unwrap();
        session.send_ok().await.unwrap();
    };
    let client = async {
        let set = connection.query_rows("SHOW BINARY LOGS").await.unwrap();
        assert_eq!(set.columns, columns);
        assert_eq!(set.rows, rows);
        assert!(connection.query_rows("none").await.unwrap().rows.is_empty());
        let error = connection.query_rows("SELECT @@x").await.unwrap_err();
        assert_eq!(error.to_string(), "Unknown system variable 'x' (error 1193, sqlstate HY000)");
        connection.execute("SET @a = 1").await.unwrap();
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn rows_taken_one_by_one_must_be_read_to_the_end() {
    let (mut connection, mut session) = logged_in().await;
    let columns = [Column::integer("n")];
    let rows = vec![vec![Column::value("1")], vec![Column::value("2")]];
    let server = async {
        for _ in 0..2 {
            session.next_command().await.unwrap();
            session.send_rows(&columns, &rows).await.unwrap();
        }
    };
    let client = async {
        let mut stream = connection.query_stream("SELECT n").await.unwrap();
        assert_eq!(stream.columns()[0].name, "n");
        assert!(stream.next().await.unwrap().is_some());
        assert!(stream.next().await.unwrap().is_some());
        assert!(stream.next().await.unwrap().is_none());
        assert!(stream.next().await.unwrap().is_none());
        let mut stream = connection.query_stream("SELECT n").await.unwrap();
        stream.next().await.unwrap();
        assert!(matches!(connection.ping().await, Err(Error::Poisoned { command: "query" })));
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn a_row_that_does_not_fit_its_columns_is_not_sent() {
    let (_connection, mut session) = logged_in().await;
    let error = session.send_rows(&[Column::text("a")], &[vec![]]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
}

#[tokio::test]
async fn a_row_that_begins_like_the_end_of_the_rows_is_a_row() {
    let (mut connection, mut session) = logged_in().await;
    // A first value of 16 MiB or more has a length that begins with 0xFE.
    let row = vec![Some(bytes::Bytes::from(vec![b'x'; 0x100_0000]))];
    let server = async {
        session.next_command().await.unwrap();
        session.send_rows(&[Column::text("a")], &[row.clone(), row.clone()]).await.unwrap();
    };
    let ((), answer) = soon(async { tokio::join!(server, connection.query_rows("SELECT a")) }).await;
    assert!(answer.unwrap().rows == [row.clone(), row.clone()]);
}

#[tokio::test]
async fn an_old_client_gets_the_old_ends_of_a_result_set() {
    let (mut session, mut raw) = raw_client(&common::login_options()).await;
    let server = async {
        session.next_command().await.unwrap();
        session.send_rows(&[Column::text("a")], &[vec![Column::value("x")], vec![None]]).await.unwrap();
        session.next_command().await.unwrap();
        session.send_eof().await.unwrap();
    };
    let client = async {
        raw.send(0, b"\x03SELECT a").await;
        let eof = vec![0xfe, 0, 0, 2, 0];
        assert_eq!(raw.receive().await, (1, vec![1]));
        assert!(raw.receive().await.1.starts_with(b"\x03def"));
        assert_eq!(raw.receive().await, (3, eof.clone()));
        assert_eq!(raw.receive().await, (4, b"\x01x".to_vec()));
        assert_eq!(raw.receive().await, (5, vec![0xfb]));
        assert_eq!(raw.receive().await, (6, eof.clone()));
        raw.send(0, &[0x1b, 0, 0]).await;
        assert_eq!(raw.receive().await, (1, eof));
    };
    soon(async { tokio::join!(server, client) }).await;
}
