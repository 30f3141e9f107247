//! Who may call what, in the words of the contract, held against a policy.
//!
//! **P** the public, **A** anybody signed in, **S** employees, about themselves, **ad** admins,
//! **su** super admins, **svc** services; a permission in brackets grants it to others too.

use proto::common::v1::{Permission, Role};

use crate::{
    access,
    policy::{Access, Rule, rule},
};

/// A service, some of its methods, and who may call them.
pub type Line = (&'static str, &'static str, &'static str);

/// The policy says what the contract says, no more and no less.
pub fn the_policy_says_what_the_contract_says(package: &str, contract: &[Line], policy: &[Rule]) {
    assert_eq!(departures(package, contract, policy), Vec::<String>::new());

    // And it can fail: with a row that is for others, and with one that is gone.
    let mut other = policy.to_vec();
    other[0] = rule(policy[0].method, Access::AtLeast(Role::Employee));
    let said = departures(package, contract, &other);
    assert_eq!(said, [format!("{} is for AtLeast(Employee)", policy[0].method)]);
    let said = departures(package, contract, &policy[1..]);
    assert_eq!(said, [format!("{} is for nobody", policy[0].method)]);
}

/// How the policy differs from the contract: not at all, or sentences.
fn departures(package: &str, contract: &[Line], policy: &[Rule]) -> Vec<String> {
    let paths = contract.iter().flat_map(|(service, methods, who)| {
        let path = move |method| (format!("/{package}.{service}/{method}"), meant_by(who));
        methods.split(' ').map(path)
    });
    let paths: Vec<_> = paths.collect();
    let said = |rule: &Rule| {
        let mut lines = paths.iter().filter(|(path, _)| path == rule.method);
        let line = lines.next().map(|(_, access)| *access);
        assert!(lines.next().is_none(), "{} is there twice", rule.method);
        line
    };
    let wrong = policy.iter().filter(|rule| said(rule) != Some(rule.access));
    let wrong = wrong.map(|rule| format!("{} is for {:?}", rule.method, rule.access));
    let forgotten = paths.iter().filter(|(path, _)| policy.iter().all(|it| it.method != path));
    wrong.chain(forgotten.map(|(path, _)| format!("{path} is for nobody"))).collect()
}

/// What the words stand for in a policy. Where they name somebody's own self first, the policy
/// lets every employee in and the rest depends on whom it is about.
fn meant_by(who: &str) -> Access {
    let (who, permission) = match who.split_once(" [") {
        Some((who, name)) => (who, access::permission_from_name(name.trim_end_matches(']'))),
        None => (who.split([',', ' ']).next().unwrap(), None),
    };
    match (who, permission) {
        ("P", None) => Access::Public,
        ("A", None) => Access::SignedIn,
        ("S", None) => Access::Employee,
        ("ad", None) => Access::AtLeast(Role::Admin),
        ("su", None) => Access::AtLeast(Role::SuperAdmin),
        ("svc", None) => Access::Service,
        // The permission says it all, if those of the rank hold it and nobody below does.
        ("ad", Some(it)) if lowest_to_hold(it) == Role::Admin => Access::Needs(it),
        ("su", Some(it)) if lowest_to_hold(it) == Role::SuperAdmin => Access::Needs(it),
        _ => panic!("{who} {permission:?} is none of the contract's words"),
    }
}

fn lowest_to_hold(permission: Permission) -> Role {
    let mut roles = [Role::Employee, Role::Admin, Role::SuperAdmin].into_iter();
    roles.find(|role| access::held_by(*role).contains(&permission)).unwrap()
}
