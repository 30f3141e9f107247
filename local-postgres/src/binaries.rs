//! Which of the PostgreSQL installations at hand do we use?

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::user::User;
use crate::{Error, Source, blocking, fetch};

/// The oldest major version that the services' schema works with.
pub(crate) const OLDEST_MAJOR: u32 = 15;

/// Where packages put their `bin` folders: in a folder, below names that begin with a prefix.
const PLACES: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"), // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),          // Red Hat and its family
    ("/usr/libexec", "postgresql", ""), // Alpine
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A folder that holds `postgres` and `initdb`, proven to run as the server's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub folder: PathBuf,
    pub major: u32,
    pub version: String,
}

impl Binaries {
    /// Looks at what is in `folder` and asks it for its version.
    pub fn inspect(folder: &Path, user: &User) -> Result<Self, Error> {
        for program in ["postgres", "initdb"] {
            if !folder.join(program).is_file() {
                return Err(Error::NotBinaries { folder: folder.to_owned(), missing: program });
            }
        }
        let fail = |reason| Error::BinariesFail { folder: folder.to_owned(), reason };
        let answer = command(&folder.join("postgres"), user).arg("--version").output();
        let answer = answer.map_err(|error| {
            user.check_reach(folder).err().unwrap_or_else(|| fail(error.to_string()))
        })?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let (major, version) = parse_version(&text).ok_or_else(|| {
            fail(format!("asked for its version it ended with {}", answer.status))
        })?;
        if major < OLDEST_MAJOR {
            return Err(Error::TooOld { folder: folder.to_owned(), version });
        }
        Ok(Self { folder: folder.to_owned(), major, version })
    }

    /// A call of one of the programs.
    pub fn command(&self, program: &str, user: &User) -> Command {
        command(&self.folder.join(program), user)
    }
}

/// A call of `program` as `user`, who may have no right to our working folder, and without what
/// our environment may say to it.
fn command(program: &Path, user: &User) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        let of_postgres = name_text.starts_with("PG");
        let of_locale = name_text.starts_with("LC_") || name_text.starts_with("LANG");
        // A server that knows this socket reports to systemd in our name.
        if of_postgres || of_locale || name_text == "NOTIFY_SOCKET" {
            command.env_remove(&name);
        }
    }
    // Messages are read by us, so they have to be the English ones.
    command.env("LC_ALL", "C");
    user.run(&mut command);
    command
}

/// Chooses the programs for a new cluster, or for one of `major` if there is such a version.
///
/// A folder that somebody named is taken or refused, never replaced by another one.
pub(crate) async fn choose(
    source: Source,
    user: User,
    fetched: PathBuf,
    major: Option<u32>,
) -> Result<Binaries, Error> {
    match source {
        Source::Folder(folder) => blocking(move || Binaries::inspect(&folder, &user)).await,
        Source::Fetch => fetch::fetch(fetched, user, major).await,
        Source::FetchMajor(major) => fetch::fetch(fetched, user, Some(major)).await,
        Source::Search => {
            let path = env::var_os("PATH").unwrap_or_default();
            search_or_fetch((path, &PLACES), user, fetched, major).await
        }
    }
}

/// A `PATH`, and where packages put their folders.
type Places = (OsString, &'static [(&'static str, &'static str, &'static str)]);

async fn search_or_fetch(
    places: Places,
    user: User,
    fetched: PathBuf,
    major: Option<u32>,
) -> Result<Binaries, Error> {
    let seeker = user.clone();
    let found = blocking(move || Ok(search(&places, &seeker))).await?;
    match found.into_iter().find(|found| major.is_none_or(|major| major == found.major)) {
        Some(fitting) => Ok(fitting),
        None => fetch::fetch(fetched, user, major).await,
    }
}

/// All installations that can be used, the preferred one first.
fn search((path, places): &Places, user: &User) -> Vec<Binaries> {
    let on_path = env::split_paths(path).filter_map(|folder| resolve(&folder));
    let in_places = places.iter().flat_map(|&(parent, prefix, below)| {
        by_version(Path::new(parent), prefix).into_iter().map(move |folder| folder.join(below))
    });
    let mut found = Vec::<Binaries>::new();
    for folder in on_path.chain(in_places) {
        if found.iter().any(|known| known.folder == folder) {
            continue;
        }
        match Binaries::inspect(&folder, user) {
            Ok(binaries) => found.push(binaries),
            Err(Error::NotBinaries { .. }) => {}
            Err(error) => tracing::debug!(%error, "passed over a PostgreSQL"),
        }
    }
    found
}

