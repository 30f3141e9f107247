//! Asking somebody to join an account.

use proto::{
    common::v1::{Permission, Role},
    identity::v1 as pb,
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::support::{Identity, PASSWORD, Person, code_in, sign_up, signed};

async fn invite(
    identity: &Identity,
    by: &Person,
    email: &str,
    role: Role,
) -> Result<pb::Invitation, Status> {
    let invitation =
        Some(pb::Invitation { email: email.into(), role: role.into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
    let answer = identity.employees().invite_employee(signed(by, request)).await?;
    Ok(answer.into_inner().invitation.unwrap())
}

async fn accept(identity: &Identity, code: &str) -> Result<pb::AcceptInviteResponse, Status> {
    let request = pb::AcceptInviteRequest {
        code: code.into(),
        name: "Guest".into(),
        password: PASSWORD.into(),
        request_id: String::new(),
    };
    Ok(identity.auth().accept_invite(request).await?.into_inner())
}

#[tokio::test]
async fn who_accepts_is_an_employee_with_a_token_and_a_verified_address() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let made = invite(&identity, &ana, "Guest@example.com", Role::Admin).await.unwrap();
    assert_eq!((made.inviter_id, made.role()), (ana.id, Role::Admin));
    let letter = identity.letter("Guest@example.com", "Invitation to ana Ltd").await;
    let joined = accept(&identity, code_in(&letter)).await.unwrap();
    let employee = joined.employee.unwrap();
    assert_eq!((employee.account_id, employee.role()), (ana.account_id, Role::Admin));
    assert!(employee.email_verified && employee.name == "Guest");
    assert_eq!(employee.system_roles, [i32::from(pb::SystemRole::User)], "requirement T2");
    assert_eq!(identity.log_in("guest@example.com").await.token, joined.token);
    let again = refusal(accept(&identity, code_in(&letter)).await);
    assert_eq!(again.said(), (Code::InvalidArgument, "CODE_INVALID"));
}

#[tokio::test]
async fn a_sign_up_invites_its_other_admins() {
    let identity = Identity::start().await;
    let mut request = sign_up("ana");
    let admin = |email: &str| pb::SignUpAdmin { email: email.into() };
    request.additional_admins = vec![admin("bea@example.com"), admin("cem@example.com")];
    identity.auth().sign_up(request).await.unwrap();
    for email in ["bea@example.com", "cem@example.com"] {
        let letter = identity.letter(email, "Invitation to ana Ltd").await;
        let joined = accept(&identity, code_in(&letter)).await.unwrap().employee.unwrap();
        assert_eq!((joined.email.as_str(), joined.role()), (email, Role::Admin));
    }
}

/// Security checklist 32: checked when it is made, and again when it is accepted.
#[tokio::test]
async fn nobody_is_invited_above_the_inviter_nor_by_somebody_who_may_no_longer() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let admin = identity.add(&owner, "admin", Role::Admin).await;
    let worker = identity.add(&owner, "worker", Role::Employee).await;
    let refused = refusal(invite(&identity, &admin, "x@example.com", Role::SuperAdmin).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_ABOVE_OWN"));
    let refused = refusal(invite(&identity, &worker, "x@example.com", Role::Employee).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));

    invite(&identity, &admin, "guest@example.com", Role::Admin).await.unwrap();
    let letter = identity.letter("guest@example.com", "Invitation").await;
    for change in ["role = 'employee'", "is_active = false", "delete_time = now()"] {
        let set = |what: &str| {
            format!("UPDATE identity.employees SET {what} WHERE email = 'admin@example.com'")
        };
        identity.database.execute(&set(change)).await;
        let refused = refusal(accept(&identity, code_in(&letter)).await);
        assert_eq!(refused.reason, "CODE_INVALID", "{change}");
        let back = "role = 'admin', is_active = true, delete_time = NULL";
        identity.database.execute(&set(back)).await;
    }
    accept(&identity, code_in(&letter)).await.unwrap();
}

/// Security checklist 32: of a program also what became of its key and of whoever made it.
#[tokio::test]
async fn an_invitation_by_a_program_is_good_while_its_key_and_its_maker_are() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let maker = identity.add(&owner, "maker", Role::SuperAdmin).await;
    let key = identity.api_key(&maker, &[Permission::ManageEmployees]).await;
    let program = Person { token: key, ..maker.clone() };
    let refused = refusal(invite(&identity, &program, "x@example.com", Role::Admin).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_ABOVE_OWN"));
    let made = invite(&identity, &program, "guest@example.com", Role::Employee).await.unwrap();
    assert_eq!(made.inviter_id, 0, "nobody in person");
    let letter = identity.letter("guest@example.com", "Invitation").await;

    let maker = format!("UPDATE identity.employees SET {{}} WHERE id = {}", maker.id);
    let key = "UPDATE identity.api_keys SET {}";
    for (of, change, back) in [
        (key, "revoke_time = now()", "revoke_time = NULL"),
        (key, "expire_time = now()", "expire_time = now() + interval '1 day'"),
        (key, "permissions = '{view_audit}'", "permissions = '{manage_employees}'"),
        (&maker, "role = 'employee'", "role = 'super_admin'"),
        (&maker, "is_active = false", "is_active = true"),
        (&maker, "delete_time = now()", "delete_time = NULL"),
    ] {
        identity.database.execute(&of.replace("{}", change)).await;
        let before = identity.digest().await;
        let refused = refusal(accept(&identity, code_in(&letter)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "CODE_INVALID"), "{change}");
        assert_eq!(identity.digest().await, before, "{change}");
        identity.database.execute(&of.replace("{}", back)).await;
    }
    // An admin's power is enough for an employee.
    identity.database.execute(&maker.replace("{}", "role = 'admin'")).await;
    accept(&identity, code_in(&letter)).await.unwrap();
}

/// Security checklist 32.
#[tokio::test]
async fn who_is_no_super_admin_any_more_has_invited_none_and_a_closed_account_nobody() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let partner = identity.add(&owner, "partner", Role::SuperAdmin).await;
    invite(&identity, &partner, "boss@example.com", Role::SuperAdmin).await.unwrap();
    invite(&identity, &partner, "guest@example.com", Role::Admin).await.unwrap();
    let boss = identity.letter("boss@example.com", "Invitation").await;
    let guest = identity.letter("guest@example.com", "Invitation").await;
    identity.set_role(&owner, partner.id, Role::Admin).await.unwrap();
    let before = identity.digest().await;
    assert_eq!(refusal(accept(&identity, code_in(&boss)).await).reason, "CODE_INVALID");
    assert_eq!(identity.digest().await, before);

    let close = signed(&owner, pb::CloseAccountRequest::default());
    identity.accounts().close_account(close).await.unwrap();
    let before = identity.digest().await;
    assert_eq!(refusal(accept(&identity, code_in(&guest)).await).reason, "CODE_INVALID");
    assert_eq!(identity.digest().await, before);
    let owner = identity.log_in(&owner.email).await;
    let reopen = signed(&owner, pb::ReopenAccountRequest::default());
    identity.accounts().reopen_account(reopen).await.unwrap();
    accept(&identity, code_in(&guest)).await.unwrap();
}

