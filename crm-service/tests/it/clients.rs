//! Clients: made, read, changed, deleted and brought back.

use std::{collections::BTreeMap, time::Duration};

use proto::crm::v1::{self as pb, ClientStatus};
use service_kit::testing::refusal::{Refusal, refusal, trailers};
use tonic::Code;

use crate::support::{Crm, Person, named, signed};

fn ada() -> pb::Client {
    pb::Client {
        first_name: "Ada".into(),
        last_name: "Lovelace".into(),
        email: "Ada@Example.com".into(),
        phone_number: "+44 20 7946 0000".into(),
        status: ClientStatus::Onboarding.into(),
        country: "GB".into(),
        currency: "GBP".into(),
        notes: "Likes engines.\nCall on Fridays.".into(),
        labels: BTreeMap::from([("tier".into(), "Gold".into())]),
        ..Default::default()
    }
}

async fn update(
    crm: &Crm,
    by: &Person,
    client: pb::Client,
    paths: &[&str],
) -> Result<pb::Client, tonic::Status> {
    let update_mask = (!paths.is_empty())
        .then(|| prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    let request =
        pb::UpdateClientRequest { client: Some(client), update_mask, request_id: String::new() };
    Ok(crm.clients().update_client(signed(by, request)).await?.into_inner().client.unwrap())
}

async fn undelete(crm: &Crm, by: &Person, id: i64) -> Result<pb::Client, tonic::Status> {
    let request = pb::UndeleteClientRequest { id, ..Default::default() };
    Ok(crm.clients().undelete_client(signed(by, request)).await?.into_inner().client.unwrap())
}

#[tokio::test]
async fn what_was_created_is_what_is_read() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    // Output only: whatever somebody sends here changes nothing.
    let sent = pb::Client { id: 999, etag: "mine".into(), ..ada() };
    let made = crm.create(&ana, sent).await;
    assert!(made.id != 999 && made.create_time.is_some() && made.delete_time.is_none());
    assert_eq!(crm.get(&ana, made.id).await.unwrap(), made);
    let said = pb::Client {
        id: made.id,
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
        ..ada()
    };
    assert_eq!(made, said);
}

#[tokio::test]
async fn what_is_not_said_is_active_and_in_the_accounts_currency() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, named("Ada", "")).await;
    assert_eq!(
        (made.status(), made.currency.as_str(), made.email.as_str()),
        (ClientStatus::Active, "CHF", "")
    );
    crm.create(&ana, named("Bob", "")).await;
}

#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let before = crm.database.digest().await;
    let client = pb::Client {
        first_name: String::new(),
        last_name: "x".repeat(101),
        email: "nobody".into(),
        phone_number: "1\u{0}2".into(),
        status: 42,
        country: "England".into(),
        currency: "gbp".into(),
        notes: "x".repeat(10_001),
        labels: (0..65).map(|n| (n.to_string(), String::new())).collect(),
        ..Default::default()
    };
    let request = pb::CreateClientRequest { client: Some(client), request_id: "x".into() };
    let refused = refusal(crm.clients().create_client(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "request_id",
            "client.first_name",
            "client.last_name",
            "client.email",
            "client.phone_number",
            "client.status",
            "client.country",
            "client.currency",
            "client.notes",
            "client.labels",
        ]
    );
    let refused = refusal(
        crm.clients().create_client(signed(&ana, pb::CreateClientRequest::default())).await,
    );
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.message, "Missing required fields");
    assert_eq!(crm.database.digest().await, before);
}

