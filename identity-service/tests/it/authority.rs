//! Who manages whom, and what they may give and take.

use crate::employees::employee;
use crate::support::{Identity, Person, create_employee, numbers, signed, someone};
use proto::{
    common::v1::{
        Permission::{self, ManageApiKeys, ManageEmployees, ViewAllClients, ViewPayments},
        Role,
    },
    identity::v1::{self as pb},
};
use service_kit::testing::refusal::refusal;
use tonic::Code;

#[tokio::test]
async fn nobody_gives_a_role_above_their_own_and_employees_none() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let admin = identity.add(&owner, "admin", Role::Admin).await;
    let employee = identity.add(&owner, "employee", Role::Employee).await;
    let before = identity.digest().await;
    for (by, role, reason) in [
        (&admin, Role::SuperAdmin, "ROLE_ABOVE_OWN"),
        (&employee, Role::Employee, "PERMISSION_DENIED"),
        (&employee, Role::SuperAdmin, "PERMISSION_DENIED"),
    ] {
        let refused = refusal(
            identity.employees().create_employee(signed(by, create_employee("x", role))).await,
        );
        assert_eq!(refused.said(), (Code::PermissionDenied, reason), "{role:?}");
        if reason == "ROLE_ABOVE_OWN" {
            assert_eq!(refused.metadata, [("role".to_owned(), "super_admin".to_owned())]);
        }
    }
    assert_eq!(identity.digest().await, before);
    let denied = refusal(
        identity
            .employees()
            .create_employee(signed(&employee, create_employee("x", Role::Employee)))
            .await,
    );
    assert_eq!(denied.metadata, [("permission".to_owned(), "manage_employees".to_owned())]);
    identity.add(&admin, "peer", Role::Admin).await;
    identity.add(&owner, "partner", Role::SuperAdmin).await;
}

