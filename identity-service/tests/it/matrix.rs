//! Who may do what to whom: every method, every kind of caller, every kind of person it can be
//! about.

use identity_service::POLICY;
use proto::common::v1::{Permission, Role};
use service_kit::policy::{
    Access::{self, AtLeast, Employee, Needs, SignedIn},
    Rule, rule,
};
use tonic::Code;

use crate::stage::{
    Actor, Beyond, EXAMPLES, Example, Said, Stage, Who, Whom, bracketed, targets, without_example,
};

/// Security checklist 29, 30, 31, 32 and 34.
#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let stage = Stage::set().await;
    let examples: Vec<_> = EXAMPLES.iter().collect();
    assert_eq!(without_example(POLICY, &examples), Vec::<&str>::new());
    let (tried, wrong) = differences(&stage, POLICY, &examples).await;
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 400, "{tried}");

    // And it can fail: with a row that says something else, and with a method left out.
    let get_me = "/identity.v1.AuthService/GetMe";
    let other = [rule(get_me, AtLeast(Role::SuperAdmin))];
    let (of_get_me, others): (Vec<_>, Vec<_>) =
        examples.into_iter().partition(|example| example.method == get_me);
    let (_, wrong) = differences(&stage, &other, &of_get_me).await;
    assert_eq!(wrong.len(), 4, "two employees, an admin, a key: {wrong:#?}");
    assert_eq!(without_example(POLICY, &others), [get_me]);
}

/// How many calls were tried, and which were not answered as they should be.
async fn differences(
    stage: &Stage,
    policy: &[Rule],
    examples: &[&Example],
) -> (usize, Vec<String>) {
    let (mut tried, mut wrong) = (0, Vec::new());
    for example in examples {
        let rule = policy.iter().find(|rule| rule.method == example.method).unwrap();
        for actor in &stage.actors {
            for whom in targets(example, actor) {
                let said = stage.call(actor, example, whom).await;
                let expected = expected(rule.access, example.beyond, actor, whom);
                tried += 1;
                if said != expected {
                    let (method, beyond, who) = (example.method, example.beyond, actor.who);
                    wrong.push(format!(
                        "{who:?} to {whom:?}: {method} ({beyond:?}) said {said:?}, not {expected:?}"
                    ));
                }
            }
        }
    }
    (tried, wrong)
}

fn ok() -> Said {
    (Code::Ok, String::new())
}

fn denied(reason: &str) -> Said {
    (Code::PermissionDenied, reason.to_owned())
}

/// What the contract says.
fn expected(access: Access, beyond: Beyond, actor: &Actor, whom: Whom) -> Said {
    if actor.who == Who::Nobody {
        return (Code::Unauthenticated, "TOKEN_MISSING".to_owned());
    }
    let refused = by_policy(access, actor.who);
    if refused == ok() { beyond_policy(beyond, actor.who, whom) } else { refused }
}

fn by_policy(access: Access, who: Who) -> Said {
    match access {
        Employee if who == Who::ApiKey => denied("EMPLOYEES_ONLY"),
        AtLeast(role) if who == Who::ApiKey || rank(who) < rank_of(role) => denied("ROLE_REQUIRED"),
        Needs(permission) if !holds(who, permission) => denied("PERMISSION_DENIED"),
        SignedIn | Employee | AtLeast(_) | Needs(_) => ok(),
        access => panic!("{access:?} is not for people"),
    }
}

fn beyond_policy(beyond: Beyond, who: Who, whom: Whom) -> Said {
    if beyond.has_target() && whom == Whom::Foreigner {
        return (Code::NotFound, "NOT_FOUND".to_owned());
    }
    match beyond {
        Beyond::Managed | Beyond::Ranked if whom == Whom::Oneself => ok(),
        Beyond::Ranked => ranks(who, whom),
        Beyond::ManagedOther | Beyond::ChangesRole | Beyond::Grants(_) if whom == Whom::Oneself => {
            denied("OWN_AUTHORITY")
        }
        Beyond::Managed | Beyond::ManagedOther => manages(who, whom),
        Beyond::ChangesRole | Beyond::Grants(_) if manages(who, whom) != ok() => manages(who, whom),
        Beyond::ChangesRole | Beyond::OfEveryone => for_super_admins(who),
        Beyond::Grants(_) if whom != Whom::Employee && who != Who::SuperAdmin => {
            denied("ROLE_REQUIRED")
        }
        // A key that makes keys would have to be somebody.
        Beyond::MakesKey(_) if who == Who::ApiKey => denied("EMPLOYEES_ONLY"),
        Beyond::Grants(permission) | Beyond::MakesKey(permission) if !holds(who, permission) => {
            denied("PERMISSION_ABOVE_OWN")
        }
        Beyond::Makes(role) if rank(who) < rank_of(role) => denied("ROLE_ABOVE_OWN"),
        _ => ok(),
    }
}

/// Requirement R19.
fn manages(who: Who, whom: Whom) -> Said {
    match (who, whom) {
        (Who::SuperAdmin, _) | (Who::Admin, Whom::Employee | Whom::Admin) => ok(),
        (Who::Admin, _) => denied("RANK_TOO_LOW"),
        _ => denied("ROLE_REQUIRED"),
    }
}

/// What is said of somebody without managing them.
fn ranks(who: Who, whom: Whom) -> Said {
    let above = match whom {
        Whom::SuperAdmin => rank(who) < rank_of(Role::SuperAdmin),
        Whom::Admin => rank(who) < rank_of(Role::Admin),
        Whom::Oneself | Whom::Employee | Whom::Foreigner => false,
    };
    if above { denied("RANK_TOO_LOW") } else { ok() }
}

fn for_super_admins(who: Who) -> Said {
    if who == Who::SuperAdmin { ok() } else { denied("ROLE_REQUIRED") }
}

fn rank(who: Who) -> u8 {
    match who {
        Who::Nobody => 0,
        Who::Employee | Who::Granted | Who::ApiKey => 1,
        Who::Admin => 2,
        Who::SuperAdmin => 3,
    }
}

fn rank_of(role: Role) -> u8 {
    match role {
        Role::Unspecified => 0,
        Role::Employee => 1,
        Role::Admin => 2,
        Role::SuperAdmin => 3,
    }
}

fn holds(who: Who, permission: Permission) -> bool {
    use Permission::{ManageApiKeys, ManageStripeEndpoints, ViewAudit};
    match who {
        Who::Nobody | Who::Employee => false,
        Who::Granted | Who::ApiKey => bracketed().contains(&permission),
        Who::Admin => ![ManageApiKeys, ManageStripeEndpoints, ViewAudit].contains(&permission),
        Who::SuperAdmin => true,
    }
}
