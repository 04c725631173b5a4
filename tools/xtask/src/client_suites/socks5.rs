//! [`Proxy`]: a SOCKS5 proxy (RFC 1928) without authentication, for the test that connects through one.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, ensure};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
/// The request succeeded, over an address that nobody asks for.
const CONNECTED: [u8; 10] = [VERSION, 0, 0, IPV4, 0, 0, 0, 0, 0, 0];

/// A proxy that runs until this process ends.
pub(crate) struct Proxy {
    pub(crate) address: String,
}

impl Proxy {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that cannot be served sees its connection end.
                thread::spawn(|| drop(serve(client)));
            }
        });
        Ok(Self { address })
    }
}

fn serve(mut client: TcpStream) -> Result<()> {
    let [version, methods] = read(&mut client)?;
    ensure!(version == VERSION, "version {version} is not SOCKS5");
    client.read_exact(&mut vec![0; methods.into()])?;
    client.write_all(&[VERSION, NO_AUTHENTICATION])?;
    let [_, command, _, address_type] = read(&mut client)?;
    ensure!(command == CONNECT, "command {command} is not CONNECT");
    let host = match address_type {
        IPV4 => Ipv4Addr::from(read(&mut client)?).to_string(),
        DOMAIN_NAME => {
            let [length] = read(&mut client)?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name)?;
            String::from_utf8(name).context("a host's name is text")?
        }
        other => anyhow::bail!("an address of type {other}"),
    };
    let port = u16::from_be_bytes(read(&mut client)?);
    let server = TcpStream::connect((host, port))?;
    client.write_all(&CONNECTED)?;
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let back = thread::spawn(|| relay(server_too, client_too));
    relay(client, server)?;
    back.join().expect("it relays only")?;
    Ok(())
}

fn relay(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

fn read<const BYTES: usize>(stream: &mut TcpStream) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_to_the_host_that_is_asked_for() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = server.local_addr().expect("bound").port();
        thread::spawn(move || {
            let (mut client, _) = server.accept().expect("a client");
            let asked: [u8; 4] = read(&mut client).expect("four bytes");
            client.write_all(&asked).expect("takes them back");
        });
        let proxy = Proxy::start().expect("starts");
        let mut client = TcpStream::connect(proxy.address).expect("connects");
        client
            .write_all(&[VERSION, 1, NO_AUTHENTICATION])
            .expect("sent");
        assert_eq!(read(&mut client).expect("a method"), [VERSION, 0]);
        let mut request = vec![VERSION, CONNECT, 0, DOMAIN_NAME, 9];
        request.extend(b"127.0.0.1");
        request.extend(port.to_be_bytes());
        client.write_all(&request).expect("sent");
        assert_eq!(read(&mut client).expect("an answer"), CONNECTED);
        client.write_all(b"echo").expect("sent");
        assert_eq!(&read::<4>(&mut client).expect("echoed"), b"echo");
    }
}
