//! Something between two programs that can hold everything back, or cut it.

use std::{path::PathBuf, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// How things pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Connections end, and there are no new ones.
    Cut,
}

/// Passes on what comes, as it is told to.
pub struct Proxy {
    passage: watch::Sender<Passage>,
    _tasks: JoinSet<()>,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Proxy {
    pub async fn tcp(from: &str, to: String) -> Self {
        let listener = Arc::new(TcpListener::bind(from).await.unwrap());
        let accept = move || {
            let listener = Arc::clone(&listener);
            async move { wire(listener.accept().await.unwrap().0) }
        };
        let connect = move || {
            let to = to.clone();
            async move { TcpStream::connect(to).await.ok().map(wire) }
        };
        Self::between(accept, connect)
    }

    pub fn unix(from: PathBuf, to: PathBuf) -> Self {
        let listener = Arc::new(UnixListener::bind(from).unwrap());
        let accept = move || {
            let listener = Arc::clone(&listener);
            async move { wire(listener.accept().await.unwrap().0) }
        };
        let connect = move || {
            let to = to.clone();
            async move { UnixStream::connect(to).await.ok().map(wire) }
        };
        Self::between(accept, connect)
    }

    fn between<A, C>(
        accept: impl Fn() -> A + Send + 'static,
        connect: impl Fn() -> C + Clone + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Box<dyn Wire>> + Send + 'static,
        C: Future<Output = Option<Box<dyn Wire>>> + Send + 'static,
    {
        let passage = watch::Sender::new(Passage::Open);
        let (mut tasks, told) = (JoinSet::new(), passage.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let inner = accept().await;
                connections.spawn(pass(inner, connect.clone(), told.subscribe()));
            }
        });
        Self { passage, _tasks: tasks }
    }

    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

fn wire(stream: impl Wire + 'static) -> Box<dyn Wire> {
    Box::new(stream)
}

/// One connection, until it ends or is cut.
async fn pass<F>(
    inner: Box<dyn Wire>,
    connect: impl Fn() -> F,
    mut passage: watch::Receiver<Passage>,
) where
    F: Future<Output = Option<Box<dyn Wire>>>,
{
    if *passage.borrow() == Passage::Cut {
        return;
    }
    let Some(outer) = connect().await else { return };
    let (inner_read, inner_write) = tokio::io::split(inner);
    let (outer_read, outer_write) = tokio::io::split(outer);
    let is_cut = passage.clone();
    tokio::select! {
        () = carry(inner_read, outer_write, is_cut.clone()) => {}
        () = carry(outer_read, inner_write, is_cut) => {}
        _ = passage.wait_for(|passage| *passage == Passage::Cut) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passage: watch::Receiver<Passage>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let opened = passage.wait_for(|passage| *passage == Passage::Open).await.is_ok();
        if !opened || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
