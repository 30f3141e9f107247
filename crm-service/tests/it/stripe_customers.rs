//! Which client is which customer of Stripe, and the addresses that Stripe delivers to.

use prost::Message;
use proto::{
    common::v1::{Permission, Role},
    crm::v1::{
        self as pb, StripeCustomerStatus as Status,
        stripe_customer_service_client::StripeCustomerServiceClient,
        stripe_endpoint_service_client::StripeEndpointServiceClient,
    },
};
use service_kit::testing::{refusal::refusal, repeats};
use tonic::{Code, transport::Channel};

use crate::support::{Crm, Person, named, signed};

impl Crm {
    pub fn stripe_customers(&self) -> StripeCustomerServiceClient<Channel> {
        StripeCustomerServiceClient::new(self.channel.clone())
    }

    pub fn stripe_endpoints(&self) -> StripeEndpointServiceClient<Channel> {
        StripeEndpointServiceClient::new(self.channel.clone())
    }

    /// Ties a client to a customer of Stripe.
    pub async fn tie(&self, by: &Person, client_id: i64, stripe_id: &str) -> pb::StripeCustomer {
        let request = signed(by, tie(client_id, stripe_id));
        self.stripe_customers()
            .create_stripe_customer(request)
            .await
            .unwrap()
            .into_inner()
            .stripe_customer
            .unwrap()
    }

    pub async fn customer(
        &self,
        by: &Person,
        id: i64,
    ) -> Result<pb::StripeCustomer, tonic::Status> {
        let request = signed(by, pb::GetStripeCustomerRequest { id });
        let answer = self.stripe_customers().get_stripe_customer(request).await?;
        Ok(answer.into_inner().stripe_customer.unwrap())
    }
}

pub fn tie(client_id: i64, stripe_id: &str) -> pb::CreateStripeCustomerRequest {
    let stripe_customer = Some(pb::StripeCustomer {
        client_id,
        stripe_customer_id: stripe_id.to_owned(),
        ..Default::default()
    });
    pb::CreateStripeCustomerRequest { stripe_customer, request_id: String::new() }
}

fn change(id: i64, status: Status) -> pb::UpdateStripeCustomerRequest {
    let stripe_customer =
        Some(pb::StripeCustomer { id, status: status.into(), ..Default::default() });
    pb::UpdateStripeCustomerRequest { stripe_customer, ..Default::default() }
}

#[tokio::test]
async fn a_tie_is_made_read_listed_changed_and_taken_away() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (zoe, max) =
        (crm.create(&ana, named("Zoe", "")).await, crm.create(&ana, named("Max", "")).await);
    let first = crm.tie(&ana, zoe.id, "cus_1").await;
    assert_eq!((first.client_id, first.status()), (zoe.id, Status::Active));
    assert_eq!(crm.customer(&ana, first.id).await.unwrap(), first);
    let second = crm.tie(&ana, max.id, "cus_2").await;

    let mut customers = crm.stripe_customers();
    let inactive =
        customers.update_stripe_customer(signed(&ana, change(first.id, Status::Inactive)));
    let inactive = inactive.await.unwrap().into_inner().stripe_customer.unwrap();
    assert_eq!((inactive.status(), inactive.etag.as_str()), (Status::Inactive, "v2"));
    let list = async |request| {
        let request =
            signed(&ana, pb::ListStripeCustomersRequest { include_total: true, ..request });
        let page =
            crm.stripe_customers().list_stripe_customers(request).await.unwrap().into_inner();
        assert_eq!(page.total_size, i64::try_from(page.stripe_customers.len()).ok());
        page.stripe_customers.into_iter().map(|customer| customer.id).collect::<Vec<_>>()
    };
    let all = pb::ListStripeCustomersRequest::default();
    assert_eq!(list(all.clone()).await, [second.id, first.id]);
    let of_zoe = pb::ListStripeCustomersRequest { client_id: zoe.id, ..all.clone() };
    assert_eq!(list(of_zoe).await, [first.id]);
    let active = pb::ListStripeCustomersRequest { status: Status::Active.into(), ..all.clone() };
    assert_eq!(list(active).await, [second.id]);

    let delete = pb::DeleteStripeCustomerRequest { id: first.id, ..Default::default() };
    customers.delete_stripe_customer(signed(&ana, delete.clone())).await.unwrap();
    let gone = refusal(crm.customer(&ana, first.id).await);
    assert_eq!(gone.said(), (Code::NotFound, "NOT_FOUND"));
    let again = refusal(customers.delete_stripe_customer(signed(&ana, delete)).await);
    assert_eq!(again.said(), (Code::NotFound, "NOT_FOUND"));
    // Its id is free again.
    assert_eq!(crm.tie(&ana, zoe.id, "cus_1").await.stripe_customer_id, "cus_1");
}

