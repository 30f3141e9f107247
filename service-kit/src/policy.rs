//! Who may call which method?
//!
//! Each service has one table of [`Rule`]s: sorted, aligned, no code. A method without a row
//! does not exist for callers: the auth layer answers it as unknown, and a test that compares
//! the table with the descriptor fails.

use std::collections::{BTreeSet, HashMap};

use proto::common::v1::{Permission, Role};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The path: `/crm.v1.ClientService/GetClient`.
    pub method: &'static str,
    /// Who.
    pub access: Access,
    /// Whether it can be called in an account that is closed.
    pub even_closed: bool,
    /// Whether it can change what a credential is good for: whoever called may rely on it once
    /// they are answered.
    pub takes_back: bool,
}

impl Rule {
    /// The same, also in an account that is closed.
    #[must_use]
    pub const fn even_closed(self) -> Self {
        Self { even_closed: true, ..self }
    }

    /// The same, answered only when everybody who has to knows what it did.
    #[must_use]
    pub const fn takes_back(self) -> Self {
        Self { takes_back: true, ..self }
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Everyone who is signed in, programs with an API key too.
    SignedIn,
    /// Every employee who is signed in: it is about themselves.
    Employee,
    /// Employees of this role or a higher one; no grant replaces it.
    AtLeast(Role),
    /// Whoever holds this, by role or by grant.
    Needs(Permission),
    /// Another service, by its own credential.
    Service,
    /// Whoever the setting `REFLECTION` says.
    Reflection,
}

/// A row, written on one line.
pub const fn rule(method: &'static str, access: Access) -> Rule {
    Rule { method, access, even_closed: false, takes_back: false }
}

/// What both services offer beside their own methods.
pub const COMMON: &[Rule] = &[
    rule("/grpc.health.v1.Health/Check", Access::Public),
    rule("/grpc.health.v1.Health/Watch", Access::Public),
    rule("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Reflection),
    rule("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access::Reflection),
];

/// The whole table of a service, by method.
#[derive(Debug)]
pub struct Policy {
    rules: HashMap<&'static str, Rule>,
    services: Vec<&'static str>,
}

impl Policy {
    /// The rows of a service and those that both have.
    pub fn new(rules: &[Rule]) -> Self {
        let services: BTreeSet<_> = rules.iter().map(service_of).collect();
        Self {
            rules: rules.iter().chain(COMMON).map(|rule| (rule.method, *rule)).collect(),
            services: services.into_iter().collect(),
        }
    }

    /// The row for a path.
    pub fn find(&self, path: &str) -> Option<Rule> {
        self.rules.get(path).copied()
    }

    /// The methods that ask for this.
    pub fn methods_for(&self, access: Access) -> impl Iterator<Item = &'static str> {
        self.rules.values().filter(move |rule| rule.access == access).map(|rule| rule.method)
    }

    /// The methods that can change what a credential is good for.
    pub fn methods_that_take_back(&self) -> impl Iterator<Item = &'static str> {
        self.rules.values().filter(|rule| rule.takes_back).map(|rule| rule.method)
    }

    /// The services whose methods these are, but for those that every server has:
    /// `crm.v1.ClientService`.
    pub fn services(&self) -> &[&'static str] {
        &self.services
    }
}

fn service_of(rule: &Rule) -> &'static str {
    let (service, _) = rule.method.rsplit_once('/').unwrap_or((rule.method, ""));
    service.trim_start_matches('/')
}

/// What differs between a policy table and the methods that a server has: nothing, or a list
/// of sentences.
pub fn differences<'a>(rules: &[Rule], methods: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let methods: BTreeSet<&str> = methods.into_iter().collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for rule in rules {
        if !seen.insert(rule.method) {
            found.push(format!("{} has two policy rows", rule.method));
        }
        if !methods.contains(rule.method) {
            found.push(format!("{} has a policy row and does not exist", rule.method));
        }
    }
    found.extend(methods.difference(&seen).map(|method| format!("{method} has no policy row")));
    found
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn methods_of(file: &prost_types::FileDescriptorProto) -> Vec<String> {
        let services = file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| (service.name(), method.name()))
        });
        let package = file.package();
        services.map(|(service, method)| format!("/{package}.{service}/{method}")).collect()
    }

    #[test]
    fn what_both_services_offer_is_what_their_libraries_have() {
        let sets = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let files = sets.map(|set| FileDescriptorSet::decode(set).unwrap().file).concat();
        let methods: Vec<String> = files.iter().flat_map(methods_of).collect();
        assert_eq!(methods.len(), 4, "{methods:?}");
        let methods = || methods.iter().map(String::as_str);
        assert_eq!(differences(COMMON, methods()), Vec::<String>::new());
        assert!(COMMON.is_sorted_by_key(|rule| rule.method), "the table must be sorted");

        let ghost = [COMMON, &[rule("/grpc.health.v1.Health/List", Access::Public)]].concat();
        assert_eq!(
            differences(&ghost, methods()),
            ["/grpc.health.v1.Health/List has a policy row and does not exist"]
        );
    }
}
