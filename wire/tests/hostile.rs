//! Arbitrary bytes from the other side: errors, never a panic, never a hang, whatever the stage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{CAPABILITIES, Raw, client_options, login_options, peer, raw_client, raw_server, soon};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use tokio::io::AsyncWriteExt;
use wire::{Connection, accept};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Packets of arbitrary payloads, most of them numbered in a row from `first` so that they get past
/// the framing.
fn packets(payloads: &[Vec<u8>], first: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        out.extend_from_slice(&length[..3]);
        out.push(first.wrapping_add(u8::try_from(index).unwrap()));
        out.extend_from_slice(payload);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_server_of_arbitrary_bytes_cannot_be_logged_in_to(bytes in vec(any::<u8>(), 0..300)) {
        let result = block_on(async {
            let (near, mut far) = tokio::io::duplex(64 * 1024);
            far.write_all(&bytes).await.unwrap();
            drop(far);
            soon(Connection::over(near, &client_options("link", "secret"))).await
        });
        prop_assert!(result.is_err());
    }

    #[test]
    fn arbitrary_packets_in_the_middle_of_a_login_do_no_harm(payloads in vec(vec(any::<u8>(), 0..60), 1..4)) {
        block_on(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let mut raw = Raw { stream: far };
            raw.send(0, &Raw::greeting("caching_sha2_password", CAPABILITIES)).await;
            raw.stream.write_all(&packets(&payloads, 2)).await.unwrap();
            raw.stream.shutdown().await.unwrap();
            // Bytes that happen to be an OK log in; nothing else does.
            let _ = soon(Connection::over(near, &client_options("link", "secret"))).await;
        });
        prop_assert!(true);
    }

    #[test]
    fn arbitrary_answers_to_a_query_and_a_group_do_no_harm(payloads in vec(vec(any::<u8>(), 0..40), 1..6), known in 0usize..5) {
        block_on(async {
            // A first byte that means something takes the parsers further.
            let mut payloads = payloads;
            if let (Some(byte), Some(first)) = ([0, 1, 0xfb, 0xfe, 0xff].get(known), payloads[0].first_mut()) {
                *first = *byte;
            }
            for group in [false, true] {
                let (mut connection, mut raw) = raw_server(CAPABILITIES).await;
                raw.stream.write_all(&packets(&payloads, 1)).await.unwrap();
                raw.stream.shutdown().await.unwrap();
                if group {
                    let _ = soon(connection.run_group(&[b"BEGIN", b"COMMIT"])).await;
                } else {
                    let _ = soon(connection.query("SELECT 1")).await;
                }
            }
        });
        prop_assert!(true);
    }

    #[test]
    fn a_client_of_arbitrary_bytes_gets_no_session(bytes in vec(any::<u8>(), 0..300), framed in any::<bool>()) {
        let result = block_on(async {
            let (mut near, far) = tokio::io::duplex(64 * 1024);
            let bytes = if framed { packets(&[bytes], 1) } else { bytes };
            near.write_all(&bytes).await.unwrap();
            near.shutdown().await.unwrap();
            soon(accept(far, peer(), &login_options())).await
        });
        prop_assert!(result.is_err());
    }

    #[test]
    fn arbitrary_commands_are_read_or_refused(payloads in vec(vec(any::<u8>(), 0..80), 1..6)) {
        block_on(async {
            let (mut session, mut raw) = raw_client(&login_options()).await;
            for payload in &payloads {
                raw.send(0, payload).await;
            }
            raw.stream.shutdown().await.unwrap();
            while soon(session.next_command()).await.is_ok() {}
        });
        prop_assert!(true);
    }
}
