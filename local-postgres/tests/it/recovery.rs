//! Does the next start work, whatever happened before?

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_postgres::{Durability, Settings, throwaway_folder};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::support::{
    ask, assert_nothing_runs_in, connect, kill, postmaster, processes_in, refusal, start, tell,
    throwaway,
};

/// Tells the test binary to be a program that runs a server in this folder.
const PROGRAM_FOLDER: &str = "LOCAL_POSTGRES_TEST_PROGRAM";

/// Not a test but the program that other tests run and kill. Without its setting it is nothing.
#[tokio::test]
async fn program() {
    let Ok(folder) = std::env::var(PROGRAM_FOLDER) else {
        return;
    };
    let server = start(kept(Path::new(&folder))).await;
    tell(&server, "CREATE TABLE IF NOT EXISTS note AS SELECT 'remember' AS text").await;
    let _session = connect(&server).await;
    println!("\nthe program is up");
    tokio::time::sleep(Duration::from_secs(120)).await;
}

/// Starts the program and waits until its server is up.
fn run_program(folder: &Path) -> Child {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::program", "--nocapture"])
        .env(PROGRAM_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "the program is up"), "the program ended early");
    program
}

fn kept(folder: &Path) -> Settings {
    Settings { durability: Durability::Kept, ..throwaway(folder) }
}

