//! Binds the listeners before anything is served, so that a busy port is a refusal, not a surprise.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::port_owner;
use crate::{
    config::{Config, value::HostPort},
    error::Refusal,
};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// The key that has the addresses of several listeners.
const KAFKA_MORE: &str = "listeners.kafka_more";

/// The bound sockets.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) native: TcpListener,
    /// At least one.
    pub(super) kafka: Vec<KafkaListener>,
    pub(super) http: TcpListener,
    /// Where clients reach the native one.
    pub(super) advertised: HostPort,
    pub(super) http_address: SocketAddr,
}

/// A socket that Kafka clients connect to.
#[derive(Debug)]
pub(super) struct KafkaListener {
    pub(super) listener: TcpListener,
    /// Where they reach it.
    pub(super) advertised: HostPort,
}

impl Listeners {
    /// Binds all.
    ///
    /// # Errors
    /// A name that does not resolve, a busy port, a forbidden one.
    pub(super) fn bind(config: &Config) -> Result<Self, Refusal> {
        let listeners = &config.listeners;
        let native = bind("listeners.native_address", &listeners.native_address)?;
        let kafka = bind_kafka(config)?;
        let http = bind("listeners.http_address", &listeners.http_address)?;
        let to_native = listeners.native_advertised.as_ref();
        Ok(Self {
            http_address: local(&http)?,
            advertised: advertised(to_native, &listeners.native_address, &native)?,
            native,
            kafka,
            http,
        })
    }

    /// Where Kafka clients reach each of their listeners, with commas between.
    pub(super) fn kafka_advertised(&self) -> String {
        let told = self.kafka.iter().map(|one| one.advertised.to_string());
        told.collect::<Vec<_>>().join(",")
    }
}

fn bind_kafka(config: &Config) -> Result<Vec<KafkaListener>, Refusal> {
    let listeners = &config.listeners;
    let first = bind("listeners.kafka_address", &listeners.kafka_address)?;
    let to_first = listeners.kafka_advertised.as_ref();
    let mut bound = vec![KafkaListener {
        advertised: advertised(to_first, &listeners.kafka_address, &first)?,
        listener: first,
    }];
    for more in &listeners.kafka_more {
        bound.push(KafkaListener {
            listener: bind(KAFKA_MORE, &more.address)?,
            advertised: more.advertised.clone(),
        });
    }
    Ok(bound)
}

/// What clients are told: what is configured, else where it listens.
fn advertised(
    configured: Option<&HostPort>,
    address: &HostPort,
    listener: &TcpListener,
) -> Result<HostPort, Refusal> {
    match configured {
        Some(configured) => Ok(configured.clone()),
        None => Ok(HostPort::new(address.host.clone(), local(listener)?.port())),
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Refusal> {
    let address = listener.local_addr();
    address.map_err(|error| Refusal::new(format!("cannot listen: {error}"), "try again"))
}

fn bind(key: &str, address: &HostPort) -> Result<TcpListener, Refusal> {
    let resolved = (address.host.as_str(), address.port).to_socket_addrs();
    let resolved = resolved.ok().and_then(|mut found| found.next());
    let Some(socket_address) = resolved else {
        return Err(Refusal::new(
            format!("{key} {address} does not resolve to an address of this machine"),
            format!("set {key} to a name or address that does"),
        ));
    };
    open(socket_address).map_err(|error| refusal(key, address, &error))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for connections of the process before to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn refusal(key: &str, address: &HostPort, error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::AddrInUse {
        let owner = port_owner::find(address.port);
        let owner = owner.unwrap_or_else(|| "another process".to_owned());
        let other = match key {
            // A flag would set all of them.
            KAFKA_MORE => format!("in {key}"),
            _ => format!("with --set {key}=HOST:PORT"),
        };
        return Refusal::new(
            format!("cannot listen on {address}: the port is in use by {owner}"),
            format!("stop it, or choose another port {other}"),
        );
    }
    Refusal::new(
        format!("cannot listen on {address}: {error}"),
        format!("set {key} to an address of this machine and a port that this user may use"),
    )
}
