//! Labels on people: those of every company, and those that one makes for itself.

use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, SystemRole},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::support::{Identity, Person, mask, signed, someone};

const REQUEST_ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

fn role(name: &str, description: &str) -> pb::CompanyRole {
    let (name, description) = (name.to_owned(), description.to_owned());
    pb::CompanyRole { name, description, ..Default::default() }
}

async fn create(
    identity: &Identity,
    by: &Person,
    company_role: pb::CompanyRole,
) -> Result<pb::CompanyRole, Status> {
    let company_role = Some(company_role);
    let request = pb::CreateCompanyRoleRequest { company_role, request_id: String::new() };
    let answer = identity.roles().create_company_role(signed(by, request)).await?;
    Ok(answer.into_inner().company_role.unwrap())
}

async fn get(identity: &Identity, by: &Person, id: i64) -> Result<pb::CompanyRole, Status> {
    let request = signed(by, pb::GetCompanyRoleRequest { id });
    Ok(identity.roles().get_company_role(request).await?.into_inner().company_role.unwrap())
}

async fn update(
    identity: &Identity,
    by: &Person,
    company_role: pb::CompanyRole,
    paths: &[&str],
) -> Result<pb::CompanyRole, Status> {
    let request = pb::UpdateCompanyRoleRequest {
        company_role: Some(company_role),
        update_mask: mask(paths),
        request_id: String::new(),
    };
    let answer = identity.roles().update_company_role(signed(by, request)).await?;
    Ok(answer.into_inner().company_role.unwrap())
}

async fn delete(identity: &Identity, by: &Person, id: i64, etag: &str) -> Result<(), Status> {
    let request =
        pb::DeleteCompanyRoleRequest { id, etag: etag.to_owned(), request_id: String::new() };
    identity.roles().delete_company_role(signed(by, request)).await.map(|_| ())
}

async fn unassign(identity: &Identity, by: &Person, employee_id: i64, company_role_id: i64) {
    let request =
        pb::UnassignCompanyRoleRequest { employee_id, company_role_id, request_id: String::new() };
    identity.roles().unassign_company_role(signed(by, request)).await.unwrap();
}

async fn grant(
    identity: &Identity,
    by: &Person,
    employee_id: i64,
    role: SystemRole,
) -> Result<(), Status> {
    let system_role = role.into();
    let request =
        pb::GrantSystemRoleRequest { employee_id, system_role, request_id: String::new() };
    identity.roles().grant_system_role(signed(by, request)).await.map(|_| ())
}

async fn revoke(
    identity: &Identity,
    by: &Person,
    employee_id: i64,
    role: SystemRole,
) -> Result<(), Status> {
    let system_role = role.into();
    let request =
        pb::RevokeSystemRoleRequest { employee_id, system_role, request_id: String::new() };
    identity.roles().revoke_system_role(signed(by, request)).await.map(|_| ())
}

fn names(roles: &[pb::AssignedCompanyRole]) -> Vec<&str> {
    roles.iter().map(|role| role.name.as_str()).collect()
}

