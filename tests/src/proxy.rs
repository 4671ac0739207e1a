//! A TCP proxy that can delay, hold, slow and cut what passes, in the place of a wide area network.
//!
//! ```text
//! client ──up──▶ proxy ──up──▶ upstream
//!        ◀─down─       ◀─down─
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::proxy_rules::{Rules, State};

/// One read; small enough that holding and cutting act at once.
const CHUNK: usize = 16 << 10;

/// Chunks on their way in one direction: what a delay of 100 ms at 100 MB/s holds.
const IN_FLIGHT: usize = 640;

/// A server whose answer is swallowed is listened to for so long, so that it can finish what it was asked.
const LISTEN_ON: Duration = Duration::from_secs(60);

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<Rules>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes every connection on to `upstream`.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let rules = Arc::new(Rules::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, Arc::clone(&rules)));
        Self { address, rules, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends all connections at once and takes no new ones.
    pub fn cut(&self) {
        self.rules.cut();
    }

    /// Cuts by itself once so many more bytes have gone from the upstream to the client.
    pub fn cut_after(&self, bytes: u64) {
        self.rules.set_cut_after(bytes);
    }

    /// Is it cut at this moment?
    pub fn is_cut(&self) -> bool {
        !self.rules.follow().borrow().open
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.rules.change(|s| s.open = true);
    }

    /// Delivers nothing any more; connections stay.
    pub fn hold(&self) {
        self.rules.change(|s| s.held = true);
    }

    /// Delivers what was held, and goes on.
    pub fn release(&self) {
        self.rules.change(|s| s.held = false);
    }

    /// Each direction takes so much longer.
    pub fn delay(&self, by: Duration) {
        self.rules.change(|s| s.delay = by);
    }

    /// At most so many bytes a second towards the client.
    pub fn limit(&self, bytes_per_second: u64) {
        self.rules.change(|s| s.bytes_per_second = Some(bytes_per_second));
    }

    /// The next request that holds `pattern` is delivered, its answer is not: the client's connection is closed, while
    /// the upstream's stays until it is done.
    pub fn swallow_the_answer_to(&self, pattern: &str) {
        self.rules.set_swallow(pattern.as_bytes());
    }

    /// How many answers were swallowed.
    pub fn swallowed(&self) -> u64 {
        self.rules.swallowed()
    }

    /// Bytes that went from the upstream to the client.
    pub fn bytes_down(&self) -> u64 {
        self.rules.bytes_down()
    }
}

async fn accept(listener: TcpListener, upstream: String, rules: Arc<Rules>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if rules.follow().borrow().open {
            connections.spawn(connection(client, upstream.clone(), Arc::clone(&rules)));
        }
    }
}

/// One connection until either side closes it or it is cut. Dropping the halves closes them.
async fn connection(client: TcpStream, upstream: String, rules: Arc<Rules>) {
    let mut state = rules.follow();
    let generation = state.borrow().generation;
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let swallowed = {
        let up = up(client_read, server_write, &rules);
        let down = down(server_read, client_write, &rules);
        let cut = state.wait_for(|s| s.generation != generation);
        tokio::select! {
            biased;
            _ = cut => None,
            server = up => server,
            () = down => None,
        }
    };
    if let Some(server) = swallowed {
        // Both halves towards the client are gone. The server's reading half went with `down`; holding the writing
        // half keeps the connection open, and its answer waits in the socket's buffer.
        sleep(LISTEN_ON).await;
        drop(server);
    }
}

/// Upwards. Gives the server's side back when its answer is to be swallowed.
async fn up(from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules) -> Option<OwnedWriteHalf> {
    let mut seen = Vec::new();
    let mut chunks = Chunks::of(from, rules);
    while let Some(chunk) = chunks.next().await {
        to.write_all(&chunk).await.ok()?;
        let fresh = seen.len();
        seen.extend_from_slice(&chunk);
        if rules.swallows(&seen, fresh) {
            return Some(to);
        }
        // What a pattern could have begun in: patterns are words, shorter than this.
        seen.drain(..seen.len().saturating_sub(64));
    }
    None
}

async fn down(from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules) {
    let mut chunks = Chunks::of(from, rules);
    while let Some(chunk) = chunks.next().await {
        let passing = rules.let_down(chunk.len());
        if to.write_all(&chunk[..passing]).await.is_err() {
            return;
        }
        if passing < chunk.len() {
            rules.cut();
            return;
        }
        let limit = chunks.state.borrow().bytes_per_second;
        if let Some(limit) = limit {
            sleep(Duration::from_micros(passing as u64 * 1_000_000 / limit)).await;
        }
    }
}

/// What one side sends, each chunk given when its time has come. A task reads on meanwhile, so that a delay does not
/// slow what passes.
struct Chunks {
    receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    state: watch::Receiver<State>,
    _reader: JoinSet<()>,
}

impl Chunks {
    fn of(from: OwnedReadHalf, rules: &Rules) -> Self {
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let mut reader = JoinSet::new();
        reader.spawn(read_all(from, sender));
        Self { receiver, state: rules.follow(), _reader: reader }
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        let (came, chunk) = self.receiver.recv().await?;
        let delay = self.state.borrow().delay;
        if !delay.is_zero() {
            sleep_until(came + delay).await;
        }
        // Fails only when the proxy is gone, and with it this task.
        let _ = self.state.wait_for(|s| !s.held).await;
        Some(chunk)
    }
}

/// Reads to the end and stamps each chunk with the time it came. What has come is still delivered after the end.
async fn read_all(mut from: OwnedReadHalf, sender: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if sender.send((Instant::now(), buffer[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::Proxy;

    /// An upstream that sends back what it gets.
    async fn echo() -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut r, mut w) = stream.split();
                    let _ = tokio::io::copy(&mut r, &mut w).await;
                });
            }
        });
        (address, tasks)
    }

    async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn bytes_pass_and_a_cut_ends_connections_until_mended() {
        let (upstream, _echo) = echo().await;
        let proxy = Proxy::start(upstream).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
        proxy.cut();
        assert!(ask(&mut stream, b"hello").await.is_err());
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(ask(&mut refused, b"hello").await.is_err());
        proxy.mend();
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut again, b"hello").await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn a_budget_of_bytes_cuts_in_the_middle() {
        let (upstream, _echo) = echo().await;
        let proxy = Proxy::start(upstream).await;
        proxy.cut_after(3);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        assert_eq!(got, b"hel");
        assert!(proxy.is_cut());
    }

    #[tokio::test]
    async fn held_bytes_come_when_released_and_delayed_ones_late() {
        let (upstream, _echo) = echo().await;
        let proxy = Proxy::start(upstream).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.hold();
        let held = tokio::time::timeout(Duration::from_millis(200), ask(&mut stream, b"hello")).await;
        assert!(held.is_err(), "held bytes arrived");
        proxy.release();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        proxy.delay(Duration::from_millis(100));
        let start = Instant::now();
        ask(&mut stream, b"hello").await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_swallowed_answer_closes_the_client_and_leaves_the_upstream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().to_string()).await;
        proxy.swallow_the_answer_to("COMMIT");
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"BINLOG; COM").await.unwrap();
        client.write_all(b"MIT").await.unwrap();
        let mut request = [0; 14];
        server.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"BINLOG; COMMIT");
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
        // The server can still answer: nobody has closed on it.
        server.write_all(b"OK").await.unwrap();
        let closed = tokio::time::timeout(Duration::from_millis(200), server.read(&mut [0; 8])).await;
        assert!(closed.is_err(), "the upstream's connection was closed");
        assert_eq!(proxy.swallowed(), 1);
    }
}
