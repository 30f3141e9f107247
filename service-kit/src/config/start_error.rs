//! Why did the program not start, and what is to be done about it?

use std::fmt;

/// One sentence for each thing that keeps the program from starting, each saying what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct StartError(Vec<String>);

impl StartError {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(vec![sentence.into()])
    }

    /// Nothing, when nothing is wrong.
    pub fn all(sentences: Vec<String>) -> Result<(), Self> {
        if sentences.is_empty() { Ok(()) } else { Err(Self(sentences)) }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// The same sentences: a `main` that returns an error prints its `Debug`.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StartError {}