/// Security checklist 38.
#[tokio::test]
async fn a_stripe_id_stands_once_in_an_account_and_a_client_has_one_active() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let (zoe, max) =
        (crm.create(&ana, named("Zoe", "")).await, crm.create(&ana, named("Max", "")).await);
    let first = crm.tie(&ana, zoe.id, "cus_1").await;
    let his = crm.create(&bob, named("Bob", "")).await;
    crm.tie(&bob, his.id, "cus_1").await;

    let before = crm.database.digest().await;
    let mut customers = crm.stripe_customers();
    let taken = refusal(customers.create_stripe_customer(signed(&ana, tie(max.id, "cus_1"))).await);
    assert_eq!(taken.said(), (Code::AlreadyExists, "STRIPE_CUSTOMER_TAKEN"));
    let second =
        refusal(customers.create_stripe_customer(signed(&ana, tie(zoe.id, "cus_2"))).await);
    assert_eq!(second.said(), (Code::AlreadyExists, "STRIPE_CUSTOMER_ACTIVE"));
    assert_eq!(crm.database.digest().await, before);

    let mut inactive = tie(zoe.id, "cus_2");
    inactive.stripe_customer.as_mut().unwrap().status = Status::Inactive.into();
    let other = customers.create_stripe_customer(signed(&ana, inactive)).await.unwrap();
    let other = other.into_inner().stripe_customer.unwrap();
    let both = customers.update_stripe_customer(signed(&ana, change(other.id, Status::Active)));
    assert_eq!(refusal(both.await).said(), (Code::AlreadyExists, "STRIPE_CUSTOMER_ACTIVE"));
    let first_out = change(first.id, Status::Inactive);
    customers.update_stripe_customer(signed(&ana, first_out)).await.unwrap();
    customers.update_stripe_customer(signed(&ana, change(other.id, Status::Active))).await.unwrap();
}

#[tokio::test]
async fn of_many_at_once_one_is_tied() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let zoe = crm.create(&ana, named("Zoe", "")).await;
    let calls = (0..8).map(|n| {
        let (mut customers, request) =
            (crm.stripe_customers(), signed(&ana, tie(zoe.id, &format!("cus_{n}"))));
        tokio::spawn(async move { customers.create_stripe_customer(request).await })
    });
    let mut tied = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(_) => tied += 1,
            refused => assert_eq!(refusal(refused).reason, "STRIPE_CUSTOMER_ACTIVE"),
        }
    }
    assert_eq!(tied, 1);
}

