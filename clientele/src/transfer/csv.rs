//! How are clients read from a table, and written as one?
//!
//! A spreadsheet takes a cell that begins like a formula for one, and runs it. So such a cell is
//! written with an apostrophe in front, as spreadsheets themselves mark plain text, and an
//! apostrophe in front of what would be a formula is taken away again when it is read: `+31 6…`
//! comes back as it was, and so does what had an apostrophe of its own.

use std::{
    borrow::Cow,
    cell::Cell,
    io::{self, Read, Write},
    rc::Rc,
};

use proto::crm::v1::Client;

use super::{
    columns::Column,
    fault::Fault,
    quotes::Quotes,
    rows::{Flawed, MOST_BYTES, Row},
};

/// With one of these a spreadsheet begins a formula, or looks for one behind it.
const FORMULAS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];
const APOSTROPHE: char = '\'';

/// The clients in a table.
pub struct Reader<R> {
    table: csv::Reader<Metered<R>>,
    columns: Vec<Option<Column>>,
    budget: Rc<Cell<usize>>,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header, which says what the columns are and what stands between them.
    pub fn open(mut input: R, ignore_unknown: bool) -> Result<Reader<impl Read>, Fault> {
        let header = first_line(&mut input)?;
        let delimiter = delimiter(&header);
        let budget = Rc::new(Cell::new(MOST_BYTES));
        let input = io::Cursor::new(header).chain(input);
        let quotes = Quotes::between(delimiter);
        let input = Metered { input, budget: budget.clone(), quotes };
        let mut table = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            // Told apart here, to say which line it is and go on.
            .flexible(true)
            .from_reader(input);
        let names = table.headers().map_err(|error| fault(&error, 1))?.clone();
        let columns = columns(&names, ignore_unknown)?;
        Ok(Reader { table, columns, budget, over: false })
    }

    fn read(&mut self) -> Result<Option<Row>, Fault> {
        let mut record = csv::StringRecord::new();
        loop {
            let line = self.table.position().line();
            self.budget.set(MOST_BYTES);
            if !self.table.read_record(&mut record).map_err(|error| fault(&error, line))? {
                return Ok(None);
            }
            // What a spreadsheet leaves of rows that were emptied.
            if record.iter().any(|cell| !cell.is_empty()) {
                let line = record.position().map_or(line, csv::Position::line);
                return Ok(Some(Row { line, client: self.client(&record) }));
            }
        }
    }

    fn client(&self, record: &csv::StringRecord) -> Result<Client, Flawed> {
        if record.len() != self.columns.len() {
            let (has, header) = (record.len(), self.columns.len());
            return Err(Flawed::wholly(format!("has {has} cells where the header has {header}")));
        }
        let mut client = Client::default();
        let flaws = self.columns.iter().zip(record).filter_map(|(column, cell)| {
            column.as_ref().and_then(|column| column.put(&mut client, &plain(cell)).err())
        });
        let flaws: Vec<_> = flaws.collect();
        if flaws.is_empty() {
            Ok(client)
        } else {
            Err(Flawed { flaws, rest: Some(Box::new(client)) })
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read().transpose();
        self.over = !matches!(read, Some(Ok(_)));
        read
    }
}

/// The columns that a header names; nothing for one that is to be passed over.
fn columns(names: &csv::StringRecord, ignore_unknown: bool) -> Result<Vec<Option<Column>>, Fault> {
    let columns: Vec<_> = names.iter().map(|name| Column::named(&plain(name))).collect();
    let unknown = names.iter().zip(&columns).filter(|(_, column)| column.is_none());
    let unknown: Vec<_> = unknown.map(|(name, _)| format!("{name:?}")).collect();
    if !unknown.is_empty() && !ignore_unknown {
        return Err(Fault::new(format!(
            "There is nothing to put these columns into: {}. Rename them, or pass over them with \
             --ignore-unknown-columns. Known are {}.",
            unknown.join(", "),
            Column::known()
        )));
    }
    let mut known: Vec<_> = columns.iter().flatten().map(Column::name).collect();
    if known.is_empty() {
        return Err(Fault::new(
            "The first line names no column of a client, such as first_name or email.",
        ));
    }
    known.sort_unstable();
    let pairs = known.iter().zip(known.iter().skip(1));
    if let Some((twice, _)) = pairs.into_iter().find(|(one, next)| one == next) {
        return Err(Fault::new(format!("Two columns are both {twice}: keep one.")));
    }
    Ok(columns)
}

/// What stands between the cells of a header: the more frequent of the two, outside of quotes.
fn delimiter(header: &[u8]) -> u8 {
    let (mut quoted, mut commas, mut semicolons) = (false, 0, 0);
    for byte in header {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => commas += 1,
            b';' if !quoted => semicolons += 1,
            _ => {}
        }
    }
    if semicolons > commas { b';' } else { b',' }
}