/// Security checklist 13.
#[tokio::test]
async fn of_two_acceptances_at_once_one_wins() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    invite(&identity, &ana, "guest@example.com", Role::Employee).await.unwrap();
    let letter = identity.letter("guest@example.com", "Invitation").await;
    let code = code_in(&letter);
    let (one, two) = tokio::join!(accept(&identity, code), accept(&identity, code));
    let lost = match (one, two) {
        (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => refusal::<()>(Err(lost)),
        (one, two) => panic!("{one:?}, {two:?}"),
    };
    assert_eq!(lost.said(), (Code::InvalidArgument, "CODE_INVALID"));
    let guests = "SELECT count(*) FROM identity.employees WHERE email = 'guest@example.com'";
    assert_eq!(identity.rows::<(i64,)>(guests).await, [(1,)]);
}

/// Security checklist 13.
#[tokio::test]
async fn an_invitation_is_good_for_a_week() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    invite(&identity, &ana, "guest@example.com", Role::Employee).await.unwrap();
    let letter = identity.letter("guest@example.com", "Invitation").await;
    let shift = async |by: &str| {
        let shift = "UPDATE identity.invitations SET expire_time = expire_time";
        identity.database.execute(&format!("{shift} {by}")).await;
    };
    shift("- interval '7 days'").await;
    assert_eq!(refusal(accept(&identity, code_in(&letter)).await).reason, "CODE_INVALID");
    shift("+ interval '1 hour'").await;
    accept(&identity, code_in(&letter)).await.unwrap();
}

