//! A free port for a server that cannot be asked to choose one itself (`kube-apiserver --secure-port=0` means "none").

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Below the ports that systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere). In that range a client
/// that reconnects while the server restarts may be given the server's own port, connect to itself, and keep the port taken.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port on 127.0.0.1 that nobody listens on now. Somebody may a moment later, so the caller must be ready to try another.
pub(super) fn free() -> io::Result<SocketAddr> {
    // Test processes that start together must not all try the same ports; the standard library's only random source will do.
    let random = RandomState::new().hash_one(());
    let count = u64::from(PORTS.end - PORTS.start);
    let candidates = (0..count).filter_map(|step| u16::try_from((random % count + step) % count).ok());
    candidates
        .map(|offset| SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + offset)))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("no port of {PORTS:?} is free")))
}
