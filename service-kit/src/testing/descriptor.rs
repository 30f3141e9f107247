//! What do the proto files say that a test can hold against the program?

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::policy::{Access, Rule};

/// The contract of both services.
pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(proto::DESCRIPTOR).unwrap()
}

/// The path of a method: `/crm.v1.ClientService/GetClient`.
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Every method of a package.
pub fn methods(pool: &DescriptorPool, package: &str) -> Vec<MethodDescriptor> {
    pool.services()
        .filter(|service| service.package_name() == package)
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// A field of a request, and how to get to it: `client.id`.
#[derive(Debug, Clone)]
pub struct Reached {
    pub path: Vec<FieldDescriptor>,
}

impl Reached {
    pub fn name(&self) -> String {
        self.path.iter().map(|field| field.name().to_owned()).collect::<Vec<_>>().join(".")
    }

    pub fn field(&self) -> &FieldDescriptor {
        self.path.last().unwrap()
    }
}

/// Every field that a message has, however deep.
pub fn fields(message: &MessageDescriptor) -> Vec<Reached> {
    let mut reached = Vec::new();
    walk(message, &mut Vec::new(), &mut reached);
    reached
}

fn walk(message: &MessageDescriptor, above: &mut Vec<FieldDescriptor>, reached: &mut Vec<Reached>) {
    for field in message.fields() {
        // A message inside itself has nothing new to show.
        if above.iter().any(|known| known.full_name() == field.full_name()) {
            continue;
        }
        above.push(field.clone());
        reached.push(Reached { path: above.clone() });
        if let Kind::Message(inner) = field.kind()
            && inner.package_name() != "google.protobuf"
        {
            walk(&inner, above, reached);
        }
        above.pop();
    }
}

/// Requests by which somebody other than a service could name an account: none, or sentences.
pub fn ways_to_name_an_account(
    pool: &DescriptorPool,
    package: &str,
    policy: &[Rule],
    output_only: &[&str],
) -> Vec<String> {
    let for_services = |method: &MethodDescriptor| {
        let path = path(method);
        policy.iter().any(|rule| rule.method == path && rule.access == Access::Service)
    };
    let mut found = Vec::new();
    for method in methods(pool, package).iter().filter(|method| !for_services(method)) {
        for reached in fields(&method.input()) {
            let field = reached.field();
            let names_account = field.name().contains("account_id") || field.name() == "tenant_id";
            if names_account && !output_only.contains(&field.full_name()) {
                found.push(format!("{} takes {}", method.full_name(), reached.name()));
            }
        }
    }
    found
}