#[tokio::test]
async fn bad_input_is_named_at_once_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let zoe = crm.create(&ana, named("Zoe", "")).await;
    let tied = crm.tie(&ana, zoe.id, "cus_1").await;
    let gone = crm.create(&ana, named("Gone", "")).await;
    crm.delete(&ana, gone.id).await;
    let before = crm.database.digest().await;
    let mut customers = crm.stripe_customers();

    let empty = pb::CreateStripeCustomerRequest { request_id: "1".into(), ..Default::default() };
    let refused = refusal(customers.create_stripe_customer(signed(&ana, empty)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    let (client_id, stripe_id) =
        ("stripe_customer.client_id", "stripe_customer.stripe_customer_id");
    assert_eq!(refused.fields, ["request_id", client_id, stripe_id]);
    let mut wrong = tie(zoe.id, "ch_1");
    wrong.stripe_customer.as_mut().unwrap().status = 7;
    let refused = refusal(customers.create_stripe_customer(signed(&ana, wrong)).await);
    assert_eq!(refused.fields, [stripe_id, "stripe_customer.status"]);
    let deleted =
        refusal(customers.create_stripe_customer(signed(&ana, tie(gone.id, "cus_2"))).await);
    assert_eq!(deleted.said(), (Code::FailedPrecondition, "CLIENT_DELETED"));

    let mut moved = change(tied.id, Status::Inactive);
    let sent = moved.stripe_customer.as_mut().unwrap();
    (sent.client_id, sent.stripe_customer_id) = (gone.id, "cus_2".into());
    let refused = refusal(customers.update_stripe_customer(signed(&ana, moved)).await);
    assert_eq!(refused.fields, [client_id, stripe_id]);
    let mut worse = change(tied.id, Status::Inactive);
    let sent = worse.stripe_customer.as_mut().unwrap();
    (sent.client_id, sent.status) = (gone.id, 7);
    let refused = refusal(customers.update_stripe_customer(signed(&ana, worse)).await);
    assert_eq!(refused.fields, ["stripe_customer.status", client_id]);
    let mut stale = change(tied.id, Status::Inactive);
    stale.stripe_customer.as_mut().unwrap().etag = "v7".into();
    let refused = refusal(customers.update_stripe_customer(signed(&ana, stale)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    let list = pb::ListStripeCustomersRequest { page_size: -1, status: 9, ..Default::default() };
    let refused = refusal(customers.list_stripe_customers(signed(&ana, list)).await);
    assert_eq!(refused.fields, ["status", "page_size"]);
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 29.
#[tokio::test]
async fn employees_read_those_who_manage_stripe_write_and_endpoints_are_for_super_admins() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let admin = crm.add(&owner, "admin", Role::Admin).await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    let zoe = crm.create(&owner, named("Zoe", "")).await;
    let tied = crm.tie(&admin, zoe.id, "cus_1").await;
    assert_eq!(crm.customer(&employee, tied.id).await.unwrap(), tied);

    let before = crm.database.digest().await;
    let (mut customers, mut endpoints, id) =
        (crm.stripe_customers(), crm.stripe_endpoints(), tied.id);
    let create = customers.create_stripe_customer(signed(&employee, tie(zoe.id, "cus_2"))).await;
    let update = customers.update_stripe_customer(signed(&employee, change(id, Status::Inactive)));
    let delete = pb::DeleteStripeCustomerRequest { id, ..Default::default() };
    let refused = [
        refusal(create),
        refusal(update.await),
        refusal(customers.delete_stripe_customer(signed(&employee, delete)).await),
    ];
    for refused in refused {
        assert_eq!(refused.message, "This needs the permission manage_stripe.");
    }
    let create = pb::CreateStripeEndpointRequest::default();
    let rotate = pb::RotateStripeEndpointSecretRequest::default();
    let delete = pb::DeleteStripeEndpointRequest::default();
    let refused = [
        refusal(endpoints.create_stripe_endpoint(signed(&admin, create)).await),
        refusal(endpoints.list_stripe_endpoints(signed(&admin, Default::default())).await),
        refusal(endpoints.rotate_stripe_endpoint_secret(signed(&admin, rotate)).await),
        refusal(endpoints.delete_stripe_endpoint(signed(&admin, delete)).await),
        refusal(endpoints.list_parked_events(signed(&admin, Default::default())).await),
    ];
    for refused in refused {
        let permission = Permission::ManageStripeEndpoints.as_str_name().to_lowercase();
        let permission = permission.strip_prefix("permission_").unwrap();
        assert_eq!(refused.message, format!("This needs the permission {permission}."));
    }
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 36: also those who manage Stripe, of the clients in which they have a part.
#[tokio::test]
async fn whoever_does_not_see_a_client_reaches_nothing_of_it_at_stripe() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    crm.grant(&owner, &employee, &[Permission::ManageStripe]).await;
    let (seen, hidden) = (crm.tied(&owner).await, crm.tied(&owner).await);
    crm.assign(&owner, &employee, seen.client).await;

    let of_customers = |(method, _): &(&str, Vec<u8>)| method.contains("StripeCustomerService");
    let before = crm.database.digest().await;
    for (method, message) in hidden.examples().into_iter().filter(of_customers) {
        let answer = crm.call(&employee, method, &message).await;
        if method.contains("/List") {
            let list = pb::ListStripeCustomersResponse::decode(&*answer.unwrap()).unwrap();
            assert_eq!(list.stripe_customers, []);
        } else {
            assert_eq!(answer.expect_err(method).said(), (Code::NotFound, "NOT_FOUND"), "{method}");
        }
    }
    assert_eq!(crm.database.digest().await, before);
    let all = pb::ListStripeCustomersRequest { include_total: true, ..Default::default() };
    let list = crm.stripe_customers().list_stripe_customers(signed(&employee, all)).await.unwrap();
    let list = list.into_inner();
    let ids = Vec::from_iter(list.stripe_customers.iter().map(|it| it.id));
    assert_eq!((ids, list.total_size), (vec![seen.customer], Some(1)));
    for (method, message) in seen.examples().into_iter().filter(of_customers) {
        crm.call(&employee, method, &message).await.expect(method);
    }
}

/// What has to look like Stripe's to be taken at all.
const IN_STRIPES_WORDS: &[&str] = &[
    "crm.v1.StripeCustomer.stripe_customer_id",
    "crm.v1.RotateStripeEndpointSecretRequest.secret",
];

#[tokio::test]
async fn whatever_is_sent_again_to_stripes_services_is_done_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let tied = crm.tied(&ana).await;
    let mut repeated = 0;
    for (n, (path, message)) in (1_u128..).zip(tied.examples()) {
        let method = repeats::method(path);
        if !repeats::is_repeatable(&method) {
            continue;
        }
        repeated += 1;
        let under = repeats::under(&method, &message, &uuid::Uuid::from_u128(n).to_string());
        let first = crm.call(&ana, path, &under).await.expect(path);
        let before = crm.database.digest().await;
        assert_eq!(crm.call(&ana, path, &under).await.expect(path), first, "{path}");
        assert_eq!(crm.database.digest().await, before, "{path}");
        let other = repeats::with_something_else(&method, &under, IN_STRIPES_WORDS).expect(path);
        let refused = crm.call(&ana, path, &other).await.expect_err(path);
        assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"), "{path}");
        assert_eq!(crm.database.digest().await, before, "{path}");
    }
    assert_eq!(repeated, 5);
}

#[tokio::test]
async fn what_is_sent_again_has_one_effect() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let zoe = crm.create(&ana, named("Zoe", "")).await;
    let request_id = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".to_owned();
    let request =
        pb::CreateStripeCustomerRequest { request_id: request_id.clone(), ..tie(zoe.id, "cus_1") };
    let mut customers = crm.stripe_customers();
    let first = customers.create_stripe_customer(signed(&ana, request.clone())).await.unwrap();
    let again = customers.create_stripe_customer(signed(&ana, request)).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    let other =
        pb::CreateStripeCustomerRequest { request_id: request_id.clone(), ..tie(zoe.id, "cus_2") };
    let other = refusal(customers.create_stripe_customer(signed(&ana, other)).await);
    assert_eq!(other.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));

    let request = pb::CreateStripeEndpointRequest { request_id, ..Default::default() };
    let mut endpoints = crm.stripe_endpoints();
    let first = endpoints.create_stripe_endpoint(signed(&ana, request.clone())).await.unwrap();
    let again = endpoints.create_stripe_endpoint(signed(&ana, request)).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    let list = endpoints.list_stripe_endpoints(signed(&ana, Default::default())).await.unwrap();
    assert_eq!(list.into_inner().stripe_endpoints.len(), 1);
}

