//! What did the server say?

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A log that has grown beyond this many bytes is begun anew at the next start.
const KEPT_BYTES: u64 = 10 * 1024 * 1024;

/// How many bytes of its end are read to learn why the server ended.
const TAIL_BYTES: u64 = 16 * 1024;

/// The server's log file, and where in it this start begins.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    begin: u64,
}

impl Log {
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() > KEPT_BYTES {
            file.set_len(0)?;
        }
        let begin = file.metadata()?.len();
        Ok(Self { path, file, begin })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `command` write here. It inherits the open file, so it needs no right to the path.
    pub fn receive(&self, command: &mut Command) -> io::Result<()> {
        command.stdout(self.file.try_clone()?).stderr(self.file.try_clone()?);
        Ok(())
    }

    /// How much was written so far, in bytes.
    pub fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// Why the server ended, in its own words.
    pub fn last_words(&mut self) -> String {
        let from = self.begin.max(self.len().saturating_sub(TAIL_BYTES));
        let mut tail = Vec::new();
        let read =
            self.file.seek(SeekFrom::Start(from)).and_then(|_| self.file.read_to_end(&mut tail));
        let text = String::from_utf8_lossy(&tail);
        read.ok().and_then(|_| last_complaint(&text)).unwrap_or_else(|| "it said nothing".into())
    }

    /// Forgets what earlier attempts of this start have written.
    pub fn skip(&mut self) {
        self.begin = self.len();
    }
}

/// The last fatal message in what PostgreSQL or its initdb wrote, or else the last line.
pub(crate) fn last_complaint(text: &str) -> Option<String> {
    const SEVERITIES: [&str; 5] = ["PANIC:", "FATAL:", "ERROR:", "fatal:", "error:"];
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let fatal = lines().find_map(|line| {
        SEVERITIES.iter().find_map(|severity| Some(line.split_once(severity)?.1.trim()))
    });
    fatal.or_else(|| lines().next()).map(|line| line.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway_folder;
    use std::fs;

    #[test]
    fn the_last_fatal_message_is_quoted_without_its_prefix() {
        let log = "2026-01-01 10:00:00.000 UTC [1] LOG:  starting PostgreSQL\n\
            2026-01-01 10:00:00.001 UTC [1] FATAL:  could not map memory: No space\n\
            2026-01-01 10:00:00.002 UTC [1] HINT:  This means more.\n\
            2026-01-01 10:00:00.003 UTC [1] LOG:  database system is shut down\n";
        assert_eq!(last_complaint(log).unwrap(), "could not map memory: No space");
        let initdb = "The files will be owned by x.\ninitdb: error: invalid locale name \"x\"\n";
        assert_eq!(last_complaint(initdb).unwrap(), "invalid locale name \"x\"");
        let loader = "postgres: error while loading shared libraries: libpq.so.5\n\n";
        assert_eq!(last_complaint(loader).unwrap(), loader.trim());
        assert_eq!(last_complaint(" \n"), None);
    }

    #[test]
    fn a_log_that_has_grown_is_begun_anew() {
        let folder = throwaway_folder("log").unwrap();
        let path = folder.join("postgres.log");
        fs::write(&path, "FATAL:  of an earlier start\n").unwrap();
        let mut log = Log::open(path.clone()).unwrap();
        assert_eq!(log.last_words(), "it said nothing");
        fs::write(&path, vec![b'x'; usize::try_from(KEPT_BYTES).unwrap() + 1]).unwrap();
        assert_eq!(Log::open(path).unwrap().len(), 0);
    }
}
