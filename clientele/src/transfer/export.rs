//! How do clients become the rows of a file?
//!
//! JSON lines are written as they come. A table begins with the names of all its columns, and
//! only the last client shows which labels there are: so clients wait in a file without a name
//! until all of them are there.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use prost::Message;
use proto::crm::v1::{Client, ExportClientsRequest};
use tempfile::NamedTempFile;

use super::{
    columns::{Column, WRITTEN, status},
    csv,
    fault::{Break, Fault, Patience},
    jsonl,
    progress::{Progress, grouped},
    rows::{Format, is_standard},
    server::{Server, ServerOptions},
};

/// Export clients to a CSV file or to JSON lines.
///
/// All that match every filter and that the caller sees, oldest first. Ends with 0, and with 2
/// when it could not be done: then there is no new file, and an old one is as it was.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// The file, which is replaced if it is there; - is standard output.
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    server: ServerOptions,
    /// How the file is written. Without it: as its name ends.
    #[arg(long)]
    format: Option<Format>,
    /// Only clients in one of these: active, inactive, onboarding, paused, cancelled.
    #[arg(long, value_delimiter = ',')]
    status: Vec<String>,
    /// Only clients of this country, such as NL.
    #[arg(long, default_value = "")]
    country: String,
    /// Only clients for whom each of these words begins a word of name or e-mail address.
    #[arg(long, default_value = "")]
    search: String,
    /// Only clients of this coach.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    coach_id: i64,
    /// Only clients of this closer.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    closer_id: i64,
    /// Only clients of this setter.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    setter_id: i64,
}

/// Exports to the file.
pub async fn run(options: ExportOptions) -> Result<(), Fault> {
    let format = Format::of(options.format, &options.file)?;
    let server = Server::new(&options.server)?;
    let mut output = Output::open(&options.file)?;
    let mut kept = match format {
        Format::Jsonl => Kept::Written,
        Format::Csv => Kept::Apart(Spool::new().map_err(unwritable)?),
    };
    let progress = Progress::without_end();
    let mut export = Export { server, request: request(options)?, rows: 0, progress };
    let done = export.until_done(&mut |client| kept.take(client, &mut output)).await;
    export.progress.end();
    done?;
    kept.finish(&mut output).map_err(unwritable)?;
    output.end().map_err(unwritable)?;
    eprintln!("{} clients.", grouped(export.rows));
    Ok(())
}

fn request(options: ExportOptions) -> Result<ExportClientsRequest, Fault> {
    let ExportOptions { country, search, coach_id, closer_id, setter_id, .. } = options;
    let statuses = options.status.iter().map(|text| status(text).map(Into::into));
    let status =
        statuses.collect::<Result<_, _>>().map_err(|flaw| Fault::new(format!("{flaw}.")))?;
    let page_token = String::new();
    Ok(ExportClientsRequest { status, country, search, coach_id, closer_id, setter_id, page_token })
}

struct Export {
    server: Server,
    /// What is still to come.
    request: ExportClientsRequest,
    rows: u64,
    progress: Progress,
}

impl Export {
    async fn until_done(
        &mut self,
        take: &mut impl FnMut(&Client) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let mut patience = Patience::default();
        loop {
            let before = self.rows;
            let Err(broken) = self.stream(take).await else { return Ok(()) };
            let (said, pause) = patience.with(broken, self.rows > before)?;
            self.progress.say(format_args!("{said} Trying again."));
            tokio::time::sleep(pause).await;
        }
    }

