//! Two accounts side by side.

use std::{cell::Cell, collections::BTreeMap};

use identity_service::POLICY;
use prost::Message;
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::{
    isolation::{Ids, Service, id_fields, leaks, leaks_also_by_work},
    pages::{list_methods, next_page_token, one_of_a_page},
    raw,
    refusal::refusal,
    repeats::faults_named_apart,
};

use crate::support::{Identity, PASSWORD, Person, signed};

/// Output only in a request, or always the caller's own.
const IGNORED: &[(&str, &str)] = &[
    ("/identity.v1.AccountService/UpdateAccount", "account.id"),
    ("/identity.v1.ApiKeyService/CreateApiKey", "api_key.creator_id"),
    ("/identity.v1.ApiKeyService/CreateApiKey", "api_key.id"),
    ("/identity.v1.AuthService/UpdateMe", "employee.account_id"),
    ("/identity.v1.AuthService/UpdateMe", "employee.company_roles.id"),
    ("/identity.v1.AuthService/UpdateMe", "employee.id"),
    ("/identity.v1.EmployeeService/CreateEmployee", "employee.account_id"),
    ("/identity.v1.EmployeeService/CreateEmployee", "employee.company_roles.id"),
    ("/identity.v1.EmployeeService/CreateEmployee", "employee.id"),
    ("/identity.v1.EmployeeService/InviteEmployee", "invitation.id"),
    ("/identity.v1.EmployeeService/InviteEmployee", "invitation.inviter_id"),
    ("/identity.v1.EmployeeService/UpdateEmployee", "employee.account_id"),
    ("/identity.v1.EmployeeService/UpdateEmployee", "employee.company_roles.id"),
    ("/identity.v1.RoleService/CreateCompanyRole", "company_role.id"),
];

const OMITTED: &[(&str, &str)] = &[
    ("/identity.v1.AuditService/ListAuditEvents", "actor_employee_id"),
    ("/identity.v1.AuditService/ListAuditEvents", "actor_api_key_id"),
    ("/identity.v1.AuditService/ListAuditEvents", "subject_id"),
    ("/identity.v1.EmployeeService/BatchGetEmployees", "ids"),
    ("/identity.v1.EmployeeService/ListEmployees", "company_role_id"),
];

