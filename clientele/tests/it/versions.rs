//! Which versions of PostgreSQL will do?

use std::{
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use local_postgres::{Durability, Server, Settings, Source};
use sqlx::{Connection, Executor, PgConnection};

use crate::{services::Services, support::folder};

/// The oldest of those promised, and the newest. They differ in who may take a role on.
const MAJORS: [u32; 2] = [15, 18];

const REPOSITORY: (&str, u16) = ("repo1.maven.org", 443);

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_and_the_newest_postgresql_are_migrated_twice_and_serve() {
    for major in MAJORS {
        let folder = folder("versions");
        let Some(server) = fetched(major, folder.path()).await else { continue };
        assert!(server.version().starts_with(&format!("{major}.")), "{}", server.version());
        let services = Services::on(&database_of_a_role_maker(&server).await);
        services.migrate();
        let _identity = services.start_identity();
        let _crm = services.start_crm();
        let mut caller = services.caller();
        caller.sign_up("ana").await.unwrap();
        caller.create("Ada", "").await.unwrap();
        assert_eq!(caller.list().await.unwrap().len(), 1, "PostgreSQL {major}");
    }
}

/// A server of this version; none only where there is nothing to fetch it from.
async fn fetched(major: u32, folder: &Path) -> Option<Server> {
    let started = Server::start(Settings {
        folder: folder.join("postgres"),
        source: Source::FetchMajor(major),
        durability: Durability::Throwaway,
        max_connections: 50,
        binaries: local_postgres::default_data_folder().join("postgresql"),
    });
    match started.await {
        Ok(server) => Some(server),
        Err(error) => {
            assert!(!can_be_reached(REPOSITORY), "{error}");
            eprintln!("PostgreSQL {major} was not tried: {} cannot be reached", REPOSITORY.0);
            None
        }
    }
}

fn can_be_reached(host: (&str, u16)) -> bool {
    let addresses = host.to_socket_addrs().into_iter().flatten();
    addresses
        .map(|address| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .any(|connected| connected.is_ok())
}

/// The URL of an owner who may make roles and is no superuser: they depend on what a version
/// lets them do.
async fn database_of_a_role_maker(server: &Server) -> String {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    for statement in [
        "CREATE ROLE role_maker LOGIN CREATEROLE PASSWORD 'role_maker'",
        "CREATE DATABASE owned OWNER role_maker",
    ] {
        connection.execute(statement).await.unwrap();
    }
    connection.close().await.unwrap();
    let superuser = format!("{}:{}@", server.user(), server.password());
    server.url("owned").replacen(&superuser, "role_maker:role_maker@", 1)
}
