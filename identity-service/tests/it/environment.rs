//! What the environment of whoever runs these tests must not do to them, nor they to it.

use std::{io::ErrorKind, net::TcpListener, process::Command};

#[test]
fn a_database_that_the_environment_names_is_left_alone() {
    let precious = TcpListener::bind("127.0.0.1:0").unwrap();
    precious.set_nonblocking(true).unwrap();
    let port = precious.local_addr().unwrap().port().to_string();
    let url = format!("postgres://somebody:secret@127.0.0.1:{port}/precious");
    // This same program, with one of its tests.
    let test = "sign_up::makes_an_account_a_super_admin_and_a_token_that_works";
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .envs([("DATABASE_URL", &url), ("IDENTITY_DATABASE_URL", &url)])
        .envs([("DB_HOST", "127.0.0.1"), ("DB_PORT", &port), ("DB_NAME", "precious")])
        .envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGDATABASE", "precious")])
        .envs([("PGUSER", "somebody"), ("PGPASSWORD", "secret"), ("PGSSLMODE", "require")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    let asked = precious.accept().map(|_| ());
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::WouldBlock, "somebody asked it");
}
