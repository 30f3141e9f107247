//! How do the rows of a file become clients?
//!
//! A thread reads the file, a task sends its rows, and the answers are read beside it; none of
//! them is ever more than some thousand rows ahead of the next. When the connection breaks the
//! file is sent again from the beginning under the same request id: the server passes over what
//! it has dealt with.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use clap::Args;
use prost::Message;
use proto::crm::v1::{Client, ImportClientsOptions, ImportClientsRequest, ImportClientsResponse};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, spawn_blocking},
};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    columns::Column,
    fault::{Break, Fault, Patience},
    progress::Progress,
    rows::{Flawed, Format, Row, Source},
    server::{Server, ServerOptions},
    tally::Tally,
};

/// A message of the stream has no more rows than this …
const MOST_ROWS: usize = 500;
/// … and ends behind the row with which it has this many bytes.
const ENOUGH_BYTES: usize = 256 << 10;
/// Rows that were sent and not answered.
const WINDOW: usize = 5_000;

/// The field that makes a row unusable: what is wrong with a row here is not all that may be wrong
/// with it, and the server, which knows the rest, must not take it for a good one.
pub const UNUSABLE: &str = "status";
/// A status that no client has.
const NO_STATUS: i32 = -1;

/// Import clients from a CSV file or from JSON lines.
///
/// A row with the e-mail address of a client changes that client, in what is not empty; every
/// other row creates one. Ends with 0 when every row was taken, with 1 when some were refused,
/// which are listed, and with 2 when it could not be done.
#[derive(Debug, Args)]
#[command(after_help = Column::help())]
pub struct ImportOptions {
    /// The file; - is standard input.
    file: PathBuf,
    #[command(flatten)]
    server: ServerOptions,
    /// How the file is written. Without it: as its name ends.
    #[arg(long)]
    format: Option<Format>,
    /// Check everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The id of an import that broke off, to go on with it.
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// Pass over columns that no client has.
    #[arg(long)]
    ignore_unknown_columns: bool,
}

/// Imports the file, and says whether every row was taken.
pub async fn run(options: ImportOptions) -> Result<bool, Fault> {
    let ImportOptions { file, dry_run, ignore_unknown_columns: ignore_unknown, .. } = options;
    let format = Format::of(options.format, &file)?;
    let server = Server::new(&options.server)?;
    let source = Source::open(&file)?;
    // A header that cannot be meant is a reason not to begin.
    drop(source.rows(format, ignore_unknown, |_| {})?);
    let progress = Progress::of_bytes(source.bytes);
    let request_id = options.request_id.unwrap_or_else(Uuid::new_v4).to_string();
    if !dry_run {
        eprintln!("Request id: {request_id}");
    }
    let mut import = Import {
        server,
        source: Arc::new(source),
        format,
        ignore_unknown,
        options: ImportClientsOptions { dry_run, request_id: request_id.clone() },
        tally: Tally::new(progress.clone()),
        progress,
        is_reached: false,
    };
    let done = import.until_done().await;
    import.progress.end();
    println!("{}", import.tally.summary(dry_run));
    match done {
        Ok(()) => Ok(import.tally.refused() == 0),
        Err(fault) if !dry_run && import.is_begun(&fault) => {
            Err(fault.and(&format!("To go on: --request-id {request_id}")))
        }
        Err(fault) => Err(fault),
    }
}

struct Import {
    server: Server,
    source: Arc<Source>,
    format: Format,
    ignore_unknown: bool,
    options: ImportClientsOptions,
    tally: Tally,
    progress: Progress,
    /// Whether the server was ever there.
    is_reached: bool,
}

impl Import {
    /// Whether rows took effect, or may have.
    fn is_begun(&self, fault: &Fault) -> bool {
        fault.leaves_something(self.is_reached, self.tally.answered() > 0)
    }

