//! [`Watched`]: a TCP stream that holds its place among the allowed connections, and that breaks when
//! its peer lets it wait for too long.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a peer may let a connection wait, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a byte in the directions that count.
    pub(super) limit: Duration,
    /// Whether waiting for the peer to send counts, or only for it to take what is sent.
    pub(super) counts_reads: bool,
    /// What the error says.
    pub(super) reason: &'static str,
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Watched<P> {
    stream: TcpStream,
    patience: Patience,
    /// Runs while something waits for the peer.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Given back when the connection is dropped.
    place: P,
}

impl<P> Watched<P> {
    pub(super) fn new(stream: TcpStream, place: P, patience: Patience) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
            place,
        }
    }

    /// What it holds.
    pub(super) const fn place(&self) -> &P {
        &self.place
    }

    /// Takes note of how a read or write went; breaks the connection when it waited too long.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let limit = self.patience.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        let reason = self.patience.reason;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

impl<P: Unpin> Watched<P> {
    /// Writes bytes of a file, which the system copies nowhere on the way (`sendfile`). Waits for the disk
    /// where they are not in the page cache. 0 where the file has none at the position.
    pub(super) fn poll_send_file(
        &mut self,
        context: &mut Context<'_>,
        file: &impl AsFd,
        position: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_call(context, |stream| {
            let mut position = position;
            Ok(rustix::fs::sendfile(
                stream,
                file,
                Some(&mut position),
                length,
            )?)
        })
    }

    /// Writes bytes that others follow at once: the system may keep them to send them together.
    pub(super) fn poll_write_before_more(
        &mut self,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(context, |stream| {
            let mut nothing = SendAncillaryBuffer::default();
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            Ok(rustix::net::sendmsg(stream, buffers, &mut nothing, flags)?)
        })
    }

    /// Makes a call that writes, when there is room.
    fn poll_call(
        &mut self,
        context: &mut Context<'_>,
        call: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = loop {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            let stream = &self.stream;
            match stream.try_io(Interest::WRITABLE, || call(stream)) {
                // It says so until the socket has room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break Poll::Ready(written),
            }
        };
        self.watch(written, context)
    }
}

impl<P: Unpin> AsyncRead for Watched<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.patience.counts_reads {
            self.watch(read, context)
        } else {
            read
        }
    }
}

impl<P: Unpin> AsyncWrite for Watched<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
