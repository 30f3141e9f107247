//! How does a person hear from us outside of a call?
//!
//! - A letter is plain text with nothing to hide: a code in it is valid for a short time and
//!   works once.
//! - Sending never waits inside a transaction or a call: whoever has something to say keeps
//!   the letter, and sends it until the transport takes it or refuses it for good.
//! - Every attempt at one letter carries the same message id: a mail server may take a letter
//!   and lose its connection before saying so, and the second copy is recognised by the id.
//! - What is logged names neither a person nor a code.

mod folder;
pub mod letter;
pub mod post;
pub mod settings;
mod smtp;
mod sql;
pub mod transport;
