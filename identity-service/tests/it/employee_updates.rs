//! Changing what is said of the people of an account.

use crate::employees::employee;
use crate::support::{Identity, Person, mask, signed, someone};
use proto::{
    common::v1::{Permission::ViewPayments, Role},
    identity::v1::{self as pb},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

/// Security checklist 42.
#[tokio::test]
async fn an_update_takes_what_is_there_or_what_the_mask_names() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let hired = pb::Employee { phone_number: "1".into(), ..someone("bob", Role::Employee) };
    let bob = identity.hire(&ana, hired).await;
    let named = pb::Employee { first_name: "Bob".into(), ..employee(bob.id) };
    let after = identity.update(&ana, named, &[]).await.unwrap();
    assert_eq!((after.first_name.as_str(), after.phone_number.as_str()), ("Bob", "1"));
    assert_ne!(after.etag, bob.etag);

    let masked = pb::Employee {
        name: "ignored".into(),
        email: "ignored@example.com".into(),
        job_role: "Coach".into(),
        ..employee(bob.id)
    };
    let after = identity.update(&ana, masked, &["job_role", "phone_number"]).await.unwrap();
    let told = (after.name.as_str(), after.job_role.as_str(), after.phone_number.as_str());
    assert_eq!(told, ("bob", "Coach", ""));
    assert_eq!(after.email, "bob@example.com");

    let before = identity.digest().await;
    for path in ["*", "id", "email", "account_id", "etag", "permissions", "is_superuser", "Name"] {
        let refused = refusal(identity.update(&ana, after.clone(), &["name", path]).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["update_mask".to_owned()]),
            "{path}"
        );
    }
    for path in ["name", "role", "is_active"] {
        let refused = refusal(identity.update(&ana, employee(bob.id), &[path]).await);
        assert_eq!(
            (refused.reason.as_str(), refused.fields),
            ("MISSING_FIELDS", vec![format!("employee.{path}")])
        );
    }
    let refused = refusal(identity.update(&ana, employee(999_999), &["phone_number"]).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 42.
#[tokio::test]
async fn an_update_ignores_what_cannot_change_unless_it_is_changed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let whole = identity.seen(&bob, bob.id).await.unwrap();
    // All of it comes back, as programs do it, with one thing changed.
    let renamed = pb::Employee { name: "Bobby".into(), ..whole.clone() };
    assert_eq!(identity.update(&bob, renamed, &[]).await.unwrap().name, "Bobby");
    let shouted = pb::Employee { email: "BOB@example.com".into(), ..employee(bob.id) };
    let same = identity.update(&ana, shouted, &[]).await.unwrap();
    assert_eq!(same.email, "bob@example.com", "the same address, written in another way");
    let before = identity.digest().await;
    let moved = pb::Employee { email: "bobby@example.com".into(), ..employee(bob.id) };
    let refused = refusal(identity.update(&ana, moved, &[]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refused.fields, ["employee.email"]);
    let name = "x".repeat(256);
    let both = pb::Employee { name, email: "bobby@example.com".into(), ..employee(bob.id) };
    let refused = refusal(identity.update(&ana, both, &[]).await);
    assert_eq!(refused.fields, ["employee.name", "employee.email"], "all of it at once");
    let stale = pb::Employee { name: "Late".into(), ..whole };
    let refused = refusal(identity.update(&bob, stale, &["name"]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    for refused in [
        {
            let request = pb::DeleteEmployeeRequest {
                id: bob.id,
                etag: "v1".into(),
                request_id: String::new(),
            };
            refusal(identity.employees().delete_employee(signed(&ana, request)).await)
        },
        {
            let request = pb::UpdatePermissionsRequest {
                id: bob.id,
                etag: "v1".into(),
                ..Default::default()
            };
            refusal(identity.employees().update_permissions(signed(&ana, request)).await)
        },
        {
            let request = pb::UndeleteEmployeeRequest {
                id: bob.id,
                etag: "v1".into(),
                request_id: String::new(),
            };
            refusal(identity.employees().undelete_employee(signed(&ana, request)).await)
        },
    ] {
        assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    }
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 31.
#[tokio::test]
async fn people_change_their_profile_and_nothing_of_what_they_may_do() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let update_me = async |by: &Person, employee: pb::Employee, paths: &[&str]| {
        let request = pb::UpdateMeRequest {
            employee: Some(employee),
            update_mask: mask(paths),
            request_id: String::new(),
        };
        let answer = identity.auth().update_me(signed(by, request)).await?;
        Ok::<_, Status>(answer.into_inner().employee.unwrap())
    };
    let profile = pb::Employee {
        name: "Bob".into(),
        first_name: "Robert".into(),
        last_name: "Baker".into(),
        phone_number: "123".into(),
        ..Default::default()
    };
    // The id is that of whoever calls, whatever is sent.
    let after = update_me(&bob, pb::Employee { id: ana.id, ..profile }, &[]).await.unwrap();
    assert_eq!((after.id, after.last_name.as_str()), (bob.id, "Baker"));
    let cleared = update_me(&bob, pb::Employee::default(), &["phone_number"]).await.unwrap();
    assert_eq!((cleared.phone_number.as_str(), cleared.last_name.as_str()), ("", "Baker"));
    // All of it comes back, with one thing changed.
    let renamed = pb::Employee { name: "Rob".into(), ..cleared };
    let whole = update_me(&bob, renamed, &[]).await.unwrap();

    let before = identity.digest().await;
    for path in ["role", "job_role", "is_active", "email", "permissions", "*"] {
        let refused = refusal(update_me(&bob, whole.clone(), &[path]).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["update_mask".to_owned()]),
            "{path}"
        );
    }
    let super_admin = Role::SuperAdmin.into();
    for more in [
        pb::Employee { role: super_admin, ..Default::default() },
        pb::Employee { job_role: "Boss".into(), ..Default::default() },
        pb::Employee { is_active: Some(false), ..Default::default() },
    ] {
        let refused = refusal(update_me(&bob, more.clone(), &[]).await);
        assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
        for (person, more) in [
            (&bob, more.clone()),
            (
                &ana,
                pb::Employee { role: if more.role == 0 { 0 } else { Role::Admin.into() }, ..more },
            ),
        ] {
            let own = pb::Employee { id: person.id, ..more };
            let refused = refusal(identity.update(person, own, &[]).await);
            assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
        }
    }
    let moved = pb::Employee { email: "rob@example.com".into(), ..Default::default() };
    let refused = refusal(update_me(&bob, moved, &[]).await);
    assert_eq!(
        (refused.code, refused.fields),
        (Code::InvalidArgument, vec!["employee.email".to_owned()])
    );
    let refused = refusal(identity.grant(&ana, ana.id, &[ViewPayments]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
    assert_eq!(identity.digest().await, before);
}

/// An address that can be nobody's is not the present one: it is named beside what else is wrong.
#[tokio::test]
async fn a_changed_address_is_named_with_everything_else() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bad = pb::Employee {
        id: ana.id,
        email: "ana@".into(),
        phone_number: "1".repeat(33),
        ..Default::default()
    };
    let expected = ["employee.email", "employee.phone_number"];
    let refused = refusal(identity.update(&ana, bad.clone(), &[]).await);
    assert_eq!(refused.fields, expected);
    let request = pb::UpdateMeRequest { employee: Some(bad), ..Default::default() };
    let refused = refusal(identity.auth().update_me(signed(&ana, request)).await);
    assert_eq!(refused.fields, expected);
    // As it is, it may be sent back.
    let me = pb::Employee { name: "Ana".into(), ..identity.me(&ana.token).await.unwrap() };
    identity.update(&ana, me, &[]).await.unwrap();
}
