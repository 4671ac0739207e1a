//! The listener under clients that mean no good, or do nothing at all.

use std::time::Duration;

use bytes::BufMut;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wire::{ConnectOptions, Connection, DumpFlags, Secret};

use crate::Limits;
use crate::stage::{PASSWORD, Stage};

const SOON: Duration = Duration::from_secs(20);

/// The code of the error that a login ended with.
async fn refused(options: &ConnectOptions) -> Option<u16> {
    Connection::connect(options).await.expect_err("refused").code()
}

/// All that the other side says until it closes.
async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is an end too.
    _ = tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await.expect("it closes");
    read
}

#[tokio::test]
async fn the_connection_too_many_is_told_so_and_another_gets_in_when_one_leaves() {
    let stage = Stage::empty(Limits { connections: 3, ..Limits::default() }).await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(stage.connect().await);
    }
    assert_eq!(refused(&stage.options()).await, Some(1040));
    inside.pop();
    let deadline = tokio::time::Instant::now() + SOON;
    while Connection::connect(&stage.options()).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room after one has left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for connection in &mut inside {
        connection.ping().await.unwrap();
    }
}

#[tokio::test]
async fn who_says_nothing_before_the_login_is_closed_and_does_not_keep_others_out() {
    let limits =
        Limits { login_timeout: Duration::from_millis(300), logins_per_address: 4, ..Limits::default() };
    let stage = Stage::empty(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(stage.address).await.unwrap());
    }
    let mut greeting = [0; 5];
    for stream in &mut silent {
        stream.read_exact(&mut greeting).await.unwrap();
    }
    assert_eq!(refused(&stage.options()).await, Some(1040), "four are logging in");
    for stream in &mut silent {
        to_the_end(stream).await;
    }
    stage.connect().await.ping().await.unwrap();
}

#[tokio::test]
async fn a_large_packet_before_the_login_is_not_read() {
    let stage = Stage::empty(Limits::default()).await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(&[0xff, 0xff, 0xff, 1]).await.unwrap();
    // Closed at the header, not after 16 MiB that never come.
    to_the_end(&mut stream).await;
}

#[tokio::test]
async fn a_session_without_commands_is_ended_and_a_dump_is_not() {
    let stage =
        Stage::golden_at(0, Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    let mut idle = stage.connect().await;
    let mut dump = stage.dump("", DumpFlags::NONE).await;
    let until = tokio::time::Instant::now() + Duration::from_millis(900);
    while tokio::time::Instant::now() < until {
        dump.next().await.unwrap();
    }
    assert_eq!(idle.ping().await.expect_err("ended").code(), Some(4031));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_made_to_wait_and_nobody_is_anonymous() {
    let stage = Stage::empty(Limits::default()).await;
    let wrong = [("link", "guess"), ("link", ""), ("", ""), ("root", ""), ("root", PASSWORD)];
    for (user, password) in wrong {
        let options =
            ConnectOptions { user: user.into(), password: Secret::new(password), ..stage.options() };
        assert_eq!(refused(&options).await, Some(1045), "{user} {password}");
    }
    let options = ConnectOptions { password: Secret::new("guess"), ..stage.options() };
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(refused(&options).await, Some(1045));
    }
    // 200 + 400 + 800 + 1600 ms, by the failures before.
    assert!(began.elapsed() > Duration::from_millis(2900), "{:?}", began.elapsed());
    stage.connect().await.ping().await.unwrap();
}

/// A client of bytes: it can log in, and say anything.
struct Raw(TcpStream);

impl Raw {
    /// From an address of its own: who fails to log in is slowed down per address.
    async fn connect(stage: &Stage, from: [u8; 4]) -> (Self, Vec<u8>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(stage.address).await.unwrap();
        let greeting = Self::packet(&mut stream).await.unwrap();
        // The random bytes: 8 behind the version and the number, the rest behind the capabilities.
        let at = greeting.iter().position(|byte| *byte == 0).unwrap() + 5;
        let nonce = [&greeting[at..at + 8], &greeting[at + 27..at + 39]].concat();
        (Self(stream), nonce)
    }

    async fn packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let mut packet = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        stream.read_exact(&mut packet).await?;
        Ok(packet)
    }

    async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let [a, b, c, ..] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        // The other side may have closed: that is its right.
        _ = self.0.write_all(&[&[a, b, c, sequence], payload].concat()).await;
    }

    async fn log_in(&mut self, nonce: &[u8]) {
        self.send(1, &response(nonce)).await;
        assert_eq!(Self::packet(&mut self.0).await.unwrap(), [1, 3], "the fast path");
        assert_eq!(Self::packet(&mut self.0).await.unwrap()[0], 0, "logged in");
    }

    /// Says no more, and hears what comes.
    async fn finish(mut self) {
        _ = self.0.shutdown().await;
        to_the_end(&mut self.0).await;
    }
}