/// The folder where the `postgres` of a `PATH` entry really lives, beside its `initdb`.
///
/// An entry may hold nothing but a symbolic link to `postgres`, or links to both that are older
/// than an upgrade; the target's folder is the one that belongs together.
fn resolve(entry: &Path) -> Option<PathBuf> {
    let target = entry.join("postgres").canonicalize().ok()?;
    let home = target.parent()?;
    let folder = if home.join("initdb").is_file() { home } else { entry };
    folder.is_absolute().then(|| folder.to_owned())
}

/// The folders in `parent` whose names begin with `prefix`, the highest version first.
fn by_version(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(prefix))
        })
        .collect();
    folders.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
    folders
}

/// The numbers in a folder's name: 9.6 gives 9 and 6, `postgresql@16` gives 16.
fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `18beta1` and `19devel`.
fn parse_version(answer: &str) -> Option<(u32, String)> {
    let version = answer.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    Some((version[..digits].parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway_folder;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_version_is_read_from_what_postgres_says() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some((15, "15.18".into())));
        assert_eq!(parse_version("postgres (PostgreSQL) 19devel\n"), Some((19, "19devel".into())));
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24\n"), Some((9, "9.6.24".into())));
        assert_eq!(parse_version("postgres (EnterpriseDB) 15.1\n"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let folder = throwaway_folder("versions").unwrap();
        for name in ["9.6", "18", "101", "x"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let names: Vec<_> = by_version(&folder, "")
            .iter()
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .filter(|name| name != "owner")
            .collect();
        assert_eq!(names, ["101", "18", "9.6", "x"]);
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_folder_that_belongs_together() {
        let folder = throwaway_folder("links").unwrap();
        let (real, linked, empty) =
            (folder.join("real"), folder.join("linked"), folder.join("empty"));
        for made in [&real, &linked, &empty] {
            fs::create_dir(made).unwrap();
        }
        fs::write(real.join("postgres"), "").unwrap();
        fs::write(real.join("initdb"), "").unwrap();
        symlink(real.join("postgres"), linked.join("postgres")).unwrap();
        let real = real.canonicalize().unwrap();
        assert_eq!(resolve(&linked), Some(real.clone()));
        assert_eq!(resolve(&real), Some(real));
        assert_eq!(resolve(&empty), None);
    }
    /// A folder with programs that only know their version.
    fn install(bin: &Path, version: &str) {
        fs::create_dir_all(bin).unwrap();
        for program in ["postgres", "initdb"] {
            let says = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n");
            fs::write(bin.join(program), says).unwrap();
            fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_not_installed_is_fetched_and_what_is_installed_is_not() {
        let user = User::of_new_folder().unwrap();
        let folder = throwaway_folder("search").unwrap();
        let (installed, fetched) = (folder.join("installed"), folder.join("fetched"));
        install(&installed, "16.1");
        let installed = installed.canonicalize().unwrap();
        // As if it had been fetched before, which is known by the names of the folders.
        let newest = fetched.join(fetch::folder_of(None).unwrap()).join("bin");
        let of_cluster = fetched.join(fetch::folder_of(Some(17)).unwrap()).join("bin");
        install(&newest, "18.0");
        install(&of_cluster, "17.0");

        let chosen = async |path: &Path, major| {
            let places: Places = (path.as_os_str().to_owned(), &[]);
            search_or_fetch(places, user.clone(), fetched.clone(), major).await.unwrap().folder
        };
        assert_eq!(chosen(&installed, None).await, installed);
        assert_eq!(chosen(&installed, Some(16)).await, installed);
        assert_eq!(chosen(&installed, Some(17)).await, of_cluster, "of the wrong version");
        assert_eq!(chosen(Path::new(""), None).await, newest, "there is none");
    }
}
