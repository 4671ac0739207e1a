//! Ports that a relay can be told to listen on.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports of the servers and of outgoing connections.
const FIRST: u16 = 10_000;
const COUNT: u16 = 5_000;

/// A port on loopback that is free at this moment and is not given to anyone else of this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side start at different places.
    let start = std::process::id() % u32::from(COUNT);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "no free port after {COUNT} attempts");
        let port = FIRST + u16::try_from((start + u32::from(step)) % u32::from(COUNT)).expect("below COUNT");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
