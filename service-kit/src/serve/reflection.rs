//! What does a server tell about itself to tools that ask?
//!
//! What it answers, and no more: the contract of all services is one descriptor, but whoever
//! finds another server's methods here would call them in vain.

use prost::{
    DecodeError, Message,
    encoding::{decode_key, decode_varint},
};
use prost_types::FileDescriptorProto;
use tonic::service::Routes;

use crate::config::StartError;

/// Adds both versions that tools ask for, telling of these services and of health.
pub fn add(
    routes: Routes,
    descriptor: &'static [u8],
    services: &[&str],
) -> Result<Routes, StartError> {
    let files = files_of(descriptor, services).map_err(flaw)?;
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a tool can show what is in the details of a refusal.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        let builder = files.iter().fold(builder, |builder, file| {
            builder.register_encoded_file_descriptor_set(file.encoded)
        });
        let shown = services.iter().chain(&["grpc.health.v1.Health"]);
        shown.fold(builder, |builder, service| builder.with_service_name(*service))
    };
    let v1 = builder().build_v1().map_err(flaw)?;
    let v1alpha = builder().build_v1alpha().map_err(flaw)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn flaw(error: impl std::fmt::Display) -> StartError {
    StartError::new(format!("The descriptor cannot be reflected: {error}."))
}

/// A file of a descriptor.
struct File {
    proto: FileDescriptorProto,
    /// Itself as a set of one file. These are the bytes that tools get: they keep options of
    /// which `proto` knows nothing.
    encoded: &'static [u8],
}

/// The files that define these services, and everything that those import.
fn files_of(descriptor: &'static [u8], services: &[&str]) -> Result<Vec<File>, DecodeError> {
    let (mut chosen, mut others): (Vec<_>, Vec<_>) =
        split(descriptor)?.into_iter().partition(|file| file.defines_one_of(services));
    let mut looked_at = 0;
    while let Some(file) = chosen.get(looked_at) {
        let imports = file.proto.dependency.clone();
        let imported = |other: &mut File| imports.iter().any(|name| name == other.proto.name());
        chosen.extend(others.extract_if(.., imported));
        looked_at += 1;
    }
    Ok(chosen)
}

/// The files of a set, of which each entry is a set of one: entries merely follow one another.
fn split(mut set: &'static [u8]) -> Result<Vec<File>, DecodeError> {
    let mut files = Vec::new();
    while !set.is_empty() {
        let mut rest = set;
        decode_key(&mut rest)?;
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        // One that is cut off ends with the set, and is refused for that when it is decoded.
        rest = rest.get(length..).unwrap_or_default();
        let (encoded, after) = set.split_at(set.len() - rest.len());
        let entry = prost_types::FileDescriptorSet::decode(encoded)?;
        files.extend(entry.file.into_iter().map(|proto| File { proto, encoded }));
        set = after;
    }
    Ok(files)
}

impl File {
    fn defines_one_of(&self, services: &[&str]) -> bool {
        self.proto.service.iter().any(|service| {
            services.contains(&format!("{}.{}", self.proto.package(), service.name()).as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(services: &[&str]) -> Vec<String> {
        let files = files_of(proto::DESCRIPTOR, services).unwrap();
        let mut names: Vec<_> = files.iter().map(|file| file.proto.name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_service_is_described_with_all_that_its_file_imports_and_no_more() {
        let of_crm = [
            "common/v1/errors.proto",
            "crm/v1/client_service.proto",
            "google/protobuf/field_mask.proto",
            "google/protobuf/timestamp.proto",
        ];
        assert_eq!(names(&["crm.v1.ClientService"]), of_crm);
        let of_auth = names(&["identity.v1.AuthService"]);
        assert!(of_auth.contains(&"common/v1/access.proto".to_owned()), "an import of an import");
        assert!(!of_auth.contains(&"identity/v1/token_service.proto".to_owned()));
        assert_eq!(names(&["crm.v1.Nothing"]), [""; 0]);
    }

    #[test]
    fn the_bytes_of_a_file_are_those_of_the_descriptor() {
        let files = split(proto::DESCRIPTOR).unwrap();
        let together: Vec<u8> = files.iter().flat_map(|file| file.encoded).copied().collect();
        assert_eq!(together, proto::DESCRIPTOR);
    }

    #[test]
    fn a_damaged_descriptor_is_noticed() {
        let cut_off = &proto::DESCRIPTOR[..proto::DESCRIPTOR.len() - 1];
        assert!(split(cut_off).is_err());
        assert!(split(&[0xff; 8]).is_err());
    }
}
