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
