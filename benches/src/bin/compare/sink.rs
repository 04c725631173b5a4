//! A server that reads produce requests and says yes: what the generator of frames reaches at most.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

use crate::frames;

/// Starts it on a port of its own, for as long as this process lives; its address.
///
/// # Errors
/// No port.
pub fn start(topic: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let answer = frames::produce_answer(topic)?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let answer = answer.clone();
            // A client that closes its connection is the end of it.
            thread::spawn(move || drop(serve(socket, &answer)));
        }
    });
    Ok(address)
}

fn serve(mut socket: TcpStream, answer: &[u8]) -> Result<()> {
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        message.resize(usize::try_from(u32::from_be_bytes(length))?, 0);
        socket.read_exact(&mut message)?;
        socket.write_all(answer)?;
    }
}