#[tokio::test]
async fn a_company_role_is_made_read_changed_and_deleted() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let made = create(&identity, &ana, role("Coach", "Coaches")).await.unwrap();
    assert_eq!(get(&identity, &bob, made.id).await.unwrap(), made);
    let renamed = pb::CompanyRole { id: made.id, ..role("Head coach", "") };
    let renamed = update(&identity, &ana, renamed, &[]).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.description.as_str()), ("Head coach", "Coaches"));
    let cleared = pb::CompanyRole { id: made.id, ..role("ignored", "") };
    let cleared = update(&identity, &ana, cleared, &["description"]).await.unwrap();
    assert_eq!((cleared.name.as_str(), cleared.description.as_str()), ("Head coach", ""));
    let nameless = pb::CompanyRole { id: made.id, ..role("", "") };
    let refused = refusal(update(&identity, &ana, nameless, &["name"]).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("MISSING_FIELDS", vec!["company_role.name".to_owned()])
    );
    let stale = pb::CompanyRole { name: "Late".into(), ..made.clone() };
    let refused = refusal(update(&identity, &ana, stale, &["name"]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    let refused = refusal(delete(&identity, &ana, made.id, &made.etag).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    assert_eq!(get(&identity, &bob, made.id).await.unwrap(), cleared);

    delete(&identity, &ana, made.id, &cleared.etag).await.unwrap();
    let refused = refusal(get(&identity, &ana, made.id).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    refusal(delete(&identity, &ana, made.id, "").await);
}

/// Security checklist 41.
#[tokio::test]
async fn a_name_is_one_roles_whatever_its_case_and_none_that_there_is_anyway() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let coach = create(&identity, &ana, role("Coach", "")).await.unwrap();
    let setter = create(&identity, &ana, role("Setter", "")).await.unwrap();
    let before = identity.digest().await;
    for taken in ["Coach", "COACH", " coach ", "Cóach", "ｃｏａｃｈ"] {
        let refused = refusal(create(&identity, &ana, role(taken, "")).await);
        assert_eq!(refused.said(), (Code::AlreadyExists, "COMPANY_ROLE_NAME_TAKEN"), "{taken}");
        let renamed = pb::CompanyRole { id: setter.id, ..role(taken, "") };
        let refused = refusal(update(&identity, &ana, renamed, &[]).await);
        assert_eq!(refused.said(), (Code::AlreadyExists, "COMPANY_ROLE_NAME_TAKEN"), "{taken}");
    }
    for reserved in ["admin", "Super Admin", "TICKET-ADMIN", "Ｕser", "employee", "---", ""] {
        let refused = refusal(create(&identity, &ana, role(reserved, "")).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["company_role.name".to_owned()]),
            "{reserved}"
        );
    }
    assert_eq!(identity.digest().await, before);

    // Of one's own account, that is; and a role may change how its own name is spelled.
    let other = identity.sign_up("other").await;
    create(&identity, &other, role("Coach", "")).await.unwrap();
    let spelled = pb::CompanyRole { id: coach.id, ..role("COACH", "") };
    assert_eq!(update(&identity, &ana, spelled, &[]).await.unwrap().name, "COACH");
    delete(&identity, &ana, coach.id, "").await.unwrap();
    create(&identity, &ana, role("coach", "")).await.unwrap();
}

#[tokio::test]
async fn roles_are_listed_by_name_or_age_page_by_page() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    for name in ["setter", "Closer", "Äcoach", "boss"] {
        create(&identity, &ana, role(name, "")).await.unwrap();
    }
    let other = identity.sign_up("other").await;
    create(&identity, &other, role("Coach", "")).await.unwrap();
    let list = async |order_by: &str, page_size, skip, page_token: &str| {
        let request = pb::ListCompanyRolesRequest {
            page_size,
            page_token: page_token.to_owned(),
            skip,
            order_by: order_by.to_owned(),
            include_total: true,
        };
        let answer = identity.roles().list_company_roles(signed(&ana, request)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.total_size, Some(4));
        let names: Vec<_> = answer.company_roles.into_iter().map(|role| role.name).collect();
        (names, answer.next_page_token)
    };
    assert_eq!(list("", 0, 0, "").await.0, ["Äcoach", "boss", "Closer", "setter"]);
    assert_eq!(list("name desc", 0, 1, "").await.0, ["Closer", "boss", "Äcoach"]);
    assert_eq!(list("create_time", 0, 0, "").await.0, ["setter", "Closer", "Äcoach", "boss"]);
    let (first, token) = list("create_time desc", 3, 0, "").await;
    let (second, none) = list("create_time desc", 3, 0, &token).await;
    assert_eq!([first, second].concat(), ["boss", "Äcoach", "Closer", "setter"]);
    assert!(none.is_empty());
}