/// A right answer to the greeting.
fn response(nonce: &[u8]) -> Vec<u8> {
    const CAPABILITIES: u32 = 1 | 1 << 9 | 1 << 15 | 1 << 19;
    let h1 = Sha256::digest(PASSWORD);
    let mask = Sha256::new().chain_update(Sha256::digest(h1)).chain_update(nonce).finalize();
    let mut out = Vec::new();
    out.put_u32_le(CAPABILITIES);
    out.put_u32_le(1 << 24);
    out.put_u8(255);
    out.put_bytes(0, 23);
    out.put_slice(b"link\0\x20");
    out.extend(h1.iter().zip(mask).map(|(a, b)| a ^ b));
    out.put_slice(b"caching_sha2_password\0");
    out
}

fn bytes(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..=most)];
    random.fill_bytes(&mut bytes);
    bytes
}

/// One hostile client.
async fn attack(stage: &Stage, random: &mut StdRng) {
    let (mut raw, nonce) = Raw::connect(stage, [127, random.random(), random.random(), 7]).await;
    match random.random_range(0..5) {
        0 => {
            let noise = bytes(random, 3000);
            _ = raw.0.write_all(&noise).await;
        }
        1 => {
            let mut payload = response(&nonce);
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..payload.len());
                payload[at] = random.random();
            }
            payload.truncate(random.random_range(0..=payload.len()));
            raw.send(1, &payload).await;
        }
        2 => {
            // A TLS record where none was agreed on.
            let hello = [&[0x16, 3, 1, 2, 0][..], &bytes(random, 600)].concat();
            _ = raw.0.write_all(&hello).await;
        }
        _ => {
            raw.log_in(&nonce).await;
            for _ in 0..random.random_range(1..6) {
                let mut payload = bytes(random, 200);
                // Mostly commands that there are, with nonsense behind them.
                let commands = [0x03, 0x04, 0x09, 0x0e, 0x12, 0x15, 0x16, 0x17, 0x1b, 0x1e, 0x1f];
                if !payload.is_empty() && random.random_bool(0.9) {
                    payload[0] = commands[random.random_range(0..commands.len())];
                }
                let sequence = if random.random_bool(0.9) { 0 } else { random.random() };
                raw.send(sequence, &payload).await;
            }
        }
    }
    raw.finish().await;
}

#[tokio::test]
async fn arbitrary_bytes_end_no_more_than_their_own_connection() {
    const VARIABLE: &str = "TWINLOG_TEST_SEED";
    let seed = std::env::var(VARIABLE).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("seed: {seed} (replay with {VARIABLE}={seed})");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::golden_at(0, Limits::default()).await;
    let mut dump = stage.dump("", DumpFlags::NONE).await;
    let mut session = stage.connect().await;
    for round in 0..600 {
        attack(&stage, &mut random).await;
        if round % 20 == 0 {
            session.ping().await.unwrap();
            dump.next().await.unwrap();
            while dump.try_next().unwrap().is_some() {}
        }
    }
    stage.connect().await.ping().await.unwrap();
    dump.next().await.unwrap();
}
