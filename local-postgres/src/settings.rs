//! What may the caller choose?

use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Everything that [`Server::start`](crate::Server::start) needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder. Made when missing; one server at a time.
    pub folder: PathBuf,
    pub source: Source,
    pub durability: Durability,
    pub max_connections: u16,
    /// Where fetched binaries are unpacked and kept, shared by any number of data folders.
    pub binaries: PathBuf,
}

/// Where the programs `postgres` and `initdb` come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What is installed on this machine, or else fetched.
    Search,
    /// This `bin` folder and no other.
    Folder(PathBuf),
    /// Fetched at a pinned version, whatever is installed.
    Fetch,
    /// The same of one major version, for tests that try several.
    FetchMajor(u32),
}

/// What a power cut may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    Kept,
    /// Everything: nothing waits for the disk. For tests.
    Throwaway,
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(setting: &str) -> Result<Self, Error> {
        match setting.trim() {
            "" | "search" => Ok(Self::Search),
            "fetch" => Ok(Self::Fetch),
            path if path.starts_with('/') => Ok(Self::Folder(path.into())),
            other => Err(Error::UnknownSource(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_word_or_an_absolute_path() {
        assert_eq!("".parse::<Source>().unwrap(), Source::Search);
        assert_eq!("search".parse::<Source>().unwrap(), Source::Search);
        assert_eq!("fetch".parse::<Source>().unwrap(), Source::Fetch);
        assert_eq!("/opt/pg/bin".parse::<Source>().unwrap(), Source::Folder("/opt/pg/bin".into()));
        let refusal = "pg/bin".parse::<Source>().unwrap_err().to_string();
        assert!(refusal.contains("“pg/bin”"), "{refusal}");
    }
}
