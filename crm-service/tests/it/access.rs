//! Who may do what to clients, and who may call at all.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use crm_service::POLICY;
use proto::{
    common::v1::{Permission, Role},
    crm::v1 as pb,
};
use service_kit::{
    access::permission_name,
    auth::SERVICE_HEADER,
    policy::Access,
    testing::{raw, refusal::refusal},
};
use tonic::{Code, Request};

use crate::support::{Crm, Person, SERVICE_SECRET, named, signed};

/// The permissions that the contract gives to super admins alone.
const SUPER_ADMINS: [Permission; 2] = [Permission::ViewAudit, Permission::ManageStripeEndpoints];

/// What a method needs beyond being signed in.
fn needs(method: &str) -> Option<Permission> {
    match POLICY.iter().find(|rule| rule.method == method).unwrap().access {
        Access::SignedIn => None,
        Access::Needs(permission) => Some(permission),
        other => panic!("{method}: {other:?}"),
    }
}

/// What somebody who sends nothing in particular is told for a permission that they lack.
async fn said(crm: &Crm, method: &str, request: Request<Bytes>) -> (Code, Option<String>) {
    let call = raw::call(&crm.channel, method, request);
    // What goes on is let in.
    match tokio::time::timeout(Duration::from_secs(2), call).await {
        Err(_) | Ok(Ok(_)) => (Code::Ok, None),
        Ok(Err(status)) => {
            let refused = refusal(Err::<(), _>(status));
            let lacking = refused.metadata.iter().find(|(key, _)| key == "permission");
            (refused.code, lacking.map(|(_, name)| name.clone()))
        }
    }
}

/// Security checklist 28 and 29: every method, for everybody there is, by the table of the contract.
/// About whom it may be is shown by the tests of visibility and isolation.
#[tokio::test]
async fn every_method_is_open_to_those_whom_the_contract_names_and_to_nobody_else() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let admin = crm.add(&owner, "admin", Role::Admin).await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    let key = crm.key(&owner, &[]).await;
    let of = |person: &Person| raw::request(Bytes::new(), &person.token);
    for rule in POLICY {
        let (method, needs) = (rule.method, needs(rule.method));
        let (code, _) = said(&crm, method, Request::new(Bytes::new())).await;
        assert_eq!(code, Code::Unauthenticated, "{method}");
        for (who, request, may) in [
            ("employee", of(&employee), needs.is_none()),
            ("API key", key.signed(Bytes::new()), needs.is_none()),
            ("admin", of(&admin), needs.is_none_or(|needed| !SUPER_ADMINS.contains(&needed))),
            ("super admin", of(&owner), true),
        ] {
            let (code, lacking) = said(&crm, method, request).await;
            let is_closed = code == Code::PermissionDenied || code == Code::Unauthenticated;
            assert_eq!(is_closed, !may, "{who}: {method}: {code:?}");
            let named = needs.filter(|_| !may).map(permission_name);
            assert_eq!(lacking, named, "{who}: {method}");
        }
    }
    // A grant opens what it says and nothing else.
    let methods: Vec<_> = POLICY.iter().map(|rule| rule.method).collect();
    let all: BTreeSet<_> = methods.iter().filter_map(|method| needs(method)).collect();
    assert!(all.len() >= 12, "{all:?}");
    for granted in all {
        crm.grant(&owner, &employee, &[granted]).await;
        for method in methods.iter().filter(|method| needs(method).is_some()) {
            let (code, _) = said(&crm, method, of(&employee)).await;
            let may = needs(method) == Some(granted);
            assert_eq!(code == Code::PermissionDenied, !may, "{granted:?}: {method}");
        }
    }
}

/// Security checklist 40 and 45: what crm-service itself is known by to identity-service.
#[tokio::test]
async fn the_secret_of_a_service_opens_nothing_here() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.add(&ana, "bob", Role::Employee).await;
    let with_secret = |mut request: Request<Bytes>| {
        request.metadata_mut().insert(SERVICE_HEADER, SERVICE_SECRET.parse().unwrap());
        request
    };
    for rule in POLICY {
        let nobody = with_secret(Request::new(Bytes::new()));
        let (code, _) = said(&crm, rule.method, nobody).await;
        assert_eq!(code, Code::Unauthenticated, "{}", rule.method);
        if needs(rule.method).is_some() {
            let bob = with_secret(raw::request(Bytes::new(), &bob.token));
            let (code, _) = said(&crm, rule.method, bob).await;
            assert_eq!(code, Code::PermissionDenied, "{}", rule.method);
        }
    }
}

#[tokio::test]
async fn admins_write_and_employees_read() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let admin = crm.add(&owner, "admin", Role::Admin).await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    let client = crm.create(&admin, named("Ada", "")).await;
    assert_eq!(crm.get(&employee, client.id).await.unwrap(), client);
    assert_eq!(
        crm.list(&employee, pb::ListClientsRequest::default()).await.clients,
        std::slice::from_ref(&client)
    );

    let before = crm.database.digest().await;
    let (mut clients, id) = (crm.clients(), client.id);
    let named = || Some(pb::Client { id, ..named("Eve", "") });
    let by = |message| signed(&employee, message);
    let create = clients
        .create_client(signed(
            &employee,
            pb::CreateClientRequest { client: named(), ..Default::default() },
        ))
        .await;
    let update = clients
        .update_client(signed(
            &employee,
            pb::UpdateClientRequest { client: named(), ..Default::default() },
        ))
        .await;
    let delete =
        clients.delete_client(by(pb::DeleteClientRequest { id, ..Default::default() })).await;
    let undelete = clients
        .undelete_client(signed(&employee, pb::UndeleteClientRequest { id, ..Default::default() }))
        .await;
    for refused in [refusal(create), refusal(update), refusal(delete), refusal(undelete)] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
        assert_eq!(refused.message, "This needs the permission manage_all_clients.");
        assert_eq!(refused.metadata, [("permission".into(), "manage_all_clients".into())]);
    }
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 40.
#[tokio::test]
async fn what_identity_refuses_is_refused_here_in_the_same_words() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let said = |token: String| {
        let (mut clients, by) = (crm.clients(), Person { token });
        async move {
            let refused =
                refusal(clients.get_client(signed(&by, pb::GetClientRequest { id: 1 })).await);
            (refused.code, refused.reason, refused.message)
        }
    };
    let unauthenticated = |reason: &str, message: &str| {
        (Code::Unauthenticated, reason.to_owned(), message.to_owned())
    };
    assert_eq!(said("0".repeat(40)).await, unauthenticated("TOKEN_INVALID", "Invalid token."));
    crm.identity.database.execute("UPDATE identity.employees SET is_active = false").await;
    assert_eq!(
        said(ana.token.clone()).await,
        unauthenticated("EMPLOYEE_INACTIVE", "User inactive or deleted.")
    );
    crm.identity.database.execute("UPDATE identity.employees SET is_active = true").await;
    crm.create(&ana, named("Ada", "")).await;

    let mut auth = proto::identity::v1::auth_service_client::AuthServiceClient::new(
        crm.identity.channel.clone(),
    );
    auth.logout(signed(&ana, proto::identity::v1::LogoutRequest {})).await.unwrap();
    assert_eq!(said(ana.token).await, unauthenticated("TOKEN_REVOKED", "Invalid token."));
    let refused = refusal(crm.clients().get_client(pb::GetClientRequest { id: 1 }).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_MISSING"));
}