#[tokio::test]
async fn a_role_shows_on_who_has_it_until_it_is_taken_or_deleted() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let (coach, boss) =
        (identity.company_role(&ana, "Coach").await, identity.company_role(&ana, "Boss").await);
    for role in [coach, coach, boss] {
        identity.assign(&ana, bob.id, role).await;
    }
    let seen = identity.seen(&ana, bob.id).await.unwrap();
    assert_eq!(names(&seen.company_roles), ["Boss", "Coach"]);
    let mut validated = identity.validated(&bob.token).await.company_roles;
    validated.sort_by_key(|role| role.id);
    assert_eq!(names(&validated), ["Coach", "Boss"]);
    assert_eq!(validated[0].id, coach);
    // Labels grant nothing here.
    assert_eq!(identity.validated(&bob.token).await.permissions, Vec::<i32>::new());

    let renamed = pb::CompanyRole { id: boss, ..role("Chief", "") };
    update(&identity, &ana, renamed, &[]).await.unwrap();
    assert_eq!(names(&identity.me(&bob.token).await.unwrap().company_roles), ["Chief", "Coach"]);
    unassign(&identity, &ana, bob.id, boss).await;
    unassign(&identity, &ana, bob.id, boss).await;
    assert_eq!(names(&identity.me(&bob.token).await.unwrap().company_roles), ["Coach"]);
    delete(&identity, &ana, coach, "").await.unwrap();
    assert_eq!(identity.me(&bob.token).await.unwrap().company_roles, []);
    assert_eq!(identity.validated(&bob.token).await.company_roles, []);

    for (employee_id, company_role_id, field) in
        [(999, boss, "employee_id"), (bob.id, 999, "company_role_id")]
    {
        let request =
            pb::AssignCompanyRoleRequest { employee_id, company_role_id, ..Default::default() };
        let refused = refusal(identity.roles().assign_company_role(signed(&ana, request)).await);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert!(refused.metadata.contains(&("field".to_owned(), field.to_owned())), "{refused:?}");
    }
}

#[tokio::test]
async fn whoever_is_given_a_role_has_changed_and_a_role_that_goes_is_given_to_nobody() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let role = identity.company_role(&ana, "Support").await;
    let etag = async || identity.seen(&ana, bob.id).await.unwrap().etag;
    let before = etag().await;
    identity.assign(&ana, bob.id, role).await;
    let assigned = etag().await;
    assert_ne!(assigned, before);
    let request = pb::UnassignCompanyRoleRequest {
        employee_id: bob.id,
        company_role_id: role,
        request_id: String::new(),
    };
    identity.roles().unassign_company_role(signed(&ana, request)).await.unwrap();
    assert_ne!(etag().await, assigned);

    let request = pb::AssignCompanyRoleRequest {
        employee_id: bob.id,
        company_role_id: role,
        request_id: String::new(),
    };
    let mut roles = identity.roles();
    let delete = "DELETE FROM identity.company_roles";
    let late = roles.assign_company_role(signed(&ana, request));
    let refused = refusal(identity.overtaken(delete, late).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
}

#[tokio::test]
async fn an_old_assignment_sent_again_does_not_come_back() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let coach = identity.company_role(&ana, "Coach").await;
    let request = pb::AssignCompanyRoleRequest {
        employee_id: bob,
        company_role_id: coach,
        request_id: REQUEST_ID.into(),
    };
    identity.roles().assign_company_role(signed(&ana, request.clone())).await.unwrap();
    unassign(&identity, &ana, bob, coach).await;
    identity.roles().assign_company_role(signed(&ana, request.clone())).await.unwrap();
    assert_eq!(identity.seen(&ana, bob).await.unwrap().company_roles, []);
    let other = pb::AssignCompanyRoleRequest { employee_id: ana.id, ..request };
    let refused = refusal(identity.roles().assign_company_role(signed(&ana, other)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));

    // An id belongs to a method: the same one elsewhere is another call.
    let company_role = Some(role("Setter", ""));
    let request = pb::CreateCompanyRoleRequest { company_role, request_id: REQUEST_ID.into() };
    let mut roles = identity.roles();
    let first =
        roles.create_company_role(signed(&ana, request.clone())).await.unwrap().into_inner();
    let id = first.company_role.as_ref().unwrap().id;
    delete(&identity, &ana, id, "").await.unwrap();
    let again = roles.create_company_role(signed(&ana, request)).await.unwrap().into_inner();
    assert_eq!(again, first);
    refusal(get(&identity, &ana, id).await);
}