/// Clients in several languages take 8 KiB of trailers, and see nothing where there are more.
#[tokio::test]
async fn of_more_bad_fields_than_trailers_can_hold_the_first_are_named_and_the_others_counted() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let told = |status: tonic::Status| {
        let refused = Refusal::of(&status);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
        let [(key, more)] = &refused.metadata[..] else { panic!("{refused:?}") };
        assert_eq!(key, "fields_not_named");
        assert!(trailers(&status) < 8 << 10, "{refused:?}");
        (refused.fields.clone(), more.parse::<usize>().unwrap())
    };
    let batch = pb::BatchGetClientsRequest { ids: vec![0; 500] };
    let (shown, more) =
        told(crm.clients().batch_get_clients(signed(&ana, batch)).await.unwrap_err());
    assert_eq!((shown[0].as_str(), shown.len() + more), ("ids[0]", 500));

    let id = crm.create(&ana, named("Ada", "")).await.id;
    let paths = (0..64).map(|n| format!("nothing{n}")).collect();
    let update = pb::UpdateClientRequest {
        client: Some(pb::Client { id, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    let (shown, more) = told(crm.clients().update_client(signed(&ana, update)).await.unwrap_err());
    assert!(shown.len() > 1 && shown.len() + more == 64, "{shown:?} and {more}");
}

/// Security checklist 38.
#[tokio::test]
async fn an_address_is_one_live_clients_in_the_account_whatever_its_case() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let first = crm.create(&ana, ada()).await;
    let before = crm.database.digest().await;
    let again = pb::Client { email: "ADA@example.com".into(), ..ada() };
    let request =
        pb::CreateClientRequest { client: Some(again.clone()), request_id: String::new() };
    let refused = refusal(crm.clients().create_client(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "CLIENT_EMAIL_TAKEN"));
    assert_eq!(crm.database.digest().await, before);
    // It says nothing about another account.
    crm.create(&bob, again.clone()).await;
    // A deleted client frees it, and cannot come back while it is taken.
    crm.delete(&ana, first.id).await;
    let second = crm.create(&ana, again).await;
    let refused = refusal(undelete(&crm, &ana, first.id).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "CLIENT_EMAIL_TAKEN"));
    let other = crm.create(&ana, named("Bo", "")).await;
    let taking = pb::Client { id: other.id, email: "ada@EXAMPLE.com".into(), ..Default::default() };
    let refused = refusal(update(&crm, &ana, taking, &[]).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "CLIENT_EMAIL_TAKEN"));
    crm.delete(&ana, second.id).await;
    undelete(&crm, &ana, first.id).await.unwrap();
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let sent = pb::Client {
        id: made.id,
        first_name: "Augusta".into(),
        status: ClientStatus::Paused.into(),
        country: "NL".into(),
        ..Default::default()
    };
    let changed =
        update(&crm, &ana, sent, &["first_name", "status", "email", "labels"]).await.unwrap();
    let expected = pb::Client {
        first_name: "Augusta".into(),
        status: ClientStatus::Paused.into(),
        email: String::new(),
        labels: BTreeMap::new(),
        update_time: changed.update_time,
        etag: changed.etag.clone(),
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert_ne!(changed.etag, made.etag);
    assert_eq!(crm.get(&ana, made.id).await.unwrap(), changed);
}

#[tokio::test]
async fn without_a_mask_an_update_changes_what_is_present_and_ignores_what_is_output_only() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let mut sent = made.clone();
    sent.last_name = "King".into();
    sent.notes = String::new();
    let changed = update(&crm, &ana, sent, &[]).await.unwrap();
    assert_eq!((changed.last_name.as_str(), changed.notes.as_str()), ("King", made.notes.as_str()));
    assert_eq!(changed.create_time, made.create_time);
}

