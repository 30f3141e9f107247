//! What cannot start says why, in a sentence.

use std::{fs, net::TcpListener};

use crate::support::{Program, folder, refusal_to_start};

const FREE: [(&str, &str); 4] = [
    ("IDENTITY_LISTEN", "127.0.0.1:0"),
    ("CRM_LISTEN", "127.0.0.1:0"),
    ("IDENTITY_ADMIN_LISTEN", "off"),
    ("CRM_ADMIN_LISTEN", "off"),
];

fn refusal(settings: &[(&str, &str)]) -> String {
    let said = refusal_to_start("clientele", &[], &[&FREE, settings].concat());
    assert_eq!(said.trim().lines().count(), 1, "one sentence: {said}");
    said
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let folder = folder("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let said = refusal(&[("CLIENTELE_DATA_DIR", data.to_str().unwrap()), ("CRM_LISTEN", &address)]);
    assert!(said.contains(&address) && said.contains("CRM_LISTEN"), "{said}");
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn a_second_start_on_the_same_folder_is_told_of_the_first() {
    let folder = folder("second");
    let data = folder.path().join("data");
    let settings = [&FREE[..], &[("CLIENTELE_DATA_DIR", data.to_str().unwrap())]].concat();
    let first = Program::start("clientele", &[], &settings);
    first.line_with("Clientele is running");
    let said = refusal(&settings[FREE.len()..]);
    assert!(said.contains("already in use"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = folder("unwritable");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let said = refusal(&[("CLIENTELE_DATA_DIR", file.join("data").to_str().unwrap())]);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("CLIENTELE_DATA_DIR"), "{said}");
}

#[test]
fn a_postgres_that_is_not_there_is_named() {
    let folder = folder("missing");
    let data = folder.path().join("data");
    let said = refusal(&[
        ("CLIENTELE_DATA_DIR", data.to_str().unwrap()),
        ("CLIENTELE_POSTGRES", "/nowhere/bin"),
    ]);
    assert!(said.contains("/nowhere/bin"), "{said}");
}

#[test]
fn unknown_and_contradictory_settings_are_all_named() {
    let settings = [
        ("IDENTITY_LISTN", "127.0.0.1:1"),
        ("CRM_LISTEN", "0.0.0.0:0"),
        ("TLS_CERT_FILE", "/nowhere"),
        ("REFLECTION", "maybe"),
        ("CLIENTELE_POSTGRES", "somewhere"),
    ];
    let said = refusal_to_start("clientele", &[], &settings);
    let named = [
        "IDENTITY_LISTN",
        "IDENTITY_LISTEN",
        "CRM_LISTEN is 0.0.0.0:0",
        "TLS_KEY_FILE",
        "REFLECTION",
        "CLIENTELE_POSTGRES",
    ];
    for named in named {
        assert!(said.contains(named), "{named} is not in {said}");
    }
}

#[test]
fn a_service_without_a_database_or_keys_says_what_to_set() {
    for (name, prefix) in [("identity-service", "IDENTITY"), ("crm-service", "CRM")] {
        let listen = format!("{prefix}_LISTEN");
        let said = refusal_to_start(name, &["migrate"], &[]);
        assert!(said.contains(&format!("{prefix}_DATABASE_URL")), "{said}");
        let said = refusal_to_start(
            name,
            &["serve"],
            &[
                (&listen, "127.0.0.1:0"),
                (&format!("{prefix}_ADMIN_LISTEN"), "off"),
                ("DATABASE_URL", "postgres://localhost/x"),
            ],
        );
        assert!(said.contains(&format!("{prefix}_KEYS")), "{said}");
    }
}

#[test]
fn the_two_services_must_be_able_to_reach_and_know_each_other() {
    let said = refusal(&[("CRM_SERVICE_SECRET", "0123456789abcdef")]);
    assert!(said.contains("IDENTITY_SERVICE_SECRETS"), "{said}");
    let said = refusal(&[("TLS_CERT_FILE", "/cert"), ("TLS_KEY_FILE", "/key")]);
    assert!(said.contains("CRM_IDENTITY_URL"), "{said}");
    let said = refusal(&[("CRM_IDENTITY_URL", "http://identity.example:50051")]);
    assert!(said.contains("in clear"), "{said}");
}
