//! Is PostgreSQL fetched where there is none?

use local_postgres::{Server, Settings, Source, throwaway_folder};

use crate::support::{ask, fetched_binaries, sentence, throwaway};

/// With a network, or with what an earlier run has fetched, there is a server; without both
/// there is a sentence that tells how to do without.
#[tokio::test]
async fn what_is_fetched_runs() {
    let folder = throwaway_folder("fetched").unwrap();
    let settings = Settings { source: Source::Fetch, ..throwaway(&folder) };
    match Server::start(settings).await {
        Ok(server) => {
            assert!(server.binaries().starts_with(fetched_binaries()));
            let version = ask(&server, "SHOW server_version").await;
            assert_eq!(version.split(' ').next(), Some(server.version()));
            assert!(!fetched_binaries().join("unpacking").exists());
            server.stop().await.unwrap();
        }
        Err(error) => {
            let sentence = sentence(&error);
            assert!(sentence.contains("CLIENTELE_POSTGRES"), "{sentence}");
        }
    }
}
