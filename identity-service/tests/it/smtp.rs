//! A mail server for tests: takes what it is given and shows it, or refuses as it is told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Listens on one port for as long as it lives, with breaks.
pub struct SmtpServer {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    accepting: JoinHandle<()>,
}

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
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&desk)));
        Self { address, desk, accepting }
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
        self.accepting = tokio::spawn(accept(listener, Arc::clone(&self.desk)));
    }
}

/// Its connections end with it.
async fn accept(listener: TcpListener, desk: Arc<Mutex<Desk>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&desk)));
    }
}

/// Until the other side says good-bye or nothing more.
async fn converse(stream: TcpStream, desk: Arc<Mutex<Desk>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 mail.test at your service").await?;
    let mut message = Message::default();
    loop {
        let line = hear(&mut stream).await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        desk.lock().unwrap().commands.push(verb.clone());
        let reply = match verb.as_str() {
            "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 SMTPUTF8",
            "AUTH" => "535 5.7.8 nobody may log in",
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

async fn say(stream: &mut BufReader<TcpStream>, reply: &str) -> Option<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()
}

async fn hear(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let bytes = stream.read_line(&mut line).await.ok()?;
    (bytes > 0).then(|| line.trim_end_matches("\r\n").to_owned())
}

/// Up to the dot that stands alone; other dots at a line's beginning were doubled.
async fn hear_data(stream: &mut BufReader<TcpStream>) -> Option<String> {
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
