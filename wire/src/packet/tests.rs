//! Framing, both ways.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::{PacketReader, PacketWriter};
use crate::Error;
use crate::constants::MAX_CHUNK;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn written(packets: &[&[&[u8]]]) -> Vec<u8> {
    let mut writer = PacketWriter::new(Vec::new());
    for parts in packets {
        writer.write(parts).await.unwrap();
    }
    writer.flush().await.unwrap();
    writer.into_inner()
}

async fn read_one(bytes: &[u8], limit: usize) -> Result<(u8, u8, Vec<u8>), Error> {
    let mut reader = PacketReader::exact(bytes, limit);
    let packet = reader.next().await?;
    assert!(!reader.has_bytes());
    Ok((packet.sequence, packet.last_sequence, packet.payload.to_vec()))
}

#[test]
fn payloads_around_the_chunk_size_come_back_with_the_right_number_of_chunks() {
    block_on(async {
        for (length, chunks) in [
            (0, 1u8),
            (1, 1),
            (MAX_CHUNK - 1, 1),
            (MAX_CHUNK, 2),
            (MAX_CHUNK + 1, 2),
            (2 * MAX_CHUNK, 3),
            (2 * MAX_CHUNK + 5, 3),
        ] {
            let mut payload = (0..=250).collect::<Vec<u8>>().repeat(length / 251 + 1);
            payload.truncate(length);
            let bytes = written(&[&[&payload[..length.min(3)], &payload[length.min(3)..]]]).await;
            assert_eq!(bytes.len(), length + 4 * usize::from(chunks), "length {length}");
            let (first, last, back) = read_one(&bytes, usize::MAX).await.unwrap();
            assert_eq!((first, last), (0, chunks - 1), "length {length}");
            assert!(back == payload, "length {length}");
        }
    });
}

#[test]
fn a_packet_over_the_limit_is_refused_at_its_header() {
    block_on(async {
        let header_only = [0xff, 0xff, 0xff, 0];
        assert!(matches!(
            read_one(&header_only, 64 * 1024).await,
            Err(Error::PacketTooLarge { size: 0xff_ffff, limit: 0x1_0000 })
        ));
        let bytes = written(&[&[&vec![7; MAX_CHUNK + 10]]]).await;
        assert!(matches!(read_one(&bytes, MAX_CHUNK + 9).await, Err(Error::PacketTooLarge { .. })));
        assert!(read_one(&bytes, MAX_CHUNK + 10).await.is_ok());
    });
}

#[test]
fn chunks_of_one_packet_must_be_numbered_in_a_row() {
    block_on(async {
        let mut bytes = written(&[&[&vec![7; MAX_CHUNK + 10]]]).await;
        bytes[4 + MAX_CHUNK + 3] = 9;
        assert!(matches!(read_one(&bytes, usize::MAX).await, Err(Error::Protocol { .. })));
    });
}

#[test]
fn numbers_wrap_inside_a_long_packet() {
    block_on(async {
        let mut writer = PacketWriter::new(Vec::new());
        writer.set_sequence(255);
        writer.send(&[&vec![1; MAX_CHUNK]]).await.unwrap();
        let (first, last, back) = read_one(&writer.into_inner(), usize::MAX).await.unwrap();
        assert_eq!((first, last, back.len()), (255, 0, MAX_CHUNK));
    });
}

#[test]
fn an_exact_reader_leaves_what_follows_the_packet_in_the_stream() {
    block_on(async {
        let mut bytes = written(&[&[b"hello"]]).await;
        bytes.extend_from_slice(b"tls starts here");
        let mut reader = PacketReader::exact(bytes.as_slice(), 100);
        assert_eq!(&reader.next().await.unwrap().payload[..], b"hello");
        let (rest, buffered) = reader.into_parts();
        assert_eq!(rest, b"tls starts here");
        assert!(buffered.is_empty());
    });
}

#[test]
fn the_end_of_the_stream_is_told_from_a_torn_packet() {
    block_on(async {
        assert!(matches!(read_one(b"", 10).await, Err(Error::Closed { mid_packet: false })));
        assert!(matches!(read_one(b"\x05\0\0\0ab", 10).await, Err(Error::Closed { mid_packet: true })));
        assert!(matches!(read_one(b"\x05", 10).await, Err(Error::Closed { mid_packet: true })));
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    block_on(async {
        let bytes = written(&[&[b"first"], &[b"second"]]).await;
        let (mut near, far) = tokio::io::duplex(64);
        let mut reader = PacketReader::exact(far, 100);
        reader.set_read_ahead(4096);
        let mut got = Vec::new();
        for byte in bytes {
            // Every read but the last of a packet is cancelled while it waits for the next byte.
            tokio::io::AsyncWriteExt::write_all(&mut near, &[byte]).await.unwrap();
            tokio::select! {
                biased;
                packet = reader.next() => got.push(packet.unwrap().payload.to_vec()),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(got, [b"first".to_vec(), b"second".to_vec()]);
    });
}

#[test]
fn after_a_cancelled_write_the_writer_refuses_to_go_on() {
    block_on(async {
        let (near, _far) = tokio::io::duplex(16);
        let mut writer = PacketWriter::new(near);
        tokio::select! {
            biased;
            _ = writer.send(&[&[1; 100]]) => panic!("the pipe holds 16 bytes"),
            () = std::future::ready(()) => {}
        }
        assert!(matches!(writer.send(&[b"x"]).await, Err(Error::Poisoned { .. })));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_payloads_come_back_whatever_the_read_ahead(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40),
        read_ahead in 0usize..700,
    ) {
        let parts: Vec<[&[u8]; 1]> = payloads.iter().map(|p| [p.as_slice()]).collect();
        let packets: Vec<&[&[u8]]> = parts.iter().map(|p| p.as_slice()).collect();
        let back: Result<Vec<Vec<u8>>, Error> = block_on(async {
            let bytes = written(&packets).await;
            let mut reader = PacketReader::exact(bytes.as_slice(), 1000);
            reader.set_read_ahead(read_ahead);
            let mut back = Vec::new();
            for expected in 0..payloads.len() {
                let packet = reader.next().await?;
                assert_eq!(usize::from(packet.sequence), expected % 256);
                back.push(packet.payload.to_vec());
            }
            Ok(back)
        });
        prop_assert_eq!(back.unwrap(), payloads);
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400), limit in 0usize..500) {
        block_on(async {
            let mut reader = PacketReader::exact(bytes.as_slice(), limit);
            reader.set_read_ahead(64);
            while let Ok(packet) = reader.next().await {
                assert!(packet.payload.len() <= limit);
            }
        });
        prop_assert!(true);
    }
}
