//! A mail server for tests: takes what it is given and shows it, or refuses as it is told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use identity_service::mail::settings::Encryption;
use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// Listens on one port for as long as it lives, with breaks.
pub struct SmtpServer {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    door: Door,
    accepting: JoinHandle<()>,
}

/// How one gets in.
#[derive(Clone)]
struct Door {
    encryption: Encryption,
    tls: Option<TlsAcceptor>,
    /// What a log-in says, where one has to log in.
    password: Option<String>,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

type Stream = BufReader<Box<dyn Wire>>;

/// A message that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with the dots as they were before the journey.
    pub data: String,
}

#[derive(Default)]
struct Desk {
    messages: Vec<Message>,
    commands: Vec<String>,
    unknown: BTreeSet<String>,
    busy: usize,
}

impl SmtpServer {
    /// Speaks in clear, and lets nobody log in.
    pub async fn start() -> Self {
        Self::open(Door { encryption: Encryption::None, tls: None, password: None }).await
    }

    /// Takes letters of this user alone, and only by TLS.
    pub async fn start_with(
        encryption: Encryption,
        certified: &CertifiedKey<KeyPair>,
        user: &str,
        password: &str,
    ) -> Self {
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let password = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        let tls = Some(TlsAcceptor::from(Arc::new(config)));
        Self::open(Door { encryption, tls, password: Some(password) }).await
    }

    async fn open(door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::default();
        let accepting = tokio::spawn(accept(listener, door.clone(), Arc::clone(&desk)));
        Self { address, desk, door, accepting }
    }

    /// For `IDENTITY_MAIL_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it took so far.
    pub fn messages(&self) -> Vec<Message> {
        self.desk.lock().unwrap().messages.clone()
    }

    /// The verbs that it heard so far.
    pub fn commands(&self) -> Vec<String> {
        self.desk.lock().unwrap().commands.clone()
    }

    /// From now on nobody has this address.
    pub fn refuse_recipient_for_good(&self, address: &str) {
        self.desk.lock().unwrap().unknown.insert(address.to_owned());
    }

    /// The next recipients are to be tried again later.
    pub fn be_busy(&self, times: usize) {
        self.desk.lock().unwrap().busy = times;
    }

    /// Ends every connection and takes no more.
    pub async fn go_down(&mut self) {
        self.accepting.abort();
        _ = (&mut self.accepting).await;
    }

    /// Listens again where it did before.
    pub async fn come_up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (door, desk) = (self.door.clone(), Arc::clone(&self.desk));
        self.accepting = tokio::spawn(accept(listener, door, desk));
    }
}

/// Its connections end with it.
async fn accept(listener: TcpListener, door: Door, desk: Arc<Mutex<Desk>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (door, desk) = (door.clone(), Arc::clone(&desk));
        connections.spawn(async move {
            let stream = Box::new(stream);
            let stream = if door.encryption == Encryption::Tls {
                door.encrypt(stream).await?
            } else {
                stream
            };
            converse(BufReader::new(stream), door, desk).await
        });
    }
}

impl Door {
    async fn encrypt(&self, stream: Box<dyn Wire>) -> Option<Box<dyn Wire>> {
        let stream = self.tls.as_ref()?.accept(stream).await.ok()?;
        Some(Box::new(stream))
    }

    fn greeting(&self, is_encrypted: bool) -> &'static str {
        if self.encryption == Encryption::StartTls && !is_encrypted {
            return "250-mail.test\r\n250 STARTTLS";
        }
        "250-mail.test\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 SMTPUTF8"
    }
}

/// Until the other side says good-bye or nothing more.
async fn converse(mut stream: Stream, door: Door, desk: Arc<Mutex<Desk>>) -> Option<()> {
    let (mut is_encrypted, mut is_known) = (door.encryption == Encryption::Tls, false);
    say(&mut stream, "220 mail.test at your service").await?;
    let mut message = Message::default();
    loop {
        let line = hear(&mut stream).await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        desk.lock().unwrap().commands.push(verb.clone());
        let reply = match verb.as_str() {
            "EHLO" => door.greeting(is_encrypted),
            "STARTTLS" if !is_encrypted && door.tls.is_some() => {
                say(&mut stream, "220 go on").await?;
                stream = BufReader::new(door.encrypt(stream.into_inner()).await?);
                is_encrypted = true;
                continue;
            }
            "AUTH" => {
                is_known = line.split(' ').next_back() == door.password.as_deref();
                if is_known { "235 2.7.0 welcome" } else { "535 5.7.8 nobody of that name" }
            }
            "MAIL" if door.password.is_some() && !is_known => "530 5.7.0 log in first",
            "NOOP" => "250 OK",
            "RSET" => {
                message = Message::default();
                "250 OK"
            }
            "MAIL" => {
                message = Message { from: address(&line), ..Message::default() };
                "250 OK"
            }
            "RCPT" => {
                let reply = desk.lock().unwrap().reply_to_recipient(&address(&line));
                if reply.starts_with("250") {
                    message.to.push(address(&line));
                }
                reply
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                message.data = hear_data(&mut stream).await?;
                desk.lock().unwrap().messages.push(std::mem::take(&mut message));
                "250 OK"
            }
            "QUIT" => return say(&mut stream, "221 good-bye").await,
            _ => "502 not that",
        };
        say(&mut stream, reply).await?;
    }
}

impl Desk {
    fn reply_to_recipient(&mut self, address: &str) -> &'static str {
        if self.unknown.contains(address) {
            return "550 5.1.1 nobody of that name";
        }
        if self.busy > 0 {
            self.busy -= 1;
            return "451 4.7.1 try again later";
        }
        "250 OK"
    }
}

async fn say(stream: &mut Stream, reply: &str) -> Option<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()
}

async fn hear(stream: &mut Stream) -> Option<String> {
    let mut line = String::new();
    let bytes = stream.read_line(&mut line).await.ok()?;
    (bytes > 0).then(|| line.trim_end_matches("\r\n").to_owned())
}

/// Up to the dot that stands alone; other dots at a line's beginning were doubled.
async fn hear_data(stream: &mut Stream) -> Option<String> {
    let mut data = String::new();
    loop {
        let line = hear(stream).await?;
        if line == "." {
            return Some(data);
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push_str("\r\n");
    }
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap();
    rest.split_once('>').unwrap().0.to_owned()
}
