//! What every TCP connection here is set to.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// A connection that has been silent this long is asked whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// And asked again at this distance.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// So many times; then it is broken.
const PROBES: u32 = 3;

/// Small packets go out at once, and a peer that has vanished is noticed also where an answer is waited for
/// that may take hours: after a minute, not never.
///
/// # Errors
///
/// Those of the system: the socket is closed already.
pub fn prepare_socket(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}
