//! Does a server start, keep what it should, and stop?

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use local_postgres::{Durability, Server, Settings, throwaway_folder};
use rustix::process::getpgid;
use sqlx::{Connection, PgConnection};

use crate::support::{
    ask, assert_nothing_runs_in, connect, postmaster, processes_in, start, tell, throwaway,
};

#[tokio::test]
async fn a_second_start_finds_what_the_first_has_written() {
    let folder = throwaway_folder("kept").unwrap();
    let settings = Settings { durability: Durability::Kept, ..throwaway(&folder) };

    let server = start(settings.clone()).await;
    tell(&server, "CREATE TABLE note AS SELECT 'remember' AS text").await;
    let (url, password) = (server.url("postgres"), server.password().to_owned());
    server.stop().await.unwrap();
    assert!(processes_in(&folder).is_empty());
    assert!(PgConnection::connect(&url).await.is_err());

    let server = start(settings).await;
    assert_eq!(server.password(), password);
    assert_eq!(ask(&server, "SELECT text FROM note").await, "remember");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_running_after_a_drop() {
    let folder = throwaway_folder("drop").unwrap();
    let server = start(throwaway(&folder)).await;
    let _session = connect(&server).await;
    assert!(!processes_in(&folder).is_empty());
    drop(server);
    assert!(processes_in(&folder).is_empty());
    assert!(!folder.join("socket").exists());
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_running() {
    let folder = throwaway_folder("given-up").unwrap();
    for milliseconds in [0, 30, 300, 900] {
        let limit = std::time::Duration::from_millis(milliseconds);
        let _ = tokio::time::timeout(limit, Server::start(throwaway(&folder))).await;
    }
    // What was begun is finished in the background, and then let go.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let server = loop {
        match Server::start(throwaway(&folder)).await {
            Ok(server) => break server,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    server.stop().await.unwrap();
    assert_nothing_runs_in(&folder);
}

#[tokio::test]
async fn durability_is_what_was_asked_for() {
    const FSYNC: &str = "SELECT concat_ws(' ', current_setting('fsync'), \
        current_setting('synchronous_commit'), current_setting('full_page_writes'))";

    let folder = throwaway_folder("durability").unwrap();
    let server = start(throwaway(&folder.join("thrown"))).await;
    assert_eq!(ask(&server, FSYNC).await, "off off off");
    server.stop().await.unwrap();

    let kept = Settings { durability: Durability::Kept, ..throwaway(&folder.join("kept")) };
    let server = start(kept).await;
    assert_eq!(ask(&server, FSYNC).await, "on on on");
    assert_eq!(ask(&server, "SHOW data_checksums").await, "on");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_cluster_is_set_up_for_the_services() {
    let folder = throwaway_folder("setup").unwrap();
    let server = start(throwaway(&folder)).await;
    for (question, answer) in [
        ("SHOW server_encoding", "UTF8"),
        ("SHOW timezone", "UTC"),
        ("SHOW listen_addresses", ""),
        ("SHOW max_connections", "20"),
        ("SHOW password_encryption", "scram-sha-256"),
        ("SELECT current_user::text", "clientele"),
        ("SELECT string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules", "scram-sha-256"),
    ] {
        assert_eq!(ask(&server, question).await, answer, "{question}");
    }
    let locale =
        ask(&server, "SELECT datcollate FROM pg_database WHERE datname = current_database()").await;
    assert!(["C.UTF-8", "C"].contains(&locale.as_str()), "{locale}");
    assert_eq!(ask(&server, "SHOW server_version").await.split(' ').next(), Some(server.version()));
    assert_eq!((server.user(), server.port()), ("clientele", 5432));
}

#[tokio::test]
async fn only_the_password_opens_the_door() {
    let folder = throwaway_folder("password").unwrap();
    let server = start(throwaway(&folder)).await;
    let file = fs::metadata(folder.join("password")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(file.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(fs::metadata(server.socket_folder()).unwrap().permissions().mode() & 0o777, 0o700);

    let wrong = server.url("postgres").replace(server.password(), "wrong");
    let refusal = PgConnection::connect(&wrong).await.unwrap_err().to_string();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
}

#[tokio::test]
async fn any_name_will_do_for_a_folder_and_a_database() {
    let folder = throwaway_folder("names").unwrap();
    for name in ["With Space, comma & \"quotes\" é", &"long".repeat(40)] {
        let server = start(throwaway(&folder.join(name))).await;
        tell(&server, "CREATE DATABASE \"a B/ü\"").await;
        let mut connection = PgConnection::connect(&server.url("a B/ü")).await.unwrap();
        let database: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(database, "a B/ü");
        let socket = server.socket_folder().to_owned();
        server.stop().await.unwrap();
        assert!(!socket.exists());
    }
}

#[tokio::test]
async fn the_server_has_a_group_of_its_own_and_no_rights_of_root() {
    let folder = throwaway_folder("rights").unwrap();
    let _server = start(throwaway(&folder)).await;
    let process = postmaster(&folder);
    assert_eq!(getpgid(Some(process)).unwrap(), process);

    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let numbers = |field: &str| -> Vec<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    for field in ["Uid:", "Gid:", "Groups:"] {
        assert!(!numbers(field).contains(&"0".to_owned()), "{field} {:?}", numbers(field));
    }
    if rustix::process::geteuid().is_root() {
        assert!(numbers("Groups:").is_empty());
    }
}

#[tokio::test]
async fn a_log_that_has_grown_is_begun_anew() {
    let folder = throwaway_folder("log").unwrap();
    let log = folder.join("postgres.log");
    fs::write(&log, vec![b'x'; 11 * 1024 * 1024]).unwrap();
    let _server = start(throwaway(&folder)).await;
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.len() < 1024 * 1024);
    assert!(text.contains("database system is ready to accept connections"), "{text}");
}