/// Security checklist 62.
#[tokio::test]
async fn a_signing_secret_is_never_shown_again_nor_found_in_the_database() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let endpoint = crm.endpoint(&ana, "whsec_FindMeIfYouCan", false).await;
    assert!(endpoint.has_secret && endpoint.webhook_url.contains("/stripe/webhook/"));
    let list = signed(&ana, pb::ListStripeEndpointsRequest::default());
    let list = crm.stripe_endpoints().list_stripe_endpoints(list).await.unwrap();
    assert!(!format!("{list:?}").contains("FindMe"));
    let dump = crm.database.dump().await;
    assert!(dump.contains(&endpoint.webhook_url[endpoint.webhook_url.len() - 32..]), "it can find");
    assert!(!dump.contains("FindMe") && !dump.contains(&hex::encode("FindMe")));

    for bad in ["", "sk_live_1", "whsec_", "whsec_a b"] {
        let rotate = pb::RotateStripeEndpointSecretRequest {
            id: endpoint.id,
            secret: bad.into(),
            ..Default::default()
        };
        let mut endpoints = crm.stripe_endpoints();
        let answer = endpoints.rotate_stripe_endpoint_secret(signed(&ana, rotate)).await;
        assert_eq!(refusal(answer).fields, ["secret"], "{bad:?}");
    }
}

