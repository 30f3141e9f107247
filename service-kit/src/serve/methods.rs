//! Which methods does a server have, and what must the layers know of each?

use std::{collections::HashMap, sync::Arc};

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::config::StartError;

/// What every server has beside its own services.
const COMMON_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// A method of this server.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// `crm.v1.ClientService/GetClient`
    pub name: Arc<str>,
    /// It answers with many messages, over a time that only the caller ends.
    pub streaming: bool,
    /// It says nothing about the product: health and reflection.
    pub quiet: bool,
}

/// The methods by their paths.
pub struct Methods(HashMap<String, Arc<Method>>);

impl Methods {
    /// Those of some services of a descriptor, and those that every server has.
    pub fn of(descriptor: &[u8], services: &[&str]) -> Result<Self, StartError> {
        let sets = [
            descriptor,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods = HashMap::new();
        for set in sets {
            let set = FileDescriptorSet::decode(set).map_err(|error| {
                StartError::new(format!(
                    "The built-in descriptor is damaged: {error}. Build it again."
                ))
            })?;
            let of_set = methods_of(&set).filter(|(service, _)| {
                services.contains(&service.as_str()) || COMMON_SERVICES.contains(&service.as_str())
            });
            methods
                .extend(of_set.map(|(_, method)| (format!("/{}", method.name), Arc::new(method))));
        }
        Ok(Self(methods))
    }

    /// The method that a path names.
    pub fn find(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }
}

fn methods_of(set: &FileDescriptorSet) -> impl Iterator<Item = (String, Method)> {
    set.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let service_name = format!("{}.{}", file.package(), service.name());
            let quiet = COMMON_SERVICES.contains(&service_name.as_str());
            service.method.iter().map(move |method| {
                let name = format!("{service_name}/{}", method.name()).into();
                let method = Method { name, streaming: method.server_streaming(), quiet };
                (service_name.clone(), method)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_knows_its_own_methods_and_those_that_all_have() {
        let methods = Methods::of(proto::DESCRIPTOR, &["crm.v1.ClientService"]).unwrap();
        let get = methods.find("/crm.v1.ClientService/GetClient").unwrap();
        assert_eq!(&*get.name, "crm.v1.ClientService/GetClient");
        assert!(!get.streaming && !get.quiet);
        let watch = methods.find("/grpc.health.v1.Health/Watch").unwrap();
        assert!(watch.streaming && watch.quiet);
        assert!(
            methods.find("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").is_some()
        );
        assert!(methods.find("/identity.v1.AuthService/Login").is_none(), "the other service's");
    }

    #[test]
    fn a_damaged_descriptor_is_a_start_error() {
        assert!(Methods::of(&[0xff; 8], &[]).is_err());
    }
}