/// Security checklist 30.
#[tokio::test]
async fn an_invitation_above_the_caller_is_neither_replaced_nor_revoked() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let admin = identity.add(&owner, "admin", Role::Admin).await;
    invite(&identity, &owner, "boss@example.com", Role::SuperAdmin).await.unwrap();
    let letter = identity.letter("boss@example.com", "Invitation").await;
    let before = identity.digest().await;
    let refused = refusal(invite(&identity, &admin, "boss@example.com", Role::Employee).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    let (id,) = identity.rows::<(i64,)>("SELECT id FROM identity.invitations").await.remove(0);
    let request = pb::RevokeInvitationRequest { id, ..Default::default() };
    let refused = refusal(identity.employees().revoke_invitation(signed(&admin, request)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    assert_eq!(identity.digest().await, before);
    accept(&identity, code_in(&letter)).await.unwrap();

    let first = invite(&identity, &admin, "guest@example.com", Role::Employee).await.unwrap();
    invite(&identity, &owner, "guest@example.com", Role::Employee).await.unwrap();
    let replaced = format!(
        "SELECT actor FROM identity.audit_events
         WHERE subject = 'invitation' AND subject_id = {} AND action = 'invitation.revoke'",
        first.id
    );
    let records = identity.rows::<(String,)>(&replaced).await;
    assert_eq!(records, [(format!("employee:{}", owner.id),)]);
}

/// Security checklist 13.
#[tokio::test]
async fn of_many_invitations_of_one_address_at_once_one_stays_open() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let calls = (0..8).map(|_| invite(&identity, &ana, "guest@example.com", Role::Employee));
    let mut made = 0;
    for answer in futures::future::join_all(calls).await {
        match answer {
            Ok(_) => made += 1,
            Err(status) => assert_eq!(refusal::<()>(Err(status)).reason, "CONFLICT"),
        }
    }
    assert!(made > 0);
    let open = "SELECT count(*) FROM identity.invitations
                WHERE accept_time IS NULL AND revoke_time IS NULL";
    assert_eq!(identity.rows::<(i64,)>(open).await, [(1,)]);
}

/// Security checklist 19: not as somebody new, either.
#[tokio::test]
async fn whoever_was_deleted_does_not_come_back_by_an_old_invitation() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    invite(&identity, &ana, "bob@example.com", Role::Employee).await.unwrap();
    let letter = identity.letter("bob@example.com", "Invitation").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.delete(&ana, bob.id).await.unwrap();
    assert_eq!(refusal(accept(&identity, code_in(&letter)).await).reason, "CODE_INVALID");
}

/// Security checklist 6: whatever sets a password knows who it is for.
#[tokio::test]
async fn who_accepts_takes_no_password_made_of_the_address_or_the_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("anaconda").await;
    invite(&identity, &ana, "ada.lovelace@example.com", Role::Employee).await.unwrap();
    let letter = identity.letter("ada.lovelace@example.com", "Invitation").await;
    for password in ["ada.lovelace1", "anaconda2026"] {
        let request = pb::AcceptInviteRequest {
            code: code_in(&letter).into(),
            name: "Countess".into(),
            password: password.into(),
            request_id: String::new(),
        };
        let refused = refusal(identity.auth().accept_invite(request).await);
        assert_eq!(refused.fields, ["password"], "{password}");
    }
    accept(&identity, code_in(&letter)).await.unwrap();
}

#[tokio::test]
async fn a_sign_up_names_each_other_admin_once() {
    let identity = Identity::start().await;
    let mut request = sign_up("ana");
    let admin = |email: &str| pb::SignUpAdmin { email: email.into() };
    let named = ["bea@example.com", "nobody", "BEA@example.com", "", "Ana@example.com"];
    request.additional_admins = named.map(admin).to_vec();
    let before = identity.digest().await;
    let refused = refusal(identity.auth().sign_up(request).await);
    let bad = [1, 2, 3, 4].map(|place| format!("additional_admins[{place}].email"));
    assert_eq!(refused.fields, bad);
    assert_eq!(identity.digest().await, before);
}

/// Requirement T4, security checklist 43.
#[tokio::test]
async fn a_sign_up_names_up_to_20_other_admins() {
    let identity = Identity::start().await;
    let with = |admins: usize| pb::SignUpRequest {
        additional_admins: (0..admins)
            .map(|number| pb::SignUpAdmin { email: format!("admin{number}@example.com") })
            .collect(),
        ..sign_up("ana")
    };
    let before = identity.digest().await;
    let refused = refusal(identity.auth().sign_up(with(21)).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields, ["additional_admins"]);
    assert_eq!(identity.digest().await, before);
    identity.auth().sign_up(with(20)).await.unwrap();
    let invited = "SELECT count(*) FROM identity.invitations";
    assert_eq!(identity.rows::<(i64,)>(invited).await, [(20,)]);
}

