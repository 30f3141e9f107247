//! Clients: the people and companies that an account sells to.
//!
//! - Everyone signed in reads them, or those they have a part in, as the account says; whoever
//!   manages all clients writes them.
//! - An e-mail address is optional, and one live client's within the account, whatever its case.
//! - Coach, closer and setter are employees of the account who were active when they were given
//!   the part.
//! - Deleting hides a client, keeps what it was and frees its address; undeleting brings it back.
//! - A search finds clients by the beginnings of the words of name and address.
//! - Whoever writes clients lets [`work::follow`] see to what follows from them.

mod filter;
pub mod leave;
pub mod model;
pub mod parts;
pub mod rpc;
pub mod sql;
mod statistics;
mod status;
pub mod watch;
pub mod work;