/// Security checklist 42.
#[tokio::test]
async fn a_mask_reaches_nothing_but_what_may_change() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let before = crm.database.digest().await;
    for path in [
        "*",
        "id",
        "account_id",
        "create_time",
        "delete_time",
        "etag",
        "labels.tier",
        "nothing",
        "",
    ] {
        let sent = pb::Client { id: made.id, ..Default::default() };
        let refused = refusal(update(&crm, &ana, sent, &["first_name", path]).await);
        assert_eq!(refused.code, Code::InvalidArgument, "{path}");
        assert_eq!(refused.fields[0], "update_mask", "{path}");
    }
    let endless = "x".repeat(1 << 20);
    let sent = pb::Client { id: made.id, ..Default::default() };
    let refused = refusal(update(&crm, &ana, sent, &[&endless]).await);
    assert_eq!(refused.fields, ["update_mask"]);
    assert!(refused.message.len() < 1000, "nothing of it comes back");
    for required in ["first_name", "status"] {
        let sent = pb::Client { id: made.id, ..Default::default() };
        let refused = refusal(update(&crm, &ana, sent, &[required]).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    }
    let refused = refusal(update(&crm, &ana, pb::Client::default(), &["email"]).await);
    assert_eq!(refused.fields, ["client.id"]);
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_none() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let before = crm.database.digest().await;
    assert_eq!(update(&crm, &ana, made.clone(), &[]).await.unwrap(), made);
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn an_etag_lets_only_the_present_version_be_changed() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let change = |etag: &str, name: &str| pb::Client {
        id: made.id,
        etag: etag.to_owned(),
        first_name: name.to_owned(),
        ..Default::default()
    };
    let changed = update(&crm, &ana, change(&made.etag, "One"), &[]).await.unwrap();
    let before = crm.database.digest().await;
    let refused = refusal(update(&crm, &ana, change(&made.etag, "Two"), &[]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    let request =
        pb::DeleteClientRequest { id: made.id, etag: made.etag.clone(), request_id: String::new() };
    let refused = refusal(crm.clients().delete_client(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    assert_eq!(crm.database.digest().await, before);
    let request =
        pb::DeleteClientRequest { id: made.id, etag: changed.etag, request_id: String::new() };
    crm.clients().delete_client(signed(&ana, request)).await.unwrap();
    let request = pb::UndeleteClientRequest {
        id: made.id,
        etag: made.etag.clone(),
        request_id: String::new(),
    };
    let refused = refusal(crm.clients().undelete_client(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
}

#[tokio::test]
async fn of_two_updates_from_the_same_version_one_is_told() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let change = |name: &str| pb::Client { first_name: name.to_owned(), ..made.clone() };
    let (one, other) = tokio::join!(
        update(&crm, &ana, change("One"), &[]),
        update(&crm, &ana, change("Other"), &[])
    );
    assert_eq!([&one, &other].iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = refusal(if one.is_err() { one } else { other });
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
}

#[tokio::test]
async fn whoever_waits_too_long_for_another_call_is_told_to_try_again() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let before = crm.database.digest().await;
    let change = pb::Client { id: made.id, first_name: "Eve".into(), ..Default::default() };

    let mut other = crm.database.owner.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM crm.clients FOR UPDATE").execute(&mut *other).await.unwrap();
    let refused = refusal(update(&crm, &ana, change.clone(), &[]).await);
    assert_eq!(refused.said(), (Code::Aborted, "CONFLICT"));
    assert_eq!(refused.message, "Another call got in the way: try again.");
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    assert_eq!(refused.retry_delay, Some(Duration::from_millis(100)));
    other.rollback().await.unwrap();

    assert_eq!(crm.database.digest().await, before);
    assert_eq!(update(&crm, &ana, change, &[]).await.unwrap().first_name, "Eve");
}

#[tokio::test]
async fn a_deleted_client_is_hidden_and_comes_back_as_it_was() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, ada()).await;
    let deleted = crm.delete(&ana, made.id).await;
    assert!(deleted.delete_time.is_some());
    for answer in [
        crm.get(&ana, made.id).await,
        update(
            &crm,
            &ana,
            pb::Client { id: made.id, first_name: "X".into(), ..Default::default() },
            &[],
        )
        .await,
        crm.clients()
            .delete_client(signed(
                &ana,
                pb::DeleteClientRequest { id: made.id, ..Default::default() },
            ))
            .await
            .map(|answer| answer.into_inner().client.unwrap()),
    ] {
        assert_eq!(refusal(answer).said(), (Code::NotFound, "NOT_FOUND"));
    }
    let hidden =
        pb::ListClientsRequest { search: "ada".into(), include_total: true, ..Default::default() };
    assert_eq!(crm.list(&ana, hidden.clone()).await.total_size, Some(0));

    let back = undelete(&crm, &ana, made.id).await.unwrap();
    let expected = pb::Client { update_time: back.update_time, etag: back.etag.clone(), ..made };
    assert_eq!(back, expected);
    assert_eq!(crm.list(&ana, hidden).await.clients, std::slice::from_ref(&back));
    assert_eq!(
        undelete(&crm, &ana, back.id).await.unwrap(),
        back,
        "what is not deleted stays as it is"
    );
}

#[tokio::test]
async fn an_unknown_id_is_named_with_its_field() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for id in [7, -1, i64::MAX] {
        let refused = refusal(crm.get(&ana, id).await);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(
            refused.metadata,
            [("field".into(), "id".into()), ("resource".into(), "client".into())]
        );
    }
    let refused = refusal(crm.get(&ana, 0).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields, ["id"]);
}
