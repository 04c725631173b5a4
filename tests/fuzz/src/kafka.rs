//! Requests of Kafka clients, and how they are cut out of what a connection sends.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind};
use millstream_broker::listener::kafka::{
    codec::{Limits, ProduceRequest, RequestHeader, check},
    frames::{FrameError, Frames},
};
use tokio::io::{AsyncRead, ReadBuf};

/// A frame without its length: what the check lets pass, the decoder reads to its end or refuses for a
/// text that is none. What is read by hand is refused where the check refuses it.
pub(crate) fn request(input: &[u8]) {
    let Ok(header) = RequestHeader::parse(input) else {
        return;
    };
    let mut body = Bytes::copy_from_slice(input).split_off(header.size_bytes);
    let (api_key, version) = (header.api_key, header.api_version);
    let limits = Limits::default();
    let checked = check(api_key, version, &body, &limits);
    let Ok(key) = ApiKey::try_from(api_key) else {
        assert!(checked.is_err(), "a key that nobody knows is served");
        return;
    };
    if key == ApiKey::Produce {
        let read = ProduceRequest::read(body.clone(), version, &limits);
        let checked = checked.clone().map(drop);
        assert_eq!(read.map(drop), checked, "produce is read as it is checked");
    }
    let behind = checked.map(|size_bytes| body.len() - size_bytes);
    if let Ok(behind) = behind
        && RequestKind::decode(key, &mut body, version).is_ok()
    {
        assert_eq!(body.len(), behind, "what is behind a request is left over");
    }
}

/// The longest frame that is taken: beyond it a large one is alone in its memory.
const FRAME_BYTES_MAX: usize = 1 << 16;

/// How many bytes a read brings, then what a connection sends: wherever reads end, the frames are those that
/// their lengths say, up to the first that is torn or too long.
pub(crate) fn frames(input: &[u8]) {
    let Some((at_once, sent)) = input.split_first() else {
        return;
    };
    let pieces = Pieces {
        left: sent,
        at_once: usize::from(*at_once).max(1),
    };
    let mut frames = Frames::new(pieces, FRAME_BYTES_MAX);
    let mut left = sent;
    loop {
        match (ready(frames.next()), first(left)) {
            (Ok(Some(found)), First::Frame { frame, behind }) => {
                assert_eq!(found, frame);
                left = behind;
            }
            (Ok(None), First::End)
            | (Err(FrameError::Torn), First::Torn)
            | (Err(FrameError::Length { .. }), First::WrongLength) => return,
            (found, _) => unreachable!("{found:?}, where its lengths say otherwise"),
        }
    }
}

/// What stands first in what is left of a connection.
enum First<'a> {
    Frame { frame: &'a [u8], behind: &'a [u8] },
    End,
    Torn,
    WrongLength,
}

fn first(left: &[u8]) -> First<'_> {
    if left.is_empty() {
        return First::End;
    }
    let Some((length, behind)) = left.split_first_chunk() else {
        return First::Torn;
    };
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length <= FRAME_BYTES_MAX => match behind.split_at_checked(length) {
            Some((frame, behind)) => First::Frame { frame, behind },
            None => First::Torn,
        },
        _ => First::WrongLength,
    }
}

/// The output of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("all bytes are there"),
    }
}

/// A connection that brings so many bytes with each read.
struct Pieces<'a> {
    left: &'a [u8],
    at_once: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.at_once.min(buffer.remaining());
        let left = self.left;
        let (piece, left) = left.split_at(length.min(left.len()));
        buffer.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}
