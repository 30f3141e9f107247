//! What do the tests share?

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local_postgres::{Durability, Error, Server, Settings, Source};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

/// Settings for a server in `folder` that nobody will miss.
pub fn throwaway(folder: &Path) -> Settings {
    Settings {
        folder: folder.to_owned(),
        source: Source::Search,
        durability: Durability::Throwaway,
        max_connections: 20,
        binaries: fetched_binaries(),
    }
}

/// Where fetched binaries stay between runs; apart for each user, who may not write the other's.
pub fn fetched_binaries() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgresql-of-{user}"))
}

pub async fn start(settings: Settings) -> Server {
    Server::start(settings).await.expect("the server starts")
}

/// The sentence with which a start is refused.
pub async fn refusal(settings: Settings) -> String {
    sentence(&Server::start(settings).await.expect_err("the start is refused"))
}

/// What the user reads, which is one sentence on one line.
pub fn sentence(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.ends_with('.'), "not a sentence: {text}");
    assert!(!text.contains('\n') && !text.contains(". "), "more than a sentence: {text}");
    text
}

pub async fn connect(server: &Server) -> PgConnection {
    PgConnection::connect(&server.url("postgres")).await.expect("the server answers")
}

pub async fn ask(server: &Server, question: &'static str) -> String {
    let mut connection = connect(server).await;
    let answer = sqlx::query_scalar(question).fetch_one(&mut connection).await;
    answer.expect("the question has an answer")
}

pub async fn tell(server: &Server, statement: &'static str) {
    let mut connection = connect(server).await;
    sqlx::query(statement).execute(&mut connection).await.expect("the statement succeeds");
}

/// The process of the server in a data folder, as the server itself wrote it down.
pub fn postmaster(folder: &Path) -> Pid {
    let file = fs::read_to_string(folder.join("cluster/postmaster.pid")).expect("a server runs");
    let number = file.lines().next().and_then(|line| line.parse().ok()).expect("a number");
    Pid::from_raw(number).expect("a process")
}

pub fn kill(process: Pid) {
    kill_process(process, Signal::KILL).expect("the process can be killed");
}

/// Waits until no process works in the data folder.
pub fn assert_nothing_runs_in(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Some(process) = processes_in(folder).first() {
        assert!(Instant::now() < deadline, "process {process} still runs in {}", folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose working folder is the cluster or whose command line names the folder.
pub fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("a printable path");
    let works_here = |process: &Path| {
        let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
        let command_line = fs::read(process.join("cmdline")).unwrap_or_default();
        let is_server =
            fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "postgres");
        is_server
            && (cwd.starts_with(folder) || String::from_utf8_lossy(&command_line).contains(folder))
    };
    let processes = fs::read_dir("/proc").expect("Linux").flatten().map(|entry| entry.path());
    processes
        .filter(|process| works_here(process))
        .map(|process| process.display().to_string())
        .collect()
}
