//! Hostile bytes on the Kafka port: the connection is closed, and nobody else notices.
//!
//! What requests may hold is tested beside their decoder (`broker/src/listener/kafka/codec/tests`).

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::Daemon;

const PATIENCE: Duration = Duration::from_secs(10);
const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
/// No request has this key.
const UNKNOWN: i16 = 4_242;

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request with header version 1, behind its length.
fn request(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(api_key.to_be_bytes());
    message.extend(version.to_be_bytes());
    message.extend(correlation_id.to_be_bytes());
    message.extend((-1_i16).to_be_bytes());
    message.extend(body);
    let length = i32::try_from(message.len()).expect("a small message");
    [&length.to_be_bytes()[..], &message].concat()
}

/// The next answer without its length.
fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Sends bytes and expects that the connection is closed without an answer.
fn is_closed(address: SocketAddr, bytes: &[u8]) -> Result<bool> {
    let mut stream = connect(address)?;
    stream.write_all(bytes)?;
    let mut found = Vec::new();
    match stream.read_to_end(&mut found) {
        Ok(_) => Ok(found.is_empty()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(found.is_empty()),
        Err(error) => Err(error).context("the connection stays open"),
    }
}

#[test]
fn bytes_that_are_no_request_close_their_connection_and_no_other() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut healthy = connect(daemon.kafka())?;
    let many_topics = request(METADATA, 1, 1, &0x7fff_ffff_i32.to_be_bytes());
    let cases: [(&str, Vec<u8>); 8] = [
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        ("length of 2 GiB", i32::MAX.to_be_bytes().to_vec()),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("no header", vec![0, 0, 0, 2, 0, 18]),
        ("unknown key", request(UNKNOWN, 0, 1, &[])),
        (
            "version that is advertised and refused",
            request(PRODUCE, 0, 1, &[0; 10]),
        ),
        ("version beyond the last", request(METADATA, 99, 1, &[])),
        ("2^31 - 1 topics", many_topics),
    ];
    for (case, bytes) in &cases {
        ensure!(is_closed(daemon.kafka(), bytes)?, "{case}: is answered");
        // Whoever was connected before still is.
        healthy.write_all(&request(API_VERSIONS, 0, 7, &[]))?;
        let answer = answer(&mut healthy).with_context(|| case.to_string())?;
        assert_eq!(
            answer[..6],
            [0, 0, 0, 7, 0, 0],
            "{case}: correlation id, no error"
        );
    }
    ensure!(
        daemon.log_tail().contains("connection is closed"),
        "{}",
        daemon.log_tail()
    );
    Ok(())
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut stream = connect(daemon.kafka())?;
    // The header of a version so new has tagged fields: none. What follows nobody knows.
    stream.write_all(&request(API_VERSIONS, 99, 5, &[0, 1, 2, 3]))?;
    let answer = answer(&mut stream)?;
    let unsupported_version = 35;
    assert_eq!(answer[..6], [0, 0, 0, 5, 0, unsupported_version]);
    let keys = i32::from_be_bytes(answer[6..10].try_into()?);
    let each = 6;
    assert_eq!(
        answer.len(),
        10 + usize::try_from(keys)? * each,
        "of version 0"
    );
    Ok(())
}

#[test]
fn answers_leave_in_the_order_of_their_requests() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut stream = connect(daemon.kafka())?;
    let no_topics = 0_i32.to_be_bytes();
    let mut pipelined = Vec::new();
    for correlation_id in 0..20 {
        let (api_key, body): (i16, &[u8]) = match correlation_id % 2 {
            0 => (API_VERSIONS, &[]),
            _ => (METADATA, &no_topics),
        };
        pipelined.extend(request(api_key, 0, correlation_id, body));
    }
    stream.write_all(&pipelined)?;
    for correlation_id in 0..20_i32 {
        assert_eq!(answer(&mut stream)?[..4], correlation_id.to_be_bytes());
    }
    Ok(())
}