/// What somebody has at Stripe.
pub struct Tied {
    client: i64,
    customer: i64,
    endpoint: i64,
}

impl Crm {
    pub async fn tied(&self, by: &Person) -> Tied {
        let client = self.create(by, named("Tia", "")).await.id;
        // Not active, so that a second one can be added.
        let mut request = tie(client, &format!("cus_of_{client}"));
        request.stripe_customer.as_mut().unwrap().status = Status::Inactive.into();
        let customer = self.stripe_customers().create_stripe_customer(signed(by, request)).await;
        let customer = customer.unwrap().into_inner().stripe_customer.unwrap().id;
        let endpoint = self.endpoint(by, "whsec_1", false).await.id;
        Tied { client, customer, endpoint }
    }
}

/// Output-only fields, and those that never change.
pub const IGNORED: &[(&str, &str)] = &[
    ("/crm.v1.StripeCustomerService/CreateStripeCustomer", "stripe_customer.id"),
    ("/crm.v1.StripeCustomerService/UpdateStripeCustomer", "stripe_customer.client_id"),
    ("/crm.v1.StripeEndpointService/CreateStripeEndpoint", "stripe_endpoint.id"),
];

/// Fields by which lists are narrowed.
pub const OMITTED: &[(&str, &str)] =
    &[("/crm.v1.StripeCustomerService/ListStripeCustomers", "client_id")];

impl Tied {
    /// What a field of a method would name of these; nothing where it is about something else.
    pub fn named(&self, method: &str, field: &str) -> Option<i64> {
        let service = method.split('/').nth(1).unwrap();
        match (service, field.rsplit('.').next().unwrap()) {
            ("crm.v1.StripeCustomerService", "client_id") => Some(self.client),
            ("crm.v1.StripeCustomerService", _) => Some(self.customer),
            ("crm.v1.StripeEndpointService", _) => Some(self.endpoint),
            _ => None,
        }
    }

    /// For each method with an id a call that succeeds, encoded.
    pub fn examples(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Self { client, customer, endpoint } = *self;
        let secret = "whsec_2".to_owned();
        vec![
            (
                "/crm.v1.StripeCustomerService/CreateStripeCustomer",
                tie(client, "cus_another").encode_to_vec(),
            ),
            (
                "/crm.v1.StripeCustomerService/GetStripeCustomer",
                pb::GetStripeCustomerRequest { id: customer }.encode_to_vec(),
            ),
            (
                "/crm.v1.StripeCustomerService/ListStripeCustomers",
                pb::ListStripeCustomersRequest { client_id: client, ..Default::default() }
                    .encode_to_vec(),
            ),
            (
                "/crm.v1.StripeCustomerService/UpdateStripeCustomer",
                change(customer, Status::Inactive).encode_to_vec(),
            ),
            (
                "/crm.v1.StripeCustomerService/DeleteStripeCustomer",
                pb::DeleteStripeCustomerRequest { id: customer, ..Default::default() }
                    .encode_to_vec(),
            ),
            (
                "/crm.v1.StripeEndpointService/RotateStripeEndpointSecret",
                pb::RotateStripeEndpointSecretRequest {
                    id: endpoint,
                    secret,
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.StripeEndpointService/DeleteStripeEndpoint",
                pb::DeleteStripeEndpointRequest { id: endpoint, ..Default::default() }
                    .encode_to_vec(),
            ),
        ]
    }
}
