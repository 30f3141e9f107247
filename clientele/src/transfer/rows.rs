//! Which rows does a file have?

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use proto::crm::v1::Client;

use super::{csv, fault::Fault, jsonl};

/// The most that a row may take in a file: a client is much smaller.
pub const MOST_BYTES: usize = 1 << 20;

/// How clients stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table, with commas or semicolons, and the names of the columns on its first line.
    Csv,
    /// A JSON object on each line.
    Jsonl,
}

impl Format {
    /// As somebody says, or as the file's name ends.
    pub fn of(said: Option<Self>, file: &Path) -> Result<Self, Fault> {
        let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
        let named = match ending.to_str() {
            Some("csv") => Some(Self::Csv),
            Some("jsonl" | "ndjson") => Some(Self::Jsonl),
            _ => None,
        };
        said.or(named).ok_or_else(|| Fault::new("Say which it is: --format csv or --format jsonl."))
    }
}

/// A row, and where it begins.
#[derive(Debug)]
pub struct Row {
    pub line: u64,
    pub client: Result<Client, Flawed>,
}

/// What a row cannot mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Flawed {
    /// All of it; each begins with the column that it is about.
    pub flaws: Vec<String>,
    /// What else it says; nothing where it is no row at all.
    pub rest: Option<Box<Client>>,
}

impl Flawed {
    /// No row at all.
    pub fn wholly(flaw: String) -> Self {
        Self { flaws: vec![flaw], rest: None }
    }
}

/// A file that can be read again from its beginning, should the connection break.
pub struct Source {
    file: File,
    pub bytes: u64,
}

/// What stands for standard input and standard output.
pub fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

impl Source {
    /// The file, or all of standard input, kept in a file without a name. It is looked through
    /// before anything of it is sent: what is no text is most often no text throughout.
    pub fn open(file: &PathBuf) -> Result<Self, Fault> {
        let unreadable =
            |error: io::Error| Fault::new(format!("{} cannot be read: {error}.", file.display()));
        let mut opened = if is_standard(file) {
            let mut kept = tempfile::tempfile().map_err(unreadable)?;
            io::copy(&mut io::stdin().lock(), &mut kept).map_err(unreadable)?;
            kept
        } else {
            File::open(file).map_err(unreadable)?
        };
        opened.rewind().map_err(unreadable)?;
        check_text(&mut opened).map_err(unreadable)??;
        let bytes = opened.metadata().map_err(unreadable)?.len();
        Ok(Self { file: opened, bytes })
    }

    /// The rows, from the first one. `passed` hears of each part of the file that is behind.
    pub fn rows(
        &self,
        format: Format,
        ignore_unknown: bool,
        passed: impl Fn(usize) + 'static,
    ) -> Result<Box<dyn Iterator<Item = Result<Row, Fault>>>, Fault> {
        let unreadable = |error: io::Error| Fault::new(format!("It cannot be read: {error}."));
        let mut file = self.file.try_clone().map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let mut input = BufReader::with_capacity(64 << 10, Passing { file, passed });
        skip_mark(&mut input).map_err(unreadable)?;
        Ok(match format {
            Format::Csv => Box::new(csv::Reader::open(input, ignore_unknown)?),
            Format::Jsonl => Box::new(jsonl::Reader::open(input, ignore_unknown)),
        })
    }
}

/// Passes over the mark that some programs put before UTF-8.
fn skip_mark(input: &mut impl io::BufRead) -> io::Result<()> {
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(())
}

/// A file whose reader is followed.
struct Passing<F> {
    file: File,
    passed: F,
}

impl<F: Fn(usize)> Read for Passing<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        (self.passed)(read);
        Ok(read)
    }
}

/// Looks through all of it, and finds the line of the first byte that belongs to no letter.
fn check_text(input: &mut impl Read) -> io::Result<Result<(), Fault>> {
    let (mut line, mut buffer, mut kept) = (1, vec![0; 64 << 10], 0);
    loop {
        let read = input.read(&mut buffer[kept..])?;
        let there = &buffer[..kept + read];
        let (good, bad) = match std::str::from_utf8(there) {
            Ok(_) => (there.len(), false),
            // A letter may go on in the next part; at the end nothing does.
            Err(error) => (error.valid_up_to(), error.error_len().is_some() || read == 0),
        };
        line += there[..good].split(|byte| *byte == b'\n').count() - 1;
        if bad {
            return Ok(Err(Fault::new(format!(
                "Line {line} is not UTF-8 text: save the file as UTF-8 (a spreadsheet calls it \
                 “CSV UTF-8”) and try again."
            ))));
        }
        if read == 0 {
            return Ok(Ok(()));
        }
        let end = kept + read;
        buffer.copy_within(good..end, 0);
        kept = end - good;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &[u8]) -> Result<(), String> {
        check_text(&mut io::Cursor::new(bytes)).unwrap().map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_is_no_text_is_found_by_its_line() {
        assert_eq!(checked("a\nö\n".as_bytes()), Ok(()));
        for bad in [&b"a\nM\xfcller\n"[..], b"a\nx\xc3"] {
            assert!(checked(bad).unwrap_err().starts_with("Line 2 is not UTF-8"), "{bad:?}");
        }
        assert!(checked(b"\xff\xfea\0").is_err(), "UTF-16");
    }

    #[test]
    fn a_letter_may_lie_across_two_parts() {
        for before in [65_534, 65_535, 65_536] {
            let text = format!("{}€\n", "x".repeat(before));
            assert_eq!(checked(text.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn the_format_is_said_or_seen() {
        let of = |said, file: &str| Format::of(said, Path::new(file)).ok();
        assert_eq!(of(None, "a.CSV"), Some(Format::Csv));
        assert_eq!(of(None, "a.ndjson"), Some(Format::Jsonl));
        assert_eq!(of(Some(Format::Jsonl), "a.csv"), Some(Format::Jsonl));
        assert_eq!(of(None, "-"), None);
    }
}
