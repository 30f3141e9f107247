//! Clients in and out of files, with the commands.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use proto::crm::v1::{Client, ClientStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{
    all_in_one::start,
    support::{Caller, Program, binary, folder},
};

/// Everything running, and somebody with a folder for files.
struct Desk {
    _folder: local_postgres::ThrowawayFolder,
    _program: Program,
    caller: Caller,
    server: String,
    files: PathBuf,
}

impl Desk {
    async fn start(name: &str) -> Self {
        let folder = folder(name);
        // Whoever has a token for the commands in their shell starts everything all the same.
        let shell = [("CLIENTELE_TOKEN", "a-token-for-the-commands")];
        let (program, mut caller) = start(&folder.path().join("data"), &shell);
        caller.sign_up("ana").await.unwrap();
        let server = format!("http://{}", caller.crm_address);
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        Self { _folder: folder, _program: program, caller, server, files }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.files.join(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// Runs a command as the person that the caller is.
    fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(&self.server, arguments, "")
    }

    fn run_with(&self, server: &str, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(binary("clientele"));
        let command = command.env_clear().env("CLIENTELE_TOKEN", &self.caller.token);
        let command = command.args(arguments).args(["--server", server]);
        Said::by(command, input)
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn by(command: &mut Command, input: &str) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who ends before it has read everything has a reason.
        let _read = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

/// Clients without what the server adds.
fn said(mut clients: Vec<Client>) -> Vec<Client> {
    for client in &mut clients {
        client.id = 0;
        (client.create_time, client.update_time) = (None, None);
        client.etag.clear();
    }
    clients.sort_by(|one, other| one.first_name.cmp(&other.first_name));
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spreadsheet_comes_in_goes_out_and_comes_in_again_as_it_was() {
    let mut desk = Desk::start("transfer").await;
    let table = "\u{feff}First_Name;last_name;email;phone_number;status;notes;label.tier;label.from\r\n\
        Ada;Lovelace;ada@example.com;+44 20 7946 0000;paused;\"two\r\nlines; and a \"\"quote\"\"\";Gold;\r\n\
        \r\n\
        Zoë;'=1+1;;'+31 6 1234;;-;;fair\r\n";
    let file = desk.file("clients.csv", table);
    let done = desk.run(&["import-clients", path(&file)]).ended_with(0);
    assert_eq!(done.out, "2 rows: 2 created.\n");
    assert!(done.err.starts_with("Request id: "), "{}", done.err);

    let held = said(desk.caller.list().await.unwrap());
    let ada = &held[0];
    assert_eq!(
        (ada.status(), ada.phone_number.as_str()),
        (ClientStatus::Paused, "+44 20 7946 0000")
    );
    assert_eq!(ada.notes, "two\r\nlines; and a \"quote\"");
    assert_eq!((ada.labels.len(), ada.labels["tier"].as_str()), (1, "Gold"));
    let zoe = &held[1];
    assert_eq!((zoe.last_name.as_str(), zoe.phone_number.as_str()), ("=1+1", "+31 6 1234"));

    for name in ["out.csv", "out.jsonl"] {
        let out = desk.files.join(name);
        let done = desk.run(&["export-clients", path(&out)]).ended_with(0);
        assert_eq!((done.out.as_str(), done.err.as_str()), ("", "2 clients.\n"));
        // The same to standard output.
        let format = name.strip_prefix("out.").unwrap();
        let printed = desk.run(&["export-clients", "--format", format]).ended_with(0);
        assert_eq!(printed.out, fs::read_to_string(&out).unwrap());
        assert!(!printed.out.contains(",=") && !printed.out.contains(",+"), "{}", printed.out);
        // In an account of its own both are as they were.
        let hers = std::mem::take(&mut desk.caller.token);
        desk.caller.sign_up(name).await.unwrap();
        desk.run(&["import-clients", path(&out)]).ended_with(0);
        assert_eq!(said(desk.caller.list().await.unwrap()), held, "{name}");
        desk.caller.token = hers;
    }
    // What has an address is there already; the other one is one more.
    let out = desk.files.join("out.csv");
    let done = desk.run(&["import-clients", path(&out)]).ended_with(0);
    assert_eq!(done.out, "2 rows: 1 created, 1 unchanged.\n");
    let filtered =
        ["export-clients", "--format", "jsonl", "--status", "paused", "--search", "love"];
    assert_eq!(desk.run(&filtered).ended_with(0).out.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_its_line() {
    let desk = Desk::start("refused").await;
    let table = "first_name,email,status,coach\n\
        Ada,ada@example.com,active,\n\
        ,eve@example.com,,\n\
        Bob,bob,happy,\n\
        Eve,nobody,,\n\
        Kim,kim@example.com,,99999\n";
    let file = desk.file("clients.csv", table);
    let dry = desk.run(&["import-clients", path(&file), "--dry-run"]).ended_with(1);
    assert!(dry.out.starts_with("5 rows, nothing changed; would be: 1 created, 4 refused.\n"));
    assert_eq!(desk.caller.list().await.unwrap().len(), 0);

    let done = desk.run(&["import-clients", path(&file)]).ended_with(1);
    let mut lines: Vec<_> = done.err.lines().filter(|line| line.starts_with("line ")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "line 3: first_name is required",
            "line 4: status must be one of active, inactive, onboarding, paused, cancelled; email \
             must be an e-mail address such as ana@example.com",
            "line 5: email must be an e-mail address such as ana@example.com",
            "line 6: coach_id must be the id of an employee",
        ]
    );
    assert!(done.out.starts_with("5 rows: 1 created, 4 refused.\n"), "{}", done.out);
    assert_eq!(done.out.matches("  1 × ").count(), 3, "{}", done.out);
    assert!(done.out.contains("  2 × email must be"), "{}", done.out);
    assert_eq!(desk.caller.list().await.unwrap().len(), 1);

    // Again under the same id, from standard input: nothing is done twice.
    let id = done.err.lines().next().unwrap().strip_prefix("Request id: ").unwrap();
    let again = ["import-clients", "-", "--format", "csv", "--request-id", id];
    let again = desk.run_with(&desk.server, &again, table).ended_with(1);
    assert!(again.out.starts_with("5 rows: 1 refused, 4 dealt with before.\n"), "{}", again.out);
    let other = table.replace("Ada", "Eva");
    let reused = ["import-clients", "-", "--format", "csv", "--request-id", id];
    let reused = desk.run_with(&desk.server, &reused, &other).ended_with(2);
    assert!(reused.err.contains("REQUEST_ID_REUSED"), "{}", reused.err);
    assert!(!reused.err.contains("To go on"), "{}", reused.err);
    assert_eq!(desk.caller.list().await.unwrap().len(), 1);

    // Everything that is wrong with a row, whoever sees it; and once is as good as twice.
    let table = "first_name,email,status,country,coach\n,nobody,happy,xx,Ana\n";
    let all = "line 2: status must be one of active, inactive, onboarding, paused, cancelled; \
               coach_id must be the number of an employee; first_name is required; \
               email must be an e-mail address such as ana@example.com; country must be";
    let id = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";
    let import = ["import-clients", "-", "--format", "csv", "--request-id", id];
    for _ in 0..2 {
        let said = desk.run_with(&desk.server, &import, table).ended_with(1);
        assert!(said.out.starts_with("1 rows: 1 refused.\n"), "{}", said.out);
        assert!(!said.err.contains("To go on"), "{}", said.err);
    }
    let dry = ["import-clients", "-", "--format", "csv", "--dry-run"];
    let said = desk.run_with(&desk.server, &dry, table).ended_with(1);
    assert!(said.err.contains(all), "{}", said.err);
    assert_eq!(desk.caller.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let desk = Desk::start("undone").await;
    let good = desk.file("good.csv", "first_name\nAda\n");
    let surname = desk.file("surname.csv", "first_name,surname\nAda,L\n");
    let latin = desk.file("latin.csv", b"first_name\nAda\nJ\xfcrgen\n");
    let unnamed = desk.file("clients", "first_name\n");
    let nowhere = desk.files.join("nowhere.csv");
    for (arguments, sentence) in [
        (&["import-clients", path(&surname)][..], "\"surname\""),
        (&["import-clients", path(&latin)], "Line 3 is not UTF-8 text"),
        (&["import-clients", path(&unnamed)], "--format csv or --format jsonl"),
        (&["import-clients", path(&nowhere)], "nowhere.csv cannot be read"),
        (&["import-clients", path(&good), "--request-id", "7"], "--request-id"),
        (&["export-clients", "x.csv", "--status", "happy"], "status must be one of"),
        (&["export-clients", "x.csv", "--country", "XX"], "INVALID_FIELDS"),
        (&["export-clients", "/nowhere/x.csv"], "cannot be written"),
    ] {
        let said = desk.run(arguments).ended_with(2);
        assert!(said.err.contains(sentence), "{sentence}: {said:?}");
    }
    for (server, sentence) in [
        ("http://127.0.0.1:9", "The connection broke"),
        ("http://crm.example", "--insecure"),
        ("crm.example", "write it like"),
    ] {
        let said = desk.run_with(server, &["import-clients", path(&good)], "").ended_with(2);
        assert!(said.err.contains(sentence), "{sentence}: {said:?}");
    }
    assert!(!desk.files.join("x.csv").exists());
    assert_eq!(desk.caller.list().await.unwrap().len(), 0);

    let mut command = Command::new(binary("clientele"));
    let command = command.env_clear().args(["import-clients", path(&good)]);
    let said = Said::by(command, "").ended_with(2);
    assert!(said.err.contains("CLIENTELE_TOKEN holds no token"), "{said:?}");
    let token = desk.file("token", format!("{}\n", desk.caller.token));
    let command = command.args(["--server", &desk.server, "--token-file", path(&token)]);
    Said::by(command, "").ended_with(0);
    let wrong = desk.file("wrong", "0".repeat(40));
    for command in [["export-clients", "x.csv"], ["import-clients", path(&good)]] {
        let arguments = [&command[..], &["--token-file", path(&wrong)]].concat();
        let said = desk.run(&arguments).ended_with(2);
        assert!(said.err.contains("TOKEN_INVALID"), "{said:?}");
        assert!(!said.err.contains("To go on"), "{said:?}");
    }
    desk.run(&["import-clients", path(&surname), "--ignore-unknown-columns"]).ended_with(0);
    assert_eq!(desk.caller.list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quotation_mark_that_is_never_closed_swallows_no_rows() {
    let desk = Desk::start("unclosed").await;
    let table = "first_name,country,currency,notes\nAda,nl,eur,\nBob,,,\"as he said\nEve,,,\n";
    let file = desk.file("clients.csv", table);
    let said = desk.run(&["import-clients", path(&file)]).ended_with(2);
    let unclosed = "Line 3 opens a quotation mark that is never closed: the rest of the file was";
    assert!(said.err.contains(unclosed), "{}", said.err);
    let names: Vec<_> =
        desk.caller.list().await.unwrap().into_iter().map(|client| client.first_name).collect();
    assert!(names.iter().all(|name| name == "Ada"), "{names:?}");
    let id = said.err.lines().next().unwrap().strip_prefix("Request id: ").unwrap();
    let file = desk.file("clients.csv", table.replace("as he said", "as he said\""));
    desk.run(&["import-clients", path(&file), "--request-id", id]).ended_with(0);
    let clients = said_of(desk.caller.list().await.unwrap());
    assert_eq!(clients, [("Ada", "NL", "EUR"), ("Bob", "", "USD"), ("Eve", "", "USD")].map(owned));

    let help = desk.run(&["import-clients", "--help"]).ended_with(0);
    assert!(help.out.contains("phone_number") && help.out.contains("label.<key>"), "{}", help.out);
}

/// First name, country and currency, by name.
fn said_of(clients: Vec<Client>) -> Vec<(String, String, String)> {
    let mut said: Vec<_> =
        clients.into_iter().map(|it| (it.first_name, it.country, it.currency)).collect();
    said.sort();
    said
}

fn owned((name, country, currency): (&str, &str, &str)) -> (String, String, String) {
    (name.into(), country.into(), currency.into())
}

/// Passes bytes on, and cuts its first connection after so many of them.
async fn unreliable(to: String, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = Arc::new(to);
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let limit = if connection == 0 { bytes } else { u64::MAX };
            let to = to.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to.as_str()).await.unwrap();
                let (near_in, mut near_out) = near.split();
                let (mut far_in, mut far_out) = far.split();
                let mut near_in = near_in.take(limit);
                tokio::select! {
                    _ = copy(&mut near_in, &mut far_out) => {}
                    _ = copy(&mut far_in, &mut near_out) => {}
                }
                _ = near_out.shutdown().await;
            });
        }
    });
    address
}

/// Without addresses: nothing but the request id keeps them from being created twice.
fn rows(number: u32) -> String {
    let rows: Vec<_> = (0..number).map(|n| format!("C{n},{}\n", "x".repeat(200))).collect();
    format!("first_name,notes\n{}", rows.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_made_again_and_no_row_is_imported_twice() {
    let desk = Desk::start("broken").await;
    let file = desk.file("clients.csv", rows(3_000));
    let crm = desk.caller.crm_address.clone();
    let server = format!("http://{}", unreliable(crm, 400_000).await);
    let done = tokio::task::block_in_place(|| {
        desk.run_with(&server, &["import-clients", path(&file)], "").ended_with(0)
    });
    assert!(done.err.contains("Trying again."), "{}", done.err);
    assert!(done.out.starts_with("3,000 rows: "), "{}", done.out);
    let out = desk.files.join("out.jsonl");
    desk.run(&["export-clients", path(&out)]).ended_with(0);
    let lines: Vec<String> = fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3_000);
    let numbered = lines.iter().enumerate();
    assert!(numbered.into_iter().all(|(n, line)| line.contains(&format!("\"C{n}\""))));
}

/// How far it is, as long as it takes; where nobody looks on, nothing is drawn.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_a_bar_shows_how_far_it_is() {
    let desk = Desk::start("bar").await;
    let file = desk.file("clients.csv", rows(12_000));
    let out = desk.files.join("out.csv");
    let token = [("CLIENTELE_TOKEN", desk.caller.token.as_str())];
    let drawn = |arguments: &[&str]| {
        let arguments = [arguments, &["--server", &desk.server]].concat();
        let mut program = Program::start_at_a_terminal("clientele", &arguments, &token);
        let drawn = program.printed_until_its_end();
        assert!(program.ended().success(), "{drawn}");
        drawn
    };
    let (import, export) = tokio::task::block_in_place(|| {
        (drawn(&["import-clients", path(&file)]), drawn(&["export-clients", path(&out)]))
    });
    let percents: Vec<u64> = import
        .split(" %")
        .filter_map(|before| {
            before.rsplit(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
        })
        .collect();
    assert!(percents.is_sorted() && percents.first() < percents.last(), "{percents:?} in {import}");
    assert!(import.contains("█") && import.contains("rows"), "{import}");
    assert!(export.contains("rows"), "{export}");

    let unseen = tokio::task::block_in_place(|| desk.run(&["export-clients", path(&out)]));
    assert_eq!(unseen.ended_with(0).err, "12,000 clients.\n");
}