#[tokio::test]
async fn the_server_goes_with_its_killed_program_and_the_next_one_starts() {
    let folder = throwaway_folder("program").unwrap();
    let mut program = run_program(&folder);
    let other = refusal(throwaway(&folder)).await;
    assert!(other.contains("is already in use by another running Clientele"), "{other}");
    assert!(other.contains(&format!("(process {})", program.id())), "{other}");

    program.kill().unwrap();
    program.wait().unwrap();
    assert_nothing_runs_in(&folder);

    let server = start(kept(&folder)).await;
    assert_eq!(ask(&server, "SELECT text FROM note").await, "remember");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_waits_for_a_server_that_is_still_shutting_down() {
    let folder = throwaway_folder("orphan").unwrap();
    for _ in 0..3 {
        let mut program = run_program(&folder);
        program.kill().unwrap();
        program.wait().unwrap();
        let server = start(kept(&folder)).await;
        assert_eq!(ask(&server, "SELECT text FROM note").await, "remember");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_server_is_recovered() {
    let folder = throwaway_folder("killed").unwrap();
    let server = start(kept(&folder)).await;
    tell(&server, "CREATE TABLE note AS SELECT 'remember' AS text").await;
    kill(postmaster(&folder));
    server.stop().await.unwrap();

    let server = start(kept(&folder)).await;
    assert_eq!(ask(&server, "SELECT text FROM note").await, "remember");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_busy_session_does_not_outlive_its_killed_server() {
    let folder = throwaway_folder("busy").unwrap();
    let server = start(throwaway(&folder)).await;
    let busy = Busy::begin(connect(&server).await).await;
    kill(postmaster(&folder));
    drop(server);
    busy.assert_ended().await;
}

#[tokio::test]
async fn a_busy_session_that_outlives_server_and_program_keeps_nobody_out() {
    let folder = throwaway_folder("stray").unwrap();
    let mut program = run_program(&folder);
    let password = fs::read_to_string(folder.join("password")).unwrap();
    let options = PgConnectOptions::new()
        .socket(folder.join("socket"))
        .username("clientele")
        .password(password.trim())
        .database("postgres");
    let busy = Busy::begin(PgConnection::connect_with(&options).await.unwrap()).await;
    // Stopped, the program cannot do anything about its killed server.
    signal(&program, Signal::STOP);
    kill(postmaster(&folder));
    program.kill().unwrap();
    program.wait().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(busy.is_running(), "the session is not busy enough");

    let server = start(kept(&folder)).await;
    busy.assert_ended().await;
    assert_eq!(ask(&server, "SELECT text FROM note").await, "remember");
    server.stop().await.unwrap();
    assert_nothing_runs_in(&folder);
}

/// A session that computes, which keeps it from noticing what happens around it.
struct Busy {
    process: Pid,
    answer: JoinHandle<sqlx::Result<String>>,
}

impl Busy {
    async fn begin(mut session: PgConnection) -> Self {
        const ENDLESS: &str = "SELECT count(*)::text \
            FROM generate_series(1, 100000) a, generate_series(1, 1000000) b";
        let process: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut session).await.unwrap();
        let answer =
            tokio::spawn(async move { sqlx::query_scalar(ENDLESS).fetch_one(&mut session).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let process = Pid::from_raw(process).unwrap();
        Self { process, answer }
    }

    fn is_running(&self) -> bool {
        rustix::process::test_kill_process(self.process).is_ok()
    }

    async fn assert_ended(self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        // Until its new parent has noticed, it is a zombie, which counts as running here.
        while self.is_running() {
            assert!(Instant::now() < deadline, "the session still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.answer.await.unwrap().is_err());
    }
}

fn signal(program: &Child, signal: Signal) {
    kill_process(Pid::from_child(program), signal).unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_react_is_ended_all_the_same() {
    let folder = throwaway_folder("stopped").unwrap();
    let server = start(throwaway(&folder)).await;
    kill_process(postmaster(&folder), Signal::STOP).unwrap();
    drop(server);
    assert!(processes_in(&folder).is_empty());
    start(throwaway(&folder)).await.stop().await.unwrap();
}

/// Root's servers run as somebody else, and who that is may change between two starts.
#[tokio::test]
async fn a_cluster_is_served_as_its_owner() {
    let folder = throwaway_folder("owner").unwrap();
    let data = folder.join("data");
    start(throwaway(&data)).await.stop().await.unwrap();
    if rustix::process::geteuid().is_root() {
        const SOMEBODY: u32 = 12_345;
        give(&data.join("cluster"), SOMEBODY);
        chown(&data, None, Some(SOMEBODY)).unwrap();
        chown(&*folder, None, Some(SOMEBODY)).unwrap();
    }
    start(throwaway(&data)).await.stop().await.unwrap();
}

fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

#[tokio::test]
async fn files_that_name_a_living_stranger_keep_nobody_out() {
    let folder = throwaway_folder("stranger").unwrap();
    let server = start(throwaway(&folder)).await;
    let process = postmaster(&folder);
    let pid_file = folder.join("cluster/postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    kill(process);
    drop(server);

    let stranger = stranger(&folder.join("cluster"));
    let number = process.as_raw_nonzero().to_string();
    fs::write(&pid_file, text.replacen(&number, &stranger.0.id().to_string(), 1)).unwrap();
    fs::create_dir_all(folder.join("socket")).unwrap();
    fs::write(folder.join("socket/.s.PGSQL.5432"), "").unwrap();
    fs::write(folder.join("socket/.s.PGSQL.5432.lock"), format!("{}\n", stranger.0.id())).unwrap();

    start(throwaway(&folder)).await.stop().await.unwrap();
    let id = Pid::from_raw(i32::try_from(stranger.0.id()).unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(id).is_ok(), "the stranger was left alone");
}

/// A process of the server's user, so that PostgreSQL alone would take it for its predecessor.
fn stranger(cluster: &Path) -> EndOnDrop {
    let owner = fs::metadata(cluster).unwrap();
    let mut command = Command::new("sleep");
    command.arg("120");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    EndOnDrop(command.spawn().unwrap())
}

struct EndOnDrop(Child);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_anew() {
    let folder = throwaway_folder("half").unwrap();
    fs::create_dir_all(folder.join("cluster.new-0/cluster/base")).unwrap();
    fs::write(folder.join("cluster.new-0/password"), "old").unwrap();
    fs::write(folder.join("password"), "old").unwrap();
    let server = start(throwaway(&folder)).await;
    assert_eq!(ask(&server, "SELECT 'answer'").await, "answer");
    assert!(!folder.join("cluster.new-0").exists());
}
