//! A connection whose client must say something at first, and must read what it is sent (I-9, F-18, F-19).
//!
//! hyper limits how long a request's head may take, but neither how long HTTP/2's opening may, nor how long an answer may lie
//! unread. A connection that is quiet because nobody has anything to say has no timer here (I-11).

use std::{
    future::Future as _,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::limits::{HEADER_TIMEOUT, UNREAD_TIMEOUT};

/// What either version of HTTP begins with has at least so many bytes: HTTP/1 a request line, HTTP/2 its preface of 24.
const OPENING_BYTES: usize = 16;

pub(crate) struct Impatient<S> {
    stream: S,
    /// How much of the opening is there, and until when it must be; none: all of it.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    /// Until when the client must read; none: nothing waits for it.
    unread: Option<Pin<Box<Sleep>>>,
    unread_max: Duration,
}

impl<S> Impatient<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self::with(stream, HEADER_TIMEOUT, UNREAD_TIMEOUT)
    }

    fn with(stream: S, opening_max: Duration, unread_max: Duration) -> Self {
        Self { stream, opening: Some((0, Box::pin(sleep(opening_max)))), unread: None, unread_max }
    }

    /// After a write: an error when the client has not read for too long.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.unread = None;
            return result;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(self.unread_max)));
        ready!(unread.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some((length, until)) = &mut this.opening {
            match result {
                Poll::Ready(_) => {
                    *length += buffer.filled().len() - before;
                    if *length >= OPENING_BYTES {
                        this.opening = None;
                    }
                }
                Poll::Pending => {
                    ready!(until.as_mut().poll(cx));
                    return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client says nothing")));
                }
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.wrote(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.wrote(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left_f19() {
        let (mut client, server) = duplex(64);
        let mut server = Impatient::with(server, SHORT, LONG);
        client.write_all(b"PRI").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(server.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_has_begun_may_be_quiet() {
        let (mut client, server) = duplex(64);
        let mut server = Impatient::with(server, SHORT, SHORT);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 18);
        let quiet = tokio::time::timeout(3 * SHORT, server.read(&mut buffer)).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_left_and_what_it_read_was_whole_f18() {
        let (mut client, server) = duplex(64);
        let mut server = Impatient::with(server, LONG, SHORT);
        let writing = tokio::spawn(async move { server.write_all(&[7; 256]).await });
        let mut buffer = [0; 64];
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, [7; 64]);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
