//! How are connections taken, kept within limits, and let go?
//!
//! This is a loop of our own and not tonic's, for three reasons: HTTP/1.1 over TLS, answers
//! that nobody reads ([`super::unread`]), and an end to draining: tonic waits for the last
//! connection however long that takes.

use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{body::Incoming, rt::Executor};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{stack::Stack, unread};
use crate::config::ServerSettings;

/// A peer that does not get through a handshake in this time does not mean to.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Every HTTP/2 connection begins with them, and no request of HTTP/1.1 is shorter.
const HTTP2_PREFACE_BYTES: usize = 24;
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// How often a silent HTTP/2 connection is asked whether it still exists …
const PING_EVERY: Duration = Duration::from_secs(30);
/// … and how long it may take to say so.
const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long HTTP/1.1 may take for the headers of a request, the next one included.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Streams that a peer opened and reset before we looked at them: beyond this it is an attack.
const MAX_RESET_STREAMS: usize = 20;
/// The least that hyper takes as a buffer for HTTP/1.1.
const MIN_HTTP1_BUFFER: usize = 8 << 10;
/// How long tasks may take to notice that they are cut off.
const CUT_LIMIT: Duration = Duration::from_secs(1);
/// What we wait where the system has no more files for us: some connection will end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until `stopping` is cancelled, and then lets them end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stack: Stack,
    settings: &ServerSettings,
    stopping: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let door = Door {
        http: http(settings, tasks.clone()),
        stack,
        tls,
        stopping: stopping.clone(),
        cut: CancellationToken::new(),
    };
    let places = Arc::new(Semaphore::new(settings.max_connections));
    while let Some((stream, peer, place)) =
        stopping.run_until_cancelled(accept(&listener, &places)).await
    {
        let welcome = door.clone().welcome(stream, peer);
        tasks.spawn(async move {
            welcome.await;
            drop(place);
        });
    }
    // Closed at once, so that nobody waits for a server that is going.
    drop(listener);
    tasks.close();
    if timeout(settings.drain, tasks.wait()).await.is_err() {
        tracing::warn!(drain = ?settings.drain, "calls were still in flight: they are cut off");
        door.cut.cancel();
        // They only have to notice; what does not is dropped with the runtime.
        let _noticed = timeout(CUT_LIMIT, tasks.wait()).await;
    }
}

/// The next connection, once there is a place for it; until then it waits in the system's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Peer, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, Peer(peer.ip()), place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is at the other end of the connection that a request came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// What every connection is welcomed with.
#[derive(Clone)]
struct Door {
    http: Builder<Streams>,
    stack: Stack,
    tls: Option<TlsAcceptor>,
    /// Cancelled when connections shall end as soon as they are idle.
    stopping: CancellationToken,
    /// Cancelled when they shall end at once.
    cut: CancellationToken,
}

impl Door {
    async fn welcome(self, stream: TcpStream, peer: Peer) {
        // With Nagle's algorithm the slowest answers take 40 ms. A peer that is gone already
        // is noticed soon enough.
        let _gone_already = stream.set_nodelay(true);
        let cut = self.cut.clone();
        let served = async {
            match &self.tls {
                None => {
                    // hyper waits for ever to learn which version of HTTP it is.
                    if let Ok(true) = timeout(HANDSHAKE_LIMIT, begins_to_speak(&stream)).await {
                        self.speak_http(stream, peer).await;
                    }
                }
                // In this task and not before: a slow handshake is its own problem only.
                Some(tls) => match timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.speak_http(stream, peer).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
        };
        cut.run_until_cancelled(served).await;
    }

    async fn speak_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let stack = self.stack.clone();
        let service = stack.map_request(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.map(Body::new)
        });
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let served = async {
            if let Some(end) = self.stopping.run_until_cancelled(connection.as_mut()).await {
                return end;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        if let Some(Err(error)) = unread::until_due(served).await {
            tracing::debug!(error, "connection failed");
        }
    }
}

/// Waits for as many bytes as tell HTTP/2 from HTTP/1.1; false if the peer leaves before.
async fn begins_to_speak(stream: &TcpStream) -> bool {
    let mut first = [0; HTTP2_PREFACE_BYTES];
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return false,
            Ok(HTTP2_PREFACE_BYTES) => return true,
            // Peeking returns at once as long as there is anything.
            Ok(_) => sleep(PEEK_PAUSE).await,
        }
    }
}

/// The protocol and its limits.
fn http(settings: &ServerSettings, tasks: TaskTracker) -> Builder<Streams> {
    let mut http = Builder::new(Streams(tasks));
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MIN_HTTP1_BUFFER.max(settings.max_header_bytes as usize));
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .max_concurrent_streams(settings.max_streams_per_connection)
        .max_header_list_size(settings.max_header_bytes)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS);
    http
}

/// Runs each stream of an HTTP/2 connection as a task that draining waits for.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(unread::until_due(stream));
    }
}
