//! Is what cannot work refused in one sentence?

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use local_postgres::{Settings, Source, throwaway_folder};

use crate::support::{postmaster, refusal, start, throwaway};

#[tokio::test]
async fn a_folder_in_use() {
    let folder = throwaway_folder("twice").unwrap();
    let server = start(throwaway(&folder)).await;
    let sentence = refusal(throwaway(&folder)).await;
    let expected = format!(
        "is already in use by another running Clientele (process {}): stop that one",
        std::process::id()
    );
    assert!(sentence.contains(&expected), "{sentence}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made() {
    let folder = throwaway_folder("unwritable").unwrap();
    fs::write(folder.join("file"), "").unwrap();
    let sentence = refusal(throwaway(&folder.join("file/data"))).await;
    assert!(sentence.contains("file/data cannot be used (not a directory"), "{sentence}");
    let sentence = refusal(throwaway(&folder.join("file"))).await;
    assert!(sentence.contains("cannot be used"), "{sentence}");
    let sentence = refusal(throwaway(Path::new("/proc/data"))).await;
    assert!(sentence.contains("cannot be used"), "{sentence}");
}

/// As root the server's user is somebody else; as anybody else it is the owner.
#[tokio::test]
async fn a_folder_that_the_servers_user_cannot_reach() {
    let folder = throwaway_folder("closed").unwrap();
    let closed = folder.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let settings = throwaway(&closed.join("data"));
    if rustix::process::geteuid().is_root() {
        let sentence = refusal(settings).await;
        let expected = format!("who may not pass through {}", closed.display());
        assert!(sentence.contains(&expected), "{sentence}");
    } else {
        start(settings).await.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_without_postgresql() {
    let folder = throwaway_folder("wrong-source").unwrap();
    for wrong in ["/nowhere/bin".into(), folder.to_path_buf()] {
        let source = Source::Folder(wrong);
        let sentence = refusal(Settings { source, ..throwaway(&folder.join("data")) }).await;
        assert!(sentence.contains("holds no “postgres”: set CLIENTELE_POSTGRES"), "{sentence}");
    }
}

#[tokio::test]
async fn a_postgresql_that_is_too_old_or_does_not_run() {
    let folder = throwaway_folder("old").unwrap();
    let cases = [
        (
            "old",
            "#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n",
            "is version 14.9: install version 15 or newer",
        ),
        (
            "broken",
            "#!/bin/sh\nexit 3\n",
            "does not run (asked for its version it ended with exit status: 3)",
        ),
        ("strange", "no program", "does not run ("),
    ];
    for (name, script, expected) in cases {
        let bin = folder.join(name);
        fs::create_dir(&bin).unwrap();
        for program in ["postgres", "initdb"] {
            fs::write(bin.join(program), script).unwrap();
            fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).unwrap();
        }
        let source = Source::Folder(bin);
        let sentence = refusal(Settings { source, ..throwaway(&folder.join("data")) }).await;
        assert!(sentence.contains(expected), "{sentence}");
    }
}

#[tokio::test]
async fn a_cluster_of_another_major_version() {
    let folder = throwaway_folder("major").unwrap();
    let server = start(throwaway(&folder)).await;
    let bin = server.binaries().to_owned();
    server.stop().await.unwrap();
    fs::write(folder.join("cluster/PG_VERSION"), "14\n").unwrap();

    let sentence = refusal(throwaway(&folder)).await;
    assert!(
        sentence.contains("was written by PostgreSQL 14 (there is no PostgreSQL 14 to fetch"),
        "{sentence}"
    );
    let sentence =
        refusal(Settings { source: Source::Folder(bin.clone()), ..throwaway(&folder) }).await;
    let expected = format!("was written by PostgreSQL 14 (the one in {} is", bin.display());
    assert!(sentence.contains(&expected), "{sentence}");
}

#[tokio::test]
async fn a_data_folder_that_lost_its_password() {
    let folder = throwaway_folder("lost").unwrap();
    start(throwaway(&folder)).await.stop().await.unwrap();
    fs::remove_file(folder.join("password")).unwrap();
    let sentence = refusal(throwaway(&folder)).await;
    assert!(sentence.contains("password is missing or unreadable: restore it"), "{sentence}");
}

#[tokio::test]
async fn a_cluster_with_a_broken_setting() {
    let folder = throwaway_folder("setting").unwrap();
    start(throwaway(&folder)).await.stop().await.unwrap();
    let conf = folder.join("cluster/postgresql.auto.conf");
    fs::write(conf, "work_mem = 'a lot'\n").unwrap();
    let sentence = refusal(throwaway(&folder)).await;
    assert!(sentence.contains("PostgreSQL did not start (configuration file"), "{sentence}");
    assert!(!folder.join("cluster/postmaster.pid").exists());

    // It was not the folder's fault for ever.
    fs::write(folder.join("cluster/postgresql.auto.conf"), "").unwrap();
    let server = start(throwaway(&folder)).await;
    assert!(postmaster(&folder).as_raw_nonzero().get() > 1);
    server.stop().await.unwrap();
}
