//! Keeping identity's answers, for as long as nothing that was taken back is good for anything.
//!
//! The rules are [`service_kit::lease`]'s. An answer is used only while identity-service lends
//! the right to: whoever takes something back is answered only when this process knows of it, or
//! has no such right any more. Without one every call asks, as in the other mode, and where
//! identity is silent nobody is let in.
//!
//! - [`answer`]: what is kept, and what touches it.
//! - [`keeper`]: who is calling? From what is kept, or by asking; one question at a time about
//!   each credential.
//! - [`follow`]: the stream by which leases are asked for and news comes.

pub mod answer;
mod flights;
pub mod follow;
pub mod keeper;
