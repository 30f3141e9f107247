//! Is PostgreSQL fetched where there is none?

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use local_postgres::{Server, Settings, Source, throwaway_folder};

use crate::support::{ask, sentence, throwaway};

const REPOSITORY: (&str, u16) = ("repo1.maven.org", 443);

/// Into a folder of this test's own, so that nothing an earlier run has fetched stands in for
/// it. Only where the repository cannot be reached at all may it fail, and then in a sentence.
#[tokio::test]
async fn what_is_fetched_runs() {
    let folder = throwaway_folder("fetched").unwrap();
    let binaries = folder.join("binaries");
    let settings = Settings {
        source: Source::Fetch,
        binaries: binaries.clone(),
        ..throwaway(&folder.join("data"))
    };
    match Server::start(settings).await {
        Ok(server) => {
            assert!(server.binaries().starts_with(&binaries));
            let version = ask(&server, "SHOW server_version").await;
            assert_eq!(version.split(' ').next(), Some(server.version()));
            assert!(!binaries.join("unpacking").exists());
            server.stop().await.unwrap();
        }
        Err(error) => {
            let sentence = sentence(&error);
            assert!(sentence.contains("CLIENTELE_POSTGRES"), "{sentence}");
            assert!(!can_be_reached(REPOSITORY), "it is there, and yet: {sentence}");
            eprintln!("fetching was not tried: {} cannot be reached", REPOSITORY.0);
        }
    }
}

fn can_be_reached(host: (&str, u16)) -> bool {
    let addresses = host.to_socket_addrs().into_iter().flatten();
    addresses
        .map(|address| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .any(|connected| connected.is_ok())
}
