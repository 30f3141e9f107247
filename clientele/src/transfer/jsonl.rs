//! How are clients read from JSON, one on each line, and written so?

use std::io::{self, BufRead, Read, Write};

use proto::crm::v1::Client;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::{
    columns::{Column, WRITTEN},
    fault::Fault,
    rows::{Flawed, MOST_BYTES, Row},
};

/// The key of the object that holds the labels.
const LABELS: &str = "labels";

/// The clients on the lines of a file.
pub struct Reader<R> {
    input: R,
    line: u64,
    ignore_unknown: bool,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn open(input: R, ignore_unknown: bool) -> Self {
        Self { input, line: 0, ignore_unknown, over: false }
    }

    fn read(&mut self) -> Result<Option<Row>, Fault> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let line = self.line;
            let mut limited = self.input.by_ref().take(MOST_BYTES as u64);
            let read = limited.read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| Fault::new(format!("Line {line}: {error}.")))?;
            if read == MOST_BYTES {
                return Err(Fault::new(format!("Line {line} is longer than 1 MiB.")));
            }
            if read == 0 {
                return Ok(None);
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Row { line, client: self.client(&bytes) }));
            }
        }
    }

    fn client(&self, line: &[u8]) -> Result<Client, Flawed> {
        let object: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| Flawed::wholly(format!("is no JSON object: {error}")))?;
        let (mut client, mut flaws) = (Client::default(), Vec::new());
        for (key, value) in &object {
            if let Err(flaw) = self.put(&mut client, key, value) {
                flaws.push(flaw);
            }
        }
        if flaws.is_empty() {
            Ok(client)
        } else {
            Err(Flawed { flaws, rest: Some(Box::new(client)) })
        }
    }

    fn put(&self, client: &mut Client, key: &str, value: &Value) -> Result<(), String> {
        if key == LABELS {
            return put_labels(client, value);
        }
        match Column::named(key) {
            Some(column) => column.put(client, &text(key, value)?),
            None if self.ignore_unknown => Ok(()),
            None => {
                Err(format!("there is nothing to put {key:?} into; known are {}", Column::known()))
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
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

fn put_labels(client: &mut Client, value: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let labels = value.as_object().ok_or_else(|| format!("{LABELS} must be an object"))?;
    for (key, value) in labels {
        client.labels.insert(key.clone(), text(key, value)?);
    }
    Ok(())
}

/// A text, or a number as it is written.
fn text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(format!("{key} must be a text")),
    }
}

/// Writes a client on a line of its own; what is empty is left out.
pub fn write(output: &mut impl Write, client: &Client) -> io::Result<()> {
    let mut json = serde_json::Serializer::new(&mut *output);
    let mut object = json.serialize_map(None)?;
    for column in WRITTEN {
        let text = column.text(client);
        if !text.is_empty() {
            object.serialize_entry(&column.name(), &text)?;
        }
    }
    if !client.labels.is_empty() {
        object.serialize_entry(LABELS, &client.labels)?;
    }
    object.end()?;
    output.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transfer::columns::tests::clients;

    fn read(text: &str) -> Vec<Row> {
        Reader::open(text.as_bytes(), false).map(Result::unwrap).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(sent in proptest::collection::vec(clients(), 1..5)) {
            let mut written = Vec::new();
            for client in &sent {
                write(&mut written, client).unwrap();
            }
            let read = read(std::str::from_utf8(&written).unwrap());
            let read: Vec<_> = read.into_iter().map(|row| row.client.unwrap()).collect();
            prop_assert_eq!(read, sent);
        }
    }

    #[test]
    fn the_old_spelling_is_understood() {
        let rows = read(
            r#"{"first_name": "Ada", "coach": 2, "closer_id": "3", "status": "paused", "notes": null}"#,
        );
        let client = rows[0].client.as_ref().unwrap();
        assert_eq!((client.coach_id, client.closer_id, client.status), (2, 3, 4));
    }

    #[test]
    fn a_bad_line_is_refused_with_all_that_is_wrong_and_stops_no_other() {
        let rows = read(
            "{\"first_name\": true, \"surname\": \"x\"}\n\nno json\n[1]\n{\"labels\": 7}\n{}\n",
        );
        let lines: Vec<_> = rows.iter().map(|row| (row.line, row.client.is_ok())).collect();
        assert_eq!(lines, [(1, false), (3, false), (4, false), (5, false), (6, true)]);
        let flaws = &rows[0].client.as_ref().unwrap_err().flaws;
        assert_eq!(flaws[0], "first_name must be a text");
        let unknown = "there is nothing to put \"surname\" into; known are first_name, last_name";
        assert!(flaws[1].starts_with(unknown), "{flaws:?}");
        let ignoring = Reader::open(&b"{\"surname\": \"x\"}"[..], true);
        assert!(ignoring.map(Result::unwrap).all(|row| row.client.is_ok()));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = format!("{{}}\n\"{}", "x".repeat(MOST_BYTES));
        let last = Reader::open(endless.as_bytes(), false).last().unwrap();
        assert_eq!(last.unwrap_err().to_string(), "Line 2 is longer than 1 MiB.");
    }
}