/// The first line, its end included, however it ends.
fn first_line(input: &mut impl Read) -> Result<Vec<u8>, Fault> {
    let (mut line, mut quoted, mut byte) = (Vec::new(), false, [0]);
    while line.len() < MOST_BYTES {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) => return Err(Fault::new(format!("It cannot be read: {error}."))),
        }
        quoted ^= byte[0] == b'"';
        if byte[0] == b'\n' && !quoted {
            break;
        }
    }
    Ok(line)
}

fn fault(error: &csv::Error, line: u64) -> Fault {
    match error.kind() {
        // It says the line itself: a cell may begin behind its row.
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Fault::new(error.to_string())
        }
        csv::ErrorKind::Io(error) => Fault::new(format!("Line {line}: {error}.")),
        _ => Fault::new(format!("Line {line} cannot be read: {error}.")),
    }
}

/// Ends a row that does not end: whoever forgot a quotation mark has made the rest of the file
/// one cell, and with it all rows that are in there.
struct Metered<R> {
    input: R,
    /// The bytes that the present row may still take.
    budget: Rc<Cell<usize>>,
    quotes: Quotes,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        let open = self.quotes.open_since();
        if let Some(line) = open.filter(|_| left == 0) {
            return Err(unclosed(line, "is not closed within 1 MiB"));
        }
        if left == 0 {
            return Err(io::Error::other("a row begins here that is longer than 1 MiB"));
        }
        let most = buffer.len().min(left);
        let read = self.input.read(&mut buffer[..most])?;
        if let Some(line) = open.filter(|_| read == 0 && most > 0) {
            return Err(unclosed(line, "is never closed"));
        }
        self.quotes.pass(&buffer[..read]);
        self.budget.set(left - read);
        Ok(read)
    }
}

fn unclosed(line: u64, how: &str) -> io::Error {
    let sentence = format!(
        "Line {line} opens a quotation mark that {how}: the rest of the file was not read. Close \
         it, or write it twice where it belongs to the text."
    );
    io::Error::new(io::ErrorKind::UnexpectedEof, sentence)
}

/// A cell as it is safe in a spreadsheet.
fn safe(text: &str) -> Cow<'_, str> {
    if is_formula(text) { format!("{APOSTROPHE}{text}").into() } else { text.into() }
}

/// A cell as it was before it was made safe.
fn plain(cell: &str) -> Cow<'_, str> {
    match cell.strip_prefix(APOSTROPHE) {
        Some(rest) if is_formula(rest) => rest.into(),
        _ => cell.into(),
    }
}

/// Whether it begins like a formula, or would if it lost its apostrophes.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(APOSTROPHE).starts_with(FORMULAS)
}

/// Writes clients as a table.
pub struct Writer<W: Write> {
    table: csv::Writer<W>,
    columns: Vec<Column>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn begin(output: W, columns: Vec<Column>) -> io::Result<Self> {
        let terminator = csv::Terminator::CRLF;
        let mut table = csv::WriterBuilder::new().terminator(terminator).from_writer(output);
        table.write_record(columns.iter().map(Column::name))?;
        Ok(Self { table, columns })
    }

    pub fn write(&mut self, client: &Client) -> io::Result<()> {
        for column in &self.columns {
            self.table.write_field(safe(&column.text(client)).as_ref())?;
        }
        Ok(self.table.write_record(None::<&[u8]>)?)
    }

