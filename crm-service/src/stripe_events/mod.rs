//! What Stripe tells: taken in once, and applied in whatever order it comes.
//!
//! - A delivery is believed when it is signed with a secret of the endpoint it came by, over its
//!   very bytes, within the last minutes ([`signature`]).
//! - Each event goes into the inbox once, in the same transaction as what comes of it ([`work`]):
//!   delivered again it changes nothing.
//! - What is about a customer or charge that nobody told of yet is parked there, and what goes
//!   back of a charge that counts as failed. It is applied when the charge appears, or comes in
//!   after all; what waited for a customer a few charges at a time ([`backlog`]). Of what is told
//!   of an unknown customer one word waits. After a year of waiting it is swept.
//! - Money that no payment can be of, for its currency or amount, is parked for a person to see to,
//!   with the reason, and never passed over.
//! - Replayed, reordered or simultaneous, the events of a charge lead to the same payment: each
//!   time all that was told of it is looked at, and not only what came last ([`story`]).
//! - What a person said of a payment is undone by nothing that happened before they said it.

mod amounts;
pub mod backlog;
pub mod model;
pub mod page;
pub mod parked;
mod signature;
pub mod sql;
pub mod story;
pub mod work;
