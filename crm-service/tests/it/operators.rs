//! What whoever runs the service does from a shell, as programs that are started and end.

use std::process::{Command, Output};

use crm_service::SCHEMA;
use service_kit::{
    config::DatabaseSettings,
    testing::{TestDatabase, cluster},
};

fn run(arguments: &[&str], database: &DatabaseSettings) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crm-service"))
        .args(arguments)
        .env_clear()
        .env("CRM_DATABASE_URL", database.url.expose())
        .env("DATABASE_ROLE_PREFIX", &database.pool.role_prefix)
        .output()
        .unwrap()
}

#[tokio::test]
async fn checking_says_what_migrating_would_do() {
    // A prefix of its own: roles belong to the whole server.
    let mut settings = cluster::empty_database().await;
    settings.pool.role_prefix = "checked_".into();
    let check = || {
        let output = run(&["migrate", "--check"], &settings);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check();
    let first = "The migration 1 (clients) of the schema crm is not applied: run `migrate`.\n";
    assert!(code == Some(1) && said.starts_with(first), "{said}");
    assert!(said.contains("The role checked_crm_sweep is missing: run `migrate`.\n"), "{said}");
    assert!(run(&["migrate"], &settings).status.success());
    assert_eq!(check(), (Some(0), String::new()));
}

#[tokio::test]
async fn the_doctor_is_content_with_what_migrations_make_and_not_with_less() {
    let database = TestDatabase::new(&SCHEMA).await;
    let examine = || {
        let output = run(&["doctor"], &database.settings);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(examine(), (Some(0), "Nothing is wrong.\n".to_owned()));
    database.execute("ALTER TABLE crm.clients DISABLE ROW LEVEL SECURITY").await;
    let (code, said) = examine();
    let wrong = "wrong: Row security is off in crm.clients: ";
    assert!(code == Some(1) && said.starts_with(wrong), "{said}");
}