    async fn stream(
        &mut self,
        take: &mut impl FnMut(&Client) -> io::Result<()>,
    ) -> Result<(), Break> {
        let request = self.server.signed(self.request.clone());
        let mut answers = self.server.clients().export_clients(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            for client in &answer.clients {
                take(client).map_err(|error| Break::Final(unwritable(error)))?;
            }
            self.rows += answer.clients.len() as u64;
            self.progress.rows(self.rows);
            if answer.next_page_token.is_empty() {
                return Ok(());
            }
            self.request.page_token = answer.next_page_token;
        }
        Err(Break::Passing("The server ended before all clients were sent.".into()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it goes into map_err")]
fn unwritable(error: io::Error) -> Fault {
    Fault::new(format!("It cannot be written: {error}."))
}

/// Where clients are until all of them are there.
enum Kept {
    /// Where they belong.
    Written,
    /// In a place of their own.
    Apart(Spool),
}

impl Kept {
    fn take(&mut self, client: &Client, output: &mut Output) -> io::Result<()> {
        match self {
            Self::Written => jsonl::write(output, client),
            Self::Apart(spool) => spool.push(client),
        }
    }

    fn finish(self, output: &mut Output) -> io::Result<()> {
        let Self::Apart(spool) = self else { return Ok(()) };
        let labels = spool.labels.iter().cloned().map(Column::Label);
        let columns = WRITTEN.into_iter().chain(labels).collect();
        let mut table = csv::Writer::begin(output, columns)?;
        spool.each(|client| table.write(&client))?;
        table.end()
    }
}

/// Clients in a file without a name, each behind its length.
struct Spool {
    file: BufWriter<File>,
    labels: BTreeSet<String>,
    clients: u64,
}

impl Spool {
    fn new() -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile()?);
        Ok(Self { file, labels: BTreeSet::new(), clients: 0 })
    }

    fn push(&mut self, client: &Client) -> io::Result<()> {
        for label in client
            .labels
            .keys()
            .filter(|label| !self.labels.contains(*label))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.labels.insert(label);
        }
        let bytes = client.encode_to_vec();
        self.file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.file.write_all(&bytes)?;
        self.clients += 1;
        Ok(())
    }

    fn each(self, mut then: impl FnMut(Client) -> io::Result<()>) -> io::Result<()> {
        let mut file = self.file.into_inner()?;
        file.rewind()?;
        let (mut file, mut length, mut bytes) = (BufReader::new(file), [0; 8], Vec::new());
        for _ in 0..self.clients {
            file.read_exact(&mut length)?;
            bytes.clear();
            file.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
            then(Client::decode(bytes.as_slice()).map_err(io::Error::other)?)?;
        }
        Ok(())
    }
}

/// Standard output, or a file that takes its name when it is complete; until then it is one that
/// only its owner can read.
enum Output {
    Standard(BufWriter<io::Stdout>),
    File { written: BufWriter<NamedTempFile>, name: PathBuf },
}

impl Output {
    fn open(file: &Path) -> Result<Self, Fault> {
        if is_standard(file) {
            return Ok(Self::Standard(BufWriter::new(io::stdout())));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|error| {
            Fault::new(format!("{} cannot be written: {error}.", file.display()))
        })?;
        Ok(Self::File { written: BufWriter::new(written), name: file.to_owned() })
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Standard(mut output) => output.flush(),
            Self::File { written, name } => {
                let written = written.into_inner()?;
                written.as_file().sync_all()?;
                written.persist(name)?;
                Ok(())
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => output.write(buffer),
            Self::File { written, .. } => written.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(output) => output.flush(),
            Self::File { written, .. } => written.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transfer::columns::tests::clients;

    proptest! {
        #[test]
        fn what_waits_comes_out_as_it_went_in(sent in proptest::collection::vec(clients(), 0..5)) {
            let mut spool = Spool::new().unwrap();
            sent.iter().for_each(|client| spool.push(client).unwrap());
            let mut read = Vec::new();
            spool.each(|client| {
                let _: () = read.push(client);
                Ok(())
            }).unwrap();
            prop_assert_eq!(read, sent);
        }
    }

    #[test]
    fn a_file_is_there_when_it_is_complete_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.jsonl");
        let mut output = Output::open(&file).unwrap();
        output.write_all(b"{}\n").unwrap();
        assert!(!file.exists());
        drop(output);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "what broke off leaves nothing");
        let mut output = Output::open(&file).unwrap();
        output.write_all(b"{}\n").unwrap();
        output.end().unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"{}\n");
    }
}