    pub fn end(mut self) -> io::Result<()> {
        self.table.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transfer::columns::{WRITTEN, tests::clients};

    fn read(text: &str) -> Vec<Row> {
        Reader::open(text.as_bytes(), false).unwrap().map(Result::unwrap).collect()
    }

    fn refused(text: &str) -> String {
        let rows = Reader::open(text.as_bytes(), false);
        let fault = rows.and_then(std::iter::Iterator::collect::<Result<Vec<_>, _>>);
        fault.unwrap_err().to_string()
    }

    fn written(clients: &[Client]) -> String {
        let labels = clients.iter().flat_map(|client| client.labels.keys().cloned());
        let labels: std::collections::BTreeSet<_> = labels.collect();
        let columns = WRITTEN.into_iter().chain(labels.into_iter().map(Column::Label)).collect();
        let mut output = Vec::new();
        let mut writer = Writer::begin(&mut output, columns).unwrap();
        clients.iter().for_each(|client| writer.write(client).unwrap());
        writer.end().unwrap();
        String::from_utf8(output).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(sent in proptest::collection::vec(clients(), 1..5)) {
            let read: Vec<_> = read(&written(&sent)).into_iter().map(|row| row.client.unwrap()).collect();
            prop_assert_eq!(read, sent);
        }

        /// Security checklist 52.
        #[test]
        fn no_cell_is_a_formula(client in clients()) {
            let written = written(&[client]);
            for record in csv::Reader::from_reader(written.as_bytes()).records() {
                for cell in &record.unwrap() {
                    prop_assert!(!cell.starts_with(FORMULAS), "{cell:?}");
                }
            }
        }
    }

    #[test]
    fn a_formula_is_marked_as_text_and_read_as_it_was() {
        for (text, cell) in [
            ("+31 6 12", "'+31 6 12"),
            ("=1+1", "'=1+1"),
            ("'=1", "''=1"),
            ("'s-Hertogenbosch", "'s-Hertogenbosch"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!((safe(text).as_ref(), plain(cell).as_ref()), (cell, text));
        }
        assert_eq!(plain("+31"), "+31", "what somebody typed themselves");
    }

    #[test]
    fn commas_and_semicolons_are_told_apart_by_the_header() {
        for text in [
            "first_name,notes\nAda,a;b\n",
            "first_name;notes\r\nAda;a;b\r\n".replace("a;b", "\"a;b\"").as_str(),
        ] {
            let rows = read(text);
            let client = rows[0].client.as_ref().unwrap();
            assert_eq!((client.first_name.as_str(), client.notes.as_str()), ("Ada", "a;b"));
        }
        assert_eq!(delimiter(b"\"a;b;c\",d"), b',');
    }

    #[test]
    fn rows_know_their_lines_and_a_bad_one_stops_no_other() {
        let rows =
            read("first_name,coach,notes\nAda,2,\"two\nlines\"\n,,\nBob,Ana\nEve,x,\nZoe,,\n");
        let lines: Vec<_> = rows.iter().map(|row| (row.line, row.client.is_ok())).collect();
        assert_eq!(lines, [(2, true), (5, false), (6, false), (7, true)]);
        assert_eq!(rows[0].client.as_ref().unwrap().coach_id, 2);
        let flaw = "has 2 cells where the header has 3".to_owned();
        assert_eq!(rows[1].client, Err(Flawed::wholly(flaw)));
        // What else a row says is known.
        let rows = read("first_name,status,email\nBob,happy,bob\n");
        let flawed = rows[0].client.as_ref().unwrap_err();
        assert_eq!(flawed.flaws.len(), 1);
        assert_eq!(flawed.rest.as_ref().unwrap().email, "bob");
    }

    #[test]
    fn a_header_that_cannot_be_meant_is_refused() {
        let unknown = refused("surname,email,age\n");
        assert!(unknown.contains("\"surname\", \"age\""), "{unknown}");
        assert!(unknown.contains("Known are first_name, last_name, email"), "{unknown}");
        assert!(refused("coach,coach_id\n").contains("both coach_id"));
        assert!(refused("").contains("names no column"));
        let rows = Reader::open(&b"surname,email\nx,a@example.com\n"[..], true).unwrap();
        assert_eq!(rows.count(), 1);
    }

    #[test]
    fn a_row_without_end_is_refused_where_it_begins() {
        let endless = format!("first_name\nAda\n{}", "x".repeat(2 * MOST_BYTES));
        assert!(refused(&endless).starts_with("Line 3: a row begins here"));
        let quoted = format!("first_name\nAda\n\"{}", "x".repeat(2 * MOST_BYTES));
        let said = "Line 3 opens a quotation mark that is not closed within 1 MiB";
        assert!(refused(&quoted).starts_with(said), "{}", refused(&quoted));
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_swallows_no_rows() {
        for text in [
            "first_name,notes\nAda,\nBob,\"as he said\nEve,\nZoe,\n",
            "first_name,notes\nAda,\"one\"\n\"Bob\",\"as he \"\"said\"\"\nEve,\n",
            "first_name,notes\nAda,a 5\" pipe\n\"Bob\nEve,\n",
        ] {
            let said = refused(text);
            assert!(
                said.starts_with("Line 3 opens a quotation mark that is never closed"),
                "{said}"
            );
            assert!(said.contains("the rest of the file was not read"), "{said}");
        }
        let behind = "first_name,last_name,notes\nAda,\"two\nlines\",\"more\nEve,,\n";
        assert!(refused(behind).starts_with("Line 3 opens"), "{}", refused(behind));
        assert!(refused("first_name,\"notes\nAda,\n").starts_with("Line 1 opens"));
        // At the very end it is closed.
        assert_eq!(read("first_name,notes\nAda,\"closed\"").len(), 1);
    }
}
