//! In which line was the quotation mark opened that a table is inside of?
//!
//! Follows the bytes as the reader of tables takes them apart: a cell is quoted when it begins
//! with a mark, and a mark inside of it is written twice. The reader itself says nothing of a
//! cell that the end of the file closed.

/// Where in a table the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A cell begins.
    Beginning,
    /// In a cell in which marks mean nothing.
    Plain,
    Quoted,
    /// Behind a mark in a quoted cell: the end of the cell, or the first half of a mark.
    Marked,
}

/// What was passed of a table.
pub struct Quotes {
    delimiter: u8,
    place: Place,
    line: u64,
    opened: u64,
}

impl Quotes {
    /// Of cells that this stands between.
    pub fn between(delimiter: u8) -> Self {
        Self { delimiter, place: Place::Beginning, line: 1, opened: 1 }
    }

    pub fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.place = self.behind(*byte);
            self.line += u64::from(*byte == b'\n');
        }
    }

    /// The line of the mark that is not closed yet.
    pub fn open_since(&self) -> Option<u64> {
        (self.place == Place::Quoted).then_some(self.opened)
    }

    fn behind(&mut self, byte: u8) -> Place {
        let ends = byte == self.delimiter || matches!(byte, b'\r' | b'\n');
        match self.place {
            Place::Beginning if byte == b'"' => {
                self.opened = self.line;
                Place::Quoted
            }
            Place::Quoted if byte == b'"' => Place::Marked,
            Place::Quoted => Place::Quoted,
            Place::Marked if byte == b'"' => Place::Quoted,
            _ if ends => Place::Beginning,
            _ => Place::Plain,
        }
    }
}
