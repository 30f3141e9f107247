//! A stand-in for a connection pooler, good for two clients: with `shares`, whoever begins a
//! transaction gets what served the other one, as poolers by transaction do.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use service_kit::config::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream, tcp, unix},
    sync::Mutex,
};
use url::Url;

/// Starts one before a database; returns the URL that leads through it.
pub async fn before(database: &Secret, shares: bool) -> Secret {
    let mut url = Url::parse(database.expose()).unwrap();
    let folder = percent_decode_str(url.host_str().unwrap()).decode_utf8().unwrap().into_owned();
    let socket = format!("{folder}/.s.PGSQL.{}", url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        let pooler = Arc::new(Mutex::new(Pooler::default()));
        for number in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let server = UnixStream::connect(&socket).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            pooler.lock().await.add(to_client, to_server);
            tokio::spawn(up(number, from_client, pooler.clone(), shares));
            tokio::spawn(down(number, from_server, pooler.clone()));
        }
    });
    Secret::new(url.to_string())
}

#[derive(Default)]
struct Pooler {
    clients: Vec<tcp::OwnedWriteHalf>,
    servers: Vec<unix::OwnedWriteHalf>,
    are_swapped: bool,
}

impl Pooler {
    fn add(&mut self, client: tcp::OwnedWriteHalf, server: unix::OwnedWriteHalf) {
        self.clients.push(client);
        self.servers.push(server);
    }

    /// Of the first two, each other's; everybody else keeps their own.
    fn partner(&self, number: usize) -> usize {
        if self.are_swapped && number < 2 { 1 - number } else { number }
    }
}

/// What a client says: it asks and waits, so what is read at once is a whole question.
async fn up(
    number: usize,
    mut client: tcp::OwnedReadHalf,
    pooler: Arc<Mutex<Pooler>>,
    shares: bool,
) -> Option<()> {
    let mut said = [0; 1 << 14];
    loop {
        let length = client.read(&mut said).await.ok()?;
        let said = said.get(..length).filter(|said| !said.is_empty())?;
        let mut pooler = pooler.lock().await;
        if shares && number == 1 && said.windows(14).any(|part| part == b"BEGIN; SELECT ") {
            pooler.are_swapped = true;
        }
        let partner = pooler.partner(number);
        pooler.servers[partner].write_all(said).await.ok()?;
    }
}

async fn down(
    number: usize,
    mut server: unix::OwnedReadHalf,
    pooler: Arc<Mutex<Pooler>>,
) -> Option<()> {
    let mut said = [0; 1 << 14];
    loop {
        let length = server.read(&mut said).await.ok()?;
        let said = said.get(..length).filter(|said| !said.is_empty())?;
        let mut pooler = pooler.lock().await;
        let partner = pooler.partner(number);
        pooler.clients[partner].write_all(said).await.ok()?;
    }
}
