//! Client packages: what an account sold to whom, at what price, to be paid by what schedule.
//!
//! - Whoever sees a client sees what was sold to them; whoever manages client packages writes.
//! - Price and monthly amount are in one currency, which stays once there are instalments.
//! - The price is never changed to less than what payments cover of its instalments.
//! - Cancelling makes it inactive and closes its open instalments; an inactive one takes no new
//!   ones.
//! - Planning keeps what is allocated to, closes the rest, and spreads what is left of the price
//!   over new instalments: [`plan`] is the arithmetic of preview and generation alike.
//! - A deleted client takes nothing new, and no change but a cancellation.

pub mod model;
pub mod plan;
pub mod rpc;
pub mod sql;
pub mod work;
