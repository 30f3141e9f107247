//! Who may do what to clients.

use proto::{common::v1::Role, crm::v1 as pb};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::support::{Crm, Person, named, signed};

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