#[tokio::test]
async fn an_invitation_ends_when_it_is_revoked_replaced_or_a_week_old() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let first = invite(&identity, &ana, "guest@example.com", Role::Employee).await.unwrap();
    let first_letter = identity.letter("guest@example.com", "Invitation").await;
    let second = invite(&identity, &ana, "GUEST@example.com", Role::Employee).await.unwrap();
    let second_letter = identity.letter("GUEST@example.com", "Invitation").await;
    assert_eq!(refusal(accept(&identity, code_in(&first_letter)).await).reason, "CODE_INVALID");

    let list = |open_only| {
        let request = pb::ListInvitationsRequest {
            open_only,
            include_total: true,
            order_by: "create_time".into(),
            ..Default::default()
        };
        let mut employees = identity.employees();
        let request = signed(&ana, request);
        async move { employees.list_invitations(request).await.unwrap().into_inner() }
    };
    let (all, open) = (list(false).await, list(true).await);
    assert_eq!((all.total_size, open.total_size), (Some(2), Some(1)));
    assert_eq!(all.invitations[0].id, first.id);
    assert!(all.invitations[0].revoke_time.is_some());
    assert_eq!(open.invitations[0].id, second.id);

    let revoke = pb::RevokeInvitationRequest { id: second.id, ..Default::default() };
    let revoked = identity.employees().revoke_invitation(signed(&ana, revoke.clone())).await;
    let revoked = revoked.unwrap().into_inner();
    let again = identity.employees().revoke_invitation(signed(&ana, revoke)).await.unwrap();
    assert_eq!(again.into_inner(), revoked, "what is not open is returned as it is");
    assert_eq!(refusal(accept(&identity, code_in(&second_letter)).await).reason, "CODE_INVALID");

    invite(&identity, &ana, "third@example.com", Role::Employee).await.unwrap();
    let third = identity.letter("third@example.com", "Invitation").await;
    identity
        .database
        .execute("UPDATE identity.invitations SET expire_time = now() WHERE email LIKE 'third%'")
        .await;
    assert_eq!(refusal(accept(&identity, code_in(&third)).await).reason, "CODE_INVALID");
}

/// Security checklist 2: whether an address is taken shows in nothing but the accepting.
#[tokio::test]
async fn inviting_an_address_that_is_taken_reads_like_any_other() {
    let identity = Identity::start().await;
    let (ana, _bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let free = invite(&identity, &ana, "free@example.com", Role::Employee).await.unwrap();
    let taken = invite(&identity, &ana, "bob@example.com", Role::Employee).await.unwrap();
    let bare = |made: pb::Invitation| pb::Invitation {
        id: 0,
        email: String::new(),
        create_time: None,
        expire_time: None,
        ..made
    };
    assert_eq!(bare(free), bare(taken));
    let letter = identity.letter("bob@example.com", "Invitation").await;
    let before = identity.digest().await;
    let refused = refusal(accept(&identity, code_in(&letter)).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn everything_wrong_is_named_at_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let invitation = Some(pb::Invitation { email: "x".into(), role: 42, ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, request_id: "x".into() };
    let refused = refusal(identity.employees().invite_employee(signed(&ana, request)).await);
    assert_eq!(refused.fields, ["request_id", "invitation.email", "invitation.role"]);
    let request = pb::AcceptInviteRequest {
        name: "x".repeat(256),
        password: "short".into(),
        request_id: "x".into(),
        ..Default::default()
    };
    let refused = refusal(identity.auth().accept_invite(request).await);
    assert_eq!(refused.fields, ["request_id", "code", "name", "password"]);
}

#[tokio::test]
async fn a_repeated_acceptance_is_one_employee_and_the_same_token() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    invite(&identity, &ana, "guest@example.com", Role::Employee).await.unwrap();
    let letter = identity.letter("guest@example.com", "Invitation").await;
    let request = pb::AcceptInviteRequest {
        code: code_in(&letter).into(),
        password: PASSWORD.into(),
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
        ..Default::default()
    };
    let first = identity.auth().accept_invite(request.clone()).await.unwrap().into_inner();
    let again = identity.auth().accept_invite(request).await.unwrap().into_inner();
    assert_eq!(first, again);
}
