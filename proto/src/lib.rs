//! The contract between callers and services: generated code, and the descriptor of it all.
#![allow(clippy::all, clippy::pedantic, reason = "generated code")]

/// What both services say in the same words.
pub mod common {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("common.v1");
    }
}

/// Accounts, employees and their credentials.
pub mod identity {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("identity.v1");
    }
}

/// Clients and what they buy.
pub mod crm {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("crm.v1");
    }
}

/// The encoded `google.protobuf.FileDescriptorSet` of all of the above and what they import.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// A request that may be sent again under the same `request_id` without a second effect.
pub trait Repeatable: prost::Message + prost::Name {
    /// As the caller sent it; empty when they do not mean to repeat.
    fn request_id(&self) -> &str;
    /// What must be equal in a repeat: the encoded request without its `request_id`, of which
    /// there are several spellings.
    fn body(&self) -> Vec<u8>;
}

/// A request for one page of a list.
pub trait Paged: prost::Message + prost::Name + Sized {
    /// Which page.
    fn ask(&self) -> PageAsk<'_>;
    /// What the pages are of: the request with everything taken out that may differ between
    /// two pages of one list.
    fn query(&self) -> Self;
}

/// The fields that every list request has.
#[derive(Debug, Clone, Copy)]
pub struct PageAsk<'a> {
    /// How many rows at most.
    pub size: i32,
    /// Where the page before ended.
    pub token: &'a str,
    /// How many rows to pass over.
    pub skip: i32,
    /// In which order.
    pub order_by: &'a str,
    /// Whether to count all rows.
    pub include_total: bool,
}

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));