    async fn until_done(&mut self) -> Result<(), Fault> {
        let mut patience = Patience::default();
        loop {
            let before = self.tally.answered();
            let Err(broken) = self.stream().await else { return Ok(()) };
            let came_further = self.tally.answered() > before;
            if self.is_reached {
                patience.reach();
            }
            let (said, pause) = patience.with(broken, came_further)?;
            self.progress.say(format_args!("{said} Trying again."));
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends all rows, and hears what became of them.
    async fn stream(&mut self) -> Result<(), Break> {
        self.progress.restart();
        let (batches, reading) = self.read();
        let (requests, outgoing) = mpsc::channel(1);
        let (underway, sent) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(WINDOW));
        let sender = Sender { requests, underway, window: window.clone() };
        let sending = tokio::spawn(sender.send_all(self.options.clone(), batches));
        let heard = self.hear(outgoing, sent, &window).await;
        // Whoever still wants to send does so in vain; the file is free for its next reader.
        sending.abort();
        let read = reading.await.unwrap_or_else(|error| Err(Fault::new(error.to_string())));
        read.map_err(Break::Final).and(heard)
    }

    /// Reads the file, as far ahead as it is wanted.
    fn read(&self) -> (mpsc::Receiver<Batch>, JoinHandle<Result<(), Fault>>) {
        let (sender, batches) = mpsc::channel(1);
        let (source, progress) = (self.source.clone(), self.progress.clone());
        let (format, ignore_unknown) = (self.format, self.ignore_unknown);
        let reading = spawn_blocking(move || {
            let passed = move |bytes| progress.passed(bytes as u64);
            let mut batch = Batch::default();
            for row in source.rows(format, ignore_unknown, passed)? {
                batch.push(row?);
                if batch.is_full() && sender.blocking_send(std::mem::take(&mut batch)).is_err() {
                    // Nobody wants more.
                    return Ok(());
                }
            }
            let _unwanted = sender.blocking_send(batch);
            Ok(())
        });
        (batches, reading)
    }

    async fn hear(
        &mut self,
        outgoing: mpsc::Receiver<ImportClientsRequest>,
        mut sent: mpsc::UnboundedReceiver<Lines>,
        window: &Semaphore,
    ) -> Result<(), Break> {
        let rows = self.server.signed(ReceiverStream::new(outgoing));
        let answers = self.server.clients().import_clients(rows).await;
        // One batch is on its way before anybody is there; whoever took another one was.
        self.is_reached |= answers.is_ok() || sent.len() > 1;
        let mut answers = answers?.into_inner();
        let mut lines = VecDeque::new();
        while let Some(answer) = answers.message().await? {
            let ImportClientsResponse { results, complete, .. } = answer;
            for result in &results {
                while lines.is_empty() {
                    let Some(sent) = sent.recv().await else {
                        return Err(Break::Final(Fault::new("The server answers unsent rows.")));
                    };
                    lines.extend(self.told(sent));
                }
                let Sent { line, flaws } = lines.pop_front().unwrap_or_default();
                self.tally.take(line, &flaws, result);
            }
            window.add_permits(results.len());
            if complete {
                while let Some(sent) = sent.recv().await {
                    self.told(sent);
                }
                return Ok(());
            }
        }
        Err(Break::Passing("The server ended before all rows were answered.".into()))
    }

    /// The rows that were sent; those that could not be are dealt with.
    fn told(&mut self, lines: Lines) -> Vec<Sent> {
        for (line, flaws) in lines.refused {
            self.tally.refuse_here(line, &flaws);
        }
        lines.sent
    }
}

/// Rows of one message.
#[derive(Default)]
struct Batch {
    lines: Lines,
    rows: Vec<Client>,
    bytes: usize,
}

/// Where rows stand in the file.
#[derive(Default)]
struct Lines {
    sent: Vec<Sent>,
    refused: Vec<(u64, Vec<String>)>,
}

/// The line of a row that was sent, and what was seen to be wrong with it.
#[derive(Default)]
struct Sent {
    line: u64,
    flaws: Vec<String>,
}

impl Batch {
    fn push(&mut self, Row { line, client }: Row) {
        match client {
            Ok(client) => self.send(Sent { line, flaws: Vec::new() }, client),
            Err(Flawed { flaws, rest: Some(rest) }) => {
                self.send(Sent { line, flaws }, Client { status: NO_STATUS, ..*rest });
            }
            Err(Flawed { flaws, rest: None }) => self.lines.refused.push((line, flaws)),
        }
    }

    fn send(&mut self, sent: Sent, client: Client) {
        self.bytes += client.encoded_len();
        self.rows.push(client);
        self.lines.sent.push(sent);
    }

    fn is_full(&self) -> bool {
        self.bytes >= ENOUGH_BYTES || self.rows.len().max(self.lines.refused.len()) == MOST_ROWS
    }
}

struct Sender {
    requests: mpsc::Sender<ImportClientsRequest>,
    /// Tells whoever reads the answers which lines they are about.
    underway: mpsc::UnboundedSender<Lines>,
    window: Arc<Semaphore>,
}

impl Sender {
    /// Ends with the rows, or when nobody takes them any more.
    async fn send_all(self, options: ImportClientsOptions, mut batches: mpsc::Receiver<Batch>) {
        let begin = ImportClientsRequest { options: Some(options), rows: Vec::new() };
        let mut taken = self.requests.send(begin).await.is_ok();
        while taken && let Some(batch) = batches.recv().await {
            taken = self.send(batch).await.is_some();
        }
    }

    async fn send(&self, batch: Batch) -> Option<()> {
        let rows = u32::try_from(batch.rows.len()).ok()?;
        self.window.acquire_many(rows).await.ok()?.forget();
        self.underway.send(batch.lines).ok()?;
        let request = ImportClientsRequest { options: None, rows: batch.rows };
        self.requests.send(request).await.ok()
    }
}
