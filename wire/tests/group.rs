//! Groups: answers are counted, whatever the flags say, and success is never told too early.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{CAPABILITIES, OK, OK_MORE, Raw, err, raw_server, soon};
use wire::{Connection, Error, GroupError, OkInfo};

const GROUP: [&[u8]; 4] = [b"BEGIN", b"UPDATE c", b"BINLOG 'x'", b"COMMIT"];

/// Runs the group against a server that sends these packets in answer, numbered in a row, then hangs
/// up or not.
async fn run(answers: &[&[u8]], hang_up: bool) -> (Connection, Result<Vec<OkInfo>, GroupError>) {
    let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
    let result = {
        let server = async {
            let (sequence, text) = raw.receive().await;
            assert_eq!((sequence, &text[..]), (0, &b"\x03BEGIN;UPDATE c;BINLOG 'x';COMMIT"[..]));
            for (number, answer) in (1..).zip(answers) {
                raw.send(number, answer).await;
            }
            (!hang_up).then_some(raw)
        };
        let (result, raw) = soon(async { tokio::join!(connection.run_group(&GROUP), server) }).await;
        if let (Some(mut raw), true) = (raw, connection.is_usable()) {
            check_in_step(&mut connection, &mut raw).await;
        }
        result
    };
    (connection, result)
}

/// The next command gets the next answer.
async fn check_in_step(connection: &mut Connection, raw: &mut Raw) {
    let server = async {
        assert_eq!(raw.receive().await, (0, vec![0x0e]));
        raw.send(1, OK).await;
    };
    let (pong, ()) = soon(async { tokio::join!(connection.ping(), server) }).await;
    pong.unwrap();
}

#[tokio::test]
async fn the_ok_without_the_more_results_flag_in_the_middle_does_not_end_the_group() {
    let (connection, result) = run(&[OK_MORE, OK_MORE, OK, OK], false).await;
    assert_eq!(result.unwrap().len(), 4);
    assert!(connection.is_usable());
}

#[tokio::test]
async fn an_error_at_the_last_statement_is_not_success() {
    let (connection, result) =
        run(&[OK_MORE, OK_MORE, OK, &err(1180, "Got error during COMMIT")], false).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, GroupError::Failed { index: 3, statements: 4, source } if source.code == 1180));
    assert_eq!(error.code(), Some(1180));
    assert!(connection.is_usable());
}

#[tokio::test]
async fn an_error_at_any_statement_names_it_and_leaves_the_connection_in_step() {
    for index in 0..4 {
        let failure = err(1062, "Duplicate entry");
        let mut answers: Vec<&[u8]> = vec![OK_MORE; index];
        answers.push(&failure);
        let (connection, result) = run(&answers, false).await;
        assert!(matches!(result, Err(GroupError::Failed { index: at, .. }) if at == index));
        assert!(connection.is_usable());
    }
}

#[tokio::test]
async fn a_connection_lost_before_the_last_answer_leaves_the_outcome_unknown() {
    for answered in 0..4 {
        let (mut connection, result) = run(&vec![OK; answered], true).await;
        let error = result.unwrap_err();
        assert!(
            matches!(&error, GroupError::Unknown { answered: n, statements: 4, .. } if *n == answered),
            "{error:?}"
        );
        assert!(error.is_transient() && error.code().is_none());
        assert!(matches!(soon(connection.ping()).await, Err(Error::Poisoned { command: "group" })));
        assert!(matches!(soon(connection.run_group(&GROUP)).await, Err(GroupError::NotSent { .. })));
    }
}

#[tokio::test]
async fn more_answers_than_statements_are_not_success() {
    let (connection, result) = run(&[OK_MORE, OK_MORE, OK, OK_MORE], false).await;
    assert!(matches!(result, Err(GroupError::Unknown { answered: 4, .. })));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_word_of_the_server_out_of_turn_leaves_the_outcome_unknown() {
    let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
    // The server has ended the connection for idleness before the group came.
    raw.send(0, &err(4031, "idle")).await;
    let error = soon(connection.run_group(&GROUP)).await.unwrap_err();
    assert!(
        matches!(&error, GroupError::Unknown { answered: 0, source: Error::Server(e), .. } if e.code == 4031)
    );
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn rows_in_a_group_count_as_one_answer() {
    let column = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    let end: &[u8] = &[0xfe, 0, 0, 0x0a, 0, 0, 0];
    let (_, result) = run(&[OK_MORE, &[1], column, b"\x011", b"\xfb", end, OK_MORE, OK], false).await;
    assert_eq!(result.unwrap().len(), 4);
}

#[tokio::test]
async fn a_cancelled_group_poisons_the_connection() {
    let (mut connection, _raw) = raw_server(CAPABILITIES).await;
    tokio::select! {
        biased;
        result = connection.run_group(&GROUP) => panic!("nobody answers: {result:?}"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(soon(connection.ping()).await, Err(Error::Poisoned { .. })));
}

#[tokio::test]
async fn a_script_of_many_chunks_arrives_whole() {
    let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
    let text = common::event(2 * 0xff_ffff + 77);
    let server = async {
        let mut all = Vec::new();
        loop {
            let (number, chunk) = raw.receive().await;
            let last = chunk.len() < 0xff_ffff;
            all.extend(chunk);
            if last {
                raw.send(number + 1, OK).await;
                return all;
            }
        }
    };
    let (result, all) = soon(async { tokio::join!(connection.run_script(&text, 1), server) }).await;
    assert_eq!(result.unwrap().len(), 1);
    assert!(all[0] == 3 && all[1..] == text[..]);
}

#[tokio::test]
async fn no_statements_are_no_packet() {
    let (mut connection, _raw) = raw_server(CAPABILITIES).await;
    assert!(connection.run_group(&[]).await.unwrap().is_empty());
    assert!(connection.is_usable());
}
