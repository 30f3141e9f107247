//! Clients: the people and companies that an account sells to.
//!
//! - Everyone signed in reads them; whoever manages all clients writes them.
//! - An e-mail address is optional, and one live client's within the account, whatever its case.
//! - Deleting hides a client, keeps what it was and frees its address; undeleting brings it back.
//! - A search finds clients by the beginnings of the words of name and address.

pub mod model;
pub mod rpc;
pub mod sql;