#[tokio::test]
async fn people_are_found_by_their_roles() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let carla = identity.hire(&ana, someone("carla", Role::Employee)).await.id;
    let coach = identity.company_role(&ana, "Coach").await;
    identity.assign(&ana, bob, coach).await;
    grant(&identity, &ana, carla, SystemRole::TaskWorker).await.unwrap();
    let find = async |company_role_id, system_role: SystemRole| {
        let system_role = system_role.into();
        let request = pb::ListEmployeesRequest {
            company_role_id,
            system_role,
            include_total: true,
            ..Default::default()
        };
        let answer = identity.employees().list_employees(signed(&ana, request)).await;
        let answer = answer.unwrap().into_inner();
        let mut ids: Vec<_> = answer.employees.iter().map(|employee| employee.id).collect();
        ids.sort_unstable();
        assert_eq!(answer.total_size, i64::try_from(ids.len()).ok());
        ids
    };
    assert_eq!(find(coach, SystemRole::Unspecified).await, [bob]);
    assert_eq!(find(0, SystemRole::TaskWorker).await, [carla]);
    assert_eq!(find(0, SystemRole::User).await, [ana.id, bob, carla]);
    assert_eq!(find(coach, SystemRole::TaskWorker).await, Vec::<i64>::new());
}

#[tokio::test]
async fn system_roles_come_with_people_and_only_super_admins_change_them() {
    use SystemRole::{Admin, TaskWorker, TicketAdmin, User, WorkflowCreator};
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Admin).await;
    let request = signed(&bob, pb::ListSystemRolesRequest {});
    let catalogue = identity.roles().list_system_roles(request).await.unwrap().into_inner();
    let all: Vec<i32> =
        [Admin, User, TicketAdmin, TaskWorker, WorkflowCreator].map(Into::into).into();
    assert_eq!(catalogue.system_roles, all);

    let of = async |person: &Person| identity.me(&person.token).await.unwrap().system_roles;
    assert_eq!(of(&ana).await, [i32::from(Admin), User.into()]);
    assert_eq!(of(&bob).await, [i32::from(User)], "an admin is not labelled one");
    for _ in 0..2 {
        grant(&identity, &ana, bob.id, TicketAdmin).await.unwrap();
        assert_eq!(of(&bob).await, [i32::from(User), TicketAdmin.into()]);
    }
    let validated = identity.validated(&bob.token).await;
    assert_eq!(validated.system_roles, [i32::from(User), TicketAdmin.into()]);
    for _ in 0..2 {
        revoke(&identity, &ana, bob.id, User).await.unwrap();
        assert_eq!(identity.validated(&bob.token).await.system_roles, [i32::from(TicketAdmin)]);
    }

    // A role is one thing, a label another.
    identity.set_role(&ana, bob.id, Role::SuperAdmin).await.unwrap();
    assert_eq!(of(&bob).await, [i32::from(TicketAdmin)]);
    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    assert_eq!(of(&bob).await, [i32::from(TicketAdmin)]);
    let before = identity.digest().await;
    for refused in [
        refusal(grant(&identity, &bob, ana.id, TaskWorker).await),
        refusal(revoke(&identity, &bob, ana.id, User).await),
        refusal(grant(&identity, &bob, bob.id, TaskWorker).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    }
    let refused = refusal(grant(&identity, &ana, bob.id, SystemRole::Unspecified).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("MISSING_FIELDS", vec!["system_role".to_owned()])
    );
    assert_eq!(identity.digest().await, before);
}