/// Calls that succeed, about rows of the caller's own account.
fn examples(own: Rows) -> BTreeMap<&'static str, Vec<u8>> {
    let Rows { employee: id, role, session, api_key, invitation } = own;
    let (employee_id, company_role_id) = (id, role);
    let employee = Some(pb::Employee { id, name: "Eve".into(), ..Default::default() });
    let company_role =
        Some(pb::CompanyRole { id: role, description: "New".into(), ..Default::default() });
    let system_role = pb::SystemRole::TaskWorker.into();
    BTreeMap::from([
        (
            "/identity.v1.ApiKeyService/RevokeApiKey",
            pb::RevokeApiKeyRequest { id: api_key, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.AuthService/RevokeAllSessions",
            pb::RevokeAllSessionsRequest {
                target: Some(pb::revoke_all_sessions_request::Target::EmployeeId(id)),
            }
            .encode_to_vec(),
        ),
        (
            "/identity.v1.AuthService/RevokeSession",
            pb::RevokeSessionRequest { id: session }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/RevokeInvitation",
            pb::RevokeInvitationRequest { id: invitation, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/SendPasswordReset",
            pb::SendPasswordResetRequest { id, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.AuditService/ListAuditEvents",
            pb::ListAuditEventsRequest { subject: "employee".into(), ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/BatchGetEmployees",
            pb::BatchGetEmployeesRequest { ids: vec![id] }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/DeleteEmployee",
            pb::DeleteEmployeeRequest { id, ..Default::default() }.encode_to_vec(),
        ),
        ("/identity.v1.EmployeeService/GetEmployee", pb::GetEmployeeRequest { id }.encode_to_vec()),
        (
            "/identity.v1.EmployeeService/ListEmployees",
            pb::ListEmployeesRequest { company_role_id, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/UndeleteEmployee",
            pb::UndeleteEmployeeRequest { id, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/UpdateEmployee",
            pb::UpdateEmployeeRequest { employee, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.EmployeeService/UpdatePermissions",
            pb::UpdatePermissionsRequest { id, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/AssignCompanyRole",
            pb::AssignCompanyRoleRequest { employee_id, company_role_id, ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/DeleteCompanyRole",
            pb::DeleteCompanyRoleRequest { id: role, ..Default::default() }.encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/GetCompanyRole",
            pb::GetCompanyRoleRequest { id: role }.encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/GrantSystemRole",
            pb::GrantSystemRoleRequest { employee_id, system_role, ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/RevokeSystemRole",
            pb::RevokeSystemRoleRequest { employee_id, system_role, ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/UnassignCompanyRole",
            pb::UnassignCompanyRoleRequest { employee_id, company_role_id, ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "/identity.v1.RoleService/UpdateCompanyRole",
            pb::UpdateCompanyRoleRequest { company_role, ..Default::default() }.encode_to_vec(),
        ),
    ])
}

/// Rows of one account, by their ids.
#[derive(Clone, Copy)]
struct Rows {
    employee: i64,
    role: i64,
    session: i64,
    api_key: i64,
    invitation: i64,
}

impl Rows {
    async fn of(identity: &Identity, owner: &Person) -> Self {
        let worker = identity.add(owner, &format!("worker-of-{}", owner.id), Role::Employee).await;
        let company_role = Some(pb::CompanyRole { name: "Coach".into(), ..Default::default() });
        let request = pb::CreateCompanyRoleRequest { company_role, request_id: String::new() };
        let role = identity.roles().create_company_role(signed(owner, request)).await.unwrap();
        let role = role.into_inner().company_role.unwrap().id;
        let (employee, company_role_id) = (worker.id, role);
        let request = pb::AssignCompanyRoleRequest {
            employee_id: employee,
            company_role_id,
            ..Default::default()
        };
        identity.roles().assign_company_role(signed(owner, request)).await.unwrap();
        let request = pb::IssueTokensRequest {
            email: owner.email.clone(),
            password: PASSWORD.into(),
            ..Default::default()
        };
        identity.auth().issue_tokens(request).await.unwrap();
        let sessions =
            identity.auth().list_sessions(signed(owner, pb::ListSessionsRequest {})).await;
        let session = sessions.unwrap().into_inner().sessions[0].id;
        let api_key = Some(pb::ApiKey { name: "Robot".into(), ..Default::default() });
        let request = pb::CreateApiKeyRequest { api_key, request_id: String::new() };
        let made = identity.api_keys().create_api_key(signed(owner, request)).await.unwrap();
        let api_key = made.into_inner().api_key.unwrap().id;
        let email = format!("guest-of-{}@example.com", owner.id);
        let invitation = Some(pb::Invitation { email, ..Default::default() });
        let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
        let made = identity.employees().invite_employee(signed(owner, request)).await.unwrap();
        let invitation = made.into_inner().invitation.unwrap().id;
        Self { employee, role, session, api_key, invitation }
    }

    /// The id of the kind of row that a field of a method means.
    fn meant_by(&self, path: &str, field: &str) -> i64 {
        match field {
            "id" if path.contains("CompanyRole") => self.role,
            "id" if path.contains("ApiKey") => self.api_key,
            "id" if path.contains("Session") => self.session,
            "id" if path.contains("Invitation") => self.invitation,
            field if field.contains("company_role") => self.role,
            field if field.contains("api_key") => self.api_key,
            _ => self.employee,
        }
    }
}

/// Security checklist 35.
#[tokio::test]
async fn no_id_reaches_into_another_account() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let (hers, his) = (Rows::of(&identity, &ana).await, Rows::of(&identity, &bob).await);
    identity.no_letters_left().await;
    let service = Service {
        package: "identity.v1",
        policy: POLICY,
        ignored: IGNORED,
        omitted: OMITTED,
        examples: examples(hers),
    };
    let fields = id_fields(&service);
    assert!(fields.len() >= 20, "the requests have ids in them: {}", fields.len());
    let ids_of = |rows: Rows| {
        move |path: &str, field: &str| Ids { foreign: rows.meant_by(path, field), unknown: 999_999 }
    };
    let statements = async |path: &str| {
        let method = path.trim_start_matches('/');
        let of = format!("service=\"identity-service\",method=\"{method}\"");
        identity.figure(&format!("rpc_statements_total{{{of}}}")).await
    };
    let before = identity.digest().await;
    let channel = &identity.channel;
    let found = leaks_also_by_work(&service, channel, &ana.token, ids_of(his), statements).await;
    assert_eq!(found, Vec::<String>::new());
    assert!(statements("/identity.v1.EmployeeService/GetEmployee").await > 1, "it is counted");
    assert_eq!(identity.digest().await, before, "nothing was written");

    // And it can fail: by each call that takes more than the one before; with one's own ids every
    // call but the lists' says something, and with calls that have no example it says so.
    let asked = Cell::new(0_u64);
    let more_and_more = async |_: &str| asked.replace(asked.get() + 1).pow(2);
    let found = leaks_also_by_work(&service, channel, &ana.token, ids_of(his), more_and_more).await;
    assert_eq!(found.len(), fields.len(), "{found:#?}");
    let reads =
        ["/identity.v1.EmployeeService/GetEmployee", "/identity.v1.RoleService/GetCompanyRole"];
    let found = leaks(&service, &identity.channel, &ana.token, ids_of(hers)).await;
    assert!(reads.iter().all(|read| found.iter().any(|leak| leak.contains(read))), "{found:#?}");
    let forgetful = Service { examples: BTreeMap::new(), ..service };
    let found = leaks(&forgetful, &identity.channel, &ana.token, ids_of(his)).await;
    assert_eq!(found.len(), fields.len());
}

/// Every bad field at once, also where each is looked at in another place.
#[tokio::test]
async fn a_missing_id_and_a_bad_request_id_are_named_together() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let examples = examples(Rows::of(&identity, &ana).await);
    let service = Service {
        package: "identity.v1",
        policy: POLICY,
        ignored: IGNORED,
        omitted: OMITTED,
        examples,
    };
    let before = identity.digest().await;
    let (channel, token) = (&identity.channel, &ana.token);
    let found = faults_named_apart(&service, channel, token, &[]).await;
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(identity.digest().await, before, "nothing was written");

    // And it can fail.
    let free = [("/identity.v1.RoleService/DeleteCompanyRole", "id")];
    assert_eq!(faults_named_apart(&service, channel, token, &free).await.len(), 1);
}

#[tokio::test]
async fn headers_that_name_an_account_have_no_effect() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    let mut request = signed(&ana, pb::GetMeRequest {});
    for name in ["x-account-id", "x-user-id", "x-employee-id", "account-id", "x-internal"] {
        request.metadata_mut().insert(name, bob.account_id.into());
    }
    let me = identity.auth().get_me(request).await.unwrap().into_inner().employee.unwrap();
    assert_eq!((me.id, me.account_id), (ana.id, ana.account_id));
}

/// Security checklist 35 and 51.
#[tokio::test]
async fn no_place_in_a_list_of_another_account_is_one_in_ones_own() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    for owner in [&ana, &bob] {
        Rows::of(&identity, owner).await;
        // Of whatever is listed there are two.
        identity.company_role(owner, "Closer").await;
        identity.api_key(owner, &[]).await;
        let email = format!("second-guest-of-{}@example.com", owner.id);
        let invitation = Some(pb::Invitation { email, ..Default::default() });
        let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
        identity.employees().invite_employee(signed(owner, request)).await.unwrap();
    }
    let lists = list_methods("identity.v1");
    assert_eq!(lists.len(), 5, "{lists:?}");
    for path in &lists {
        let page = async |by: &Person, page_token: &str| {
            let body = one_of_a_page(path, page_token);
            raw::call(&identity.channel, path, raw::request(body, &by.token)).await
        };
        let hers = next_page_token(path, &page(&ana, "").await.unwrap().into_inner());
        assert!(!hers.is_empty(), "{path} has one more");
        page(&ana, &hers).await.expect(path);
        let foreign = refusal(page(&bob, &hers).await);
        let unknown = refusal(page(&bob, "nonsense").await);
        assert_eq!(foreign.fields, ["page_token"], "{path}");
        assert_eq!(foreign, unknown, "{path}");
    }
}

/// Security checklist 35: what somebody else asked for before is nobody's answer.
#[tokio::test]
async fn a_request_id_of_another_account_or_of_a_colleague_is_as_good_as_new() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let colleague = identity.add(&ana, "colleague", Role::Admin).await;
    let mut made = std::collections::BTreeSet::new();
    for (by, name) in [(&ana, "Coach"), (&bob, "Coach"), (&colleague, "Closer")] {
        let company_role = Some(pb::CompanyRole { name: name.into(), ..Default::default() });
        let request_id = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into();
        let request = pb::CreateCompanyRoleRequest { company_role, request_id };
        let answer = identity.roles().create_company_role(signed(by, request)).await.unwrap();
        made.insert(answer.into_inner().company_role.unwrap().id);
    }
    assert_eq!(made.len(), 3);
}