/// Security checklist 30, requirement R19.
#[tokio::test]
async fn admins_manage_employees_and_other_admins_and_no_super_admin() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let peer = identity.hire(&ana, someone("peer", Role::Admin)).await.id;
    let partner = identity.hire(&ana, someone("partner", Role::SuperAdmin)).await.id;
    let named = |id| pb::Employee { name: "New".into(), ..employee(id) };
    for id in [bob, peer] {
        identity.update(&admin, named(id), &[]).await.unwrap();
        identity.set_active(&admin, id, false).await.unwrap();
        identity.set_active(&admin, id, true).await.unwrap();
        identity.delete(&admin, id).await.unwrap();
        identity.undelete(&admin, id).await.unwrap();
    }
    let before = identity.digest().await;
    for refused in [
        refusal(identity.update(&admin, named(partner), &[]).await),
        refusal(identity.set_active(&admin, partner, false).await),
        refusal(identity.set_role(&admin, partner, Role::Employee).await),
        refusal(identity.grant(&admin, partner, &[]).await),
        refusal(identity.delete(&admin, partner).await),
        refusal(identity.undelete(&admin, partner).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    }
    for refused in [
        refusal(identity.set_role(&admin, bob, Role::Admin).await),
        refusal(identity.set_role(&admin, peer, Role::Employee).await),
        refusal(identity.grant(&admin, peer, &[ViewPayments]).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
        assert_eq!(refused.metadata, [("role".to_owned(), "super_admin".to_owned())]);
    }
    assert_eq!(identity.digest().await, before);
    identity.set_role(&ana, peer, Role::Employee).await.unwrap();
    identity.set_role(&ana, bob, Role::Admin).await.unwrap();
    identity.set_role(&ana, partner, Role::Admin).await.unwrap();
    identity.grant(&ana, partner, &[ManageApiKeys]).await.unwrap();

    // A deleted super admin is one still.
    identity.set_role(&ana, partner, Role::SuperAdmin).await.unwrap();
    identity.delete(&ana, partner).await.unwrap();
    let refused = refusal(identity.undelete(&admin, partner).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
}

/// Security checklist 32.
#[tokio::test]
async fn nobody_gives_or_takes_a_permission_that_they_do_not_hold() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let both = identity.grant(&admin, bob, &[ViewPayments, ViewAllClients, ViewPayments]).await;
    assert_eq!(both.unwrap().permissions, numbers(&[ViewAllClients, ViewPayments]));
    let refused = refusal(identity.grant(&admin, bob, &[ViewPayments, ManageApiKeys]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_ABOVE_OWN"));
    assert_eq!(refused.metadata, [("permissions".to_owned(), "manage_api_keys".to_owned())]);
    identity.grant(&ana, bob, &[ManageApiKeys]).await.unwrap();
    let refused = refusal(identity.grant(&admin, bob, &[]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_ABOVE_OWN"));
    // What stays as it is was not given.
    identity.grant(&admin, bob, &[ManageApiKeys, ViewPayments]).await.unwrap();
    identity.grant(&ana, admin.id, &[ManageApiKeys]).await.unwrap();
    identity.grant(&admin, bob, &[]).await.unwrap();

    for permissions in [vec![0], vec![99], vec![3, -1], vec![3; 65]] {
        let request = pb::UpdatePermissionsRequest { id: bob, permissions, ..Default::default() };
        let refused = refusal(identity.employees().update_permissions(signed(&ana, request)).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["permissions".to_owned()])
        );
    }
    assert_eq!(identity.seen(&ana, bob).await.unwrap().permissions, Vec::<i32>::new());
}

#[tokio::test]
async fn the_catalogue_says_who_holds_what() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = signed(&ana, pb::ListPermissionsRequest {});
    let catalogue = identity.employees().list_permissions(request).await.unwrap().into_inner();
    assert_eq!(catalogue.permissions.len(), 17);
    let held_by = |permission: Permission| {
        let entry =
            catalogue.permissions.iter().find(|entry| entry.permission == i32::from(permission));
        let entry = entry.unwrap();
        (entry.name.as_str(), entry.held_by.clone())
    };
    let super_admin = Role::SuperAdmin.into();
    assert_eq!(held_by(ViewPayments), ("view_payments", vec![super_admin, Role::Admin.into()]));
    assert_eq!(held_by(ManageApiKeys), ("manage_api_keys", vec![super_admin]));
}

/// Security checklist 19.
#[tokio::test]
async fn what_changes_of_somebody_holds_at_their_next_call() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let create = async |name: &str| {
        let request = pb::CreateEmployeeRequest {
            employee: Some(someone(name, Role::Employee)),
            ..Default::default()
        };
        identity.employees().create_employee(signed(&bob, request)).await
    };
    refusal(create("carla").await);
    identity.grant(&ana, bob.id, &[ManageEmployees]).await.unwrap();
    let found = identity.validated(&bob.token).await;
    assert_eq!(
        (found.role, found.permissions),
        (Role::Employee.into(), numbers(&[ManageEmployees]))
    );
    create("carla").await.unwrap();
    identity.grant(&ana, bob.id, &[]).await.unwrap();
    assert_eq!(identity.validated(&bob.token).await.permissions, Vec::<i32>::new());
    refusal(create("dora").await);
    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    let found = identity.validated(&bob.token).await;
    assert_eq!((found.role, found.permissions.len()), (Role::Admin.into(), 14));
    create("dora").await.unwrap();
    identity.set_role(&ana, bob.id, Role::Employee).await.unwrap();
    assert_eq!(identity.validated(&bob.token).await.role, i32::from(Role::Employee));
    refusal(create("eve").await);
}

/// Security checklist 33.
#[tokio::test]
async fn the_last_active_super_admin_stays() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let partner = identity.add(&ana, "partner", Role::SuperAdmin).await;
    // One who is inactive, and one who is deleted, do not count.
    let idle = identity.hire(&ana, someone("idle", Role::SuperAdmin)).await.id;
    identity.set_active(&ana, idle, false).await.unwrap();
    let gone = identity.hire(&ana, someone("gone", Role::SuperAdmin)).await.id;
    identity.delete(&ana, gone).await.unwrap();
    // Nor does another account's.
    identity.sign_up("other").await;
    identity.delete(&ana, partner.id).await.unwrap();
    let before = identity.digest().await;
    let refused = refusal(identity.delete(&ana, ana.id).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "LAST_SUPER_ADMIN"));
    assert_eq!(identity.digest().await, before);

    // The last one is out of reach of everybody but themselves, and they may not; unless two
    // are at it at once.
    identity.undelete(&ana, partner.id).await.unwrap();
    let partner = identity.log_in(&partner.email).await;
    identity.set_role(&ana, partner.id, Role::Admin).await.unwrap();
    let refused = refusal(identity.set_role(&partner, ana.id, Role::Admin).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    refusal(identity.delete(&ana, ana.id).await);
}

/// Security checklist 33.
#[tokio::test]
async fn of_two_super_admins_who_remove_each_other_at_once_one_stays() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::SuperAdmin).await;
    let demoted = |id| pb::Employee { role: Role::Employee.into(), ..employee(id) };
    let deactivated = |id| pb::Employee { is_active: Some(false), ..employee(id) };
    identity
        .database
        .execute("CREATE SCHEMA kept; CREATE TABLE kept.tokens AS TABLE identity.employee_tokens")
        .await;
    for round in 0..12 {
        let remove = async |by: &Person, whom: &Person| match round % 3 {
            0 => identity.update(by, demoted(whom.id), &[]).await,
            1 => identity.update(by, deactivated(whom.id), &[]).await,
            _ => identity.delete(by, whom.id).await,
        };
        let (one, other) = tokio::join!(remove(&ana, &bob), remove(&bob, &ana));
        let (won, lost): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1), "round {round}: {lost:?}");
        // Too late either for the rule or, already, for the door.
        let refused = refusal(lost.into_iter().next().unwrap());
        assert!(
            [
                "LAST_SUPER_ADMIN",
                "RANK_TOO_LOW",
                "ROLE_REQUIRED",
                "EMPLOYEE_INACTIVE",
                "TOKEN_REVOKED"
            ]
            .contains(&refused.reason.as_str()),
            "{refused:?}"
        );
        let left: Vec<(i64,)> = identity
            .rows(
                "SELECT count(*) FROM identity.employees
                 WHERE role = 'super_admin' AND is_active AND delete_time IS NULL",
            )
            .await;
        assert_eq!(left, [(1,)], "round {round}");
        identity
            .database
            .execute(
                "UPDATE identity.employees
                 SET role = 'super_admin', is_active = true, delete_time = NULL;
                 DELETE FROM identity.revoked_tokens; DELETE FROM identity.employee_tokens;
                 INSERT INTO identity.employee_tokens TABLE kept.tokens",
            )
            .await;
    }
}