/// Requirement T2: a label, by which others may go.
#[tokio::test]
async fn whoever_is_labelled_an_admin_may_do_nothing_more() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    grant(&identity, &ana, bob.id, SystemRole::Admin).await.unwrap();
    let validated = identity.validated(&bob.token).await;
    assert_eq!(validated.system_roles, [SystemRole::User, SystemRole::Admin].map(i32::from));
    assert_eq!(validated.permissions, Vec::<i32>::new());
    assert_eq!(validated.role(), Role::Employee);
    let me = identity.me(&bob.token).await.unwrap();
    assert!(!me.is_staff && !me.is_superuser && me.effective_permissions.is_empty());
    let before = identity.digest().await;
    let refused = refusal(create(&identity, &bob, role("Coach", "")).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    let refused = refusal(grant(&identity, &bob, bob.id, SystemRole::TaskWorker).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn company_roles_are_managed_by_whoever_was_granted_that() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let refused = refusal(create(&identity, &bob, role("Coach", "")).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refused.metadata, [("permission".to_owned(), "manage_roles".to_owned())]);
    identity.grant(&ana, bob.id, &[Permission::ManageRoles]).await.unwrap();
    let coach = create(&identity, &bob, role("Coach", "")).await.unwrap();
    identity.assign(&bob, bob.id, coach.id).await;
    let key = identity.api_key(&ana, &[Permission::ManageRoles]).await;
    let robot = Person { token: key, ..ana.clone() };
    unassign(&identity, &robot, bob.id, coach.id).await;
    assert_eq!(identity.me(&bob.token).await.unwrap().company_roles, []);
}

/// What somebody is seen with is a part of them, wherever it is changed.
#[tokio::test]
async fn who_has_a_role_changes_with_its_name_and_its_end() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let cleo = identity.add(&ana, "cleo", Role::Employee).await;
    let made = create(&identity, &ana, role("Coach", "")).await.unwrap();
    identity.assign(&ana, bob.id, made.id).await;
    let before = identity.seen(&ana, bob.id).await.unwrap();
    let other = identity.seen(&ana, cleo.id).await.unwrap();

    let described = pb::CompanyRole { id: made.id, ..role("", "Coaches.") };
    update(&identity, &ana, described, &["description"]).await.unwrap();
    assert_eq!(identity.seen(&ana, bob.id).await.unwrap(), before, "nothing that is seen");

    let renamed = pb::CompanyRole { id: made.id, ..role("Head coach", "") };
    update(&identity, &ana, renamed, &["name"]).await.unwrap();
    let after = identity.seen(&ana, bob.id).await.unwrap();
    assert_eq!(after.company_roles[0].name, "Head coach");
    assert_ne!((&after.etag, &after.update_time), (&before.etag, &before.update_time));
    let stale =
        pb::Employee { id: bob.id, name: "Late".into(), etag: before.etag, ..Default::default() };
    let refused = refusal(identity.update(&ana, stale, &["name"]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));

    delete(&identity, &ana, made.id, "").await.unwrap();
    let bare = identity.seen(&ana, bob.id).await.unwrap();
    assert!(bare.company_roles.is_empty());
    assert_ne!((&bare.etag, &bare.update_time), (&after.etag, &after.update_time));
    assert_eq!(identity.seen(&ana, cleo.id).await.unwrap(), other);
}

/// Security checklist 41: what looks the same is the same.
#[tokio::test]
async fn no_role_looks_like_another_or_like_one_that_there_is_anyway() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let coach = create(&identity, &ana, role("Co\u{200b}ach", "")).await.unwrap();
    assert_eq!(coach.name, "Coach");
    let before = identity.digest().await;
    let refused = refusal(create(&identity, &ana, role("\u{2060}Coach", "")).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "COMPANY_ROLE_NAME_TAKEN"));
    for reserved in ["аdmin", "ad\u{200b}min", "Οwner"] {
        let refused = refusal(create(&identity, &ana, role(reserved, "")).await);
        assert_eq!(refused.fields, ["company_role.name"], "{reserved}");
    }
    assert_eq!(identity.digest().await, before);
}

/// Requirement T3.
#[tokio::test]
async fn a_name_has_up_to_100_letters_and_a_description_255() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let longest = create(&identity, &ana, role(&"é".repeat(100), &"é".repeat(255))).await.unwrap();
    let before = identity.digest().await;
    let too_long = || role(&"x".repeat(101), &"x".repeat(256));
    let refused = refusal(create(&identity, &ana, too_long()).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields, ["company_role.name", "company_role.description"]);
    let longer = pb::CompanyRole { id: longest.id, ..too_long() };
    let refused = refusal(update(&identity, &ana, longer, &[]).await);
    assert_eq!(refused.fields, ["company_role.name", "company_role.description"]);
    assert_eq!(identity.digest().await, before);
}
