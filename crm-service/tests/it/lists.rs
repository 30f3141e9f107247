//! Lists: filters, search, orders and pages.

use proto::crm::v1::{self as pb, ClientStatus};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::support::{Crm, Person, named, signed};

fn names(list: &pb::ListClientsResponse) -> Vec<&str> {
    list.clients.iter().map(|client| client.first_name.as_str()).collect()
}

/// Five clients of one account, and one of another that must never be seen.
async fn five(crm: &Crm) -> Person {
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    crm.create(&bob, pb::Client { country: "NL".into(), ..named("Foreign", "Lovelace") }).await;
    for (first_name, last_name, email, status, country) in [
        ("Ada", "Lovelace", "ada@example.com", ClientStatus::Active, "GB"),
        ("Blaise", "Pascal", "blaise@pascal.fr", ClientStatus::Paused, "FR"),
        ("Charles", "Babbage", "", ClientStatus::Active, "GB"),
        ("Édouard", "Łucas-Óbriain", "e.lucas@example.com", ClientStatus::Cancelled, "FR"),
        ("Love", "Anders", "", ClientStatus::Inactive, "SE"),
    ] {
        let client = pb::Client {
            email: email.into(),
            status: status.into(),
            country: country.into(),
            ..named(first_name, last_name)
        };
        crm.create(&ana, client).await;
    }
    ana
}

#[tokio::test]
async fn filters_narrow_together() {
    let crm = Crm::start().await;
    let ana = five(&crm).await;
    let by = |request: pb::ListClientsRequest| {
        crm.list(&ana, pb::ListClientsRequest { order_by: "create_time".into(), ..request })
    };
    let status = |statuses: &[ClientStatus]| {
        statuses.iter().map(|status| (*status).into()).collect::<Vec<i32>>()
    };

    assert_eq!(
        names(&by(pb::ListClientsRequest::default()).await),
        ["Ada", "Blaise", "Charles", "Édouard", "Love"]
    );
    let active =
        pb::ListClientsRequest { status: status(&[ClientStatus::Active]), ..Default::default() };
    assert_eq!(names(&by(active).await), ["Ada", "Charles"]);
    let two = pb::ListClientsRequest {
        status: status(&[ClientStatus::Paused, ClientStatus::Cancelled]),
        ..Default::default()
    };
    assert_eq!(names(&by(two).await), ["Blaise", "Édouard"]);
    let whatever = status(&[ClientStatus::Unspecified]);
    let any = pb::ListClientsRequest { status: whatever, ..Default::default() };
    assert_eq!(by(any).await.clients.len(), 5, "what is not said narrows nothing");
    let british =
        pb::ListClientsRequest { country: "GB".into(), search: "lov".into(), ..Default::default() };
    assert_eq!(names(&by(british).await), ["Ada"]);
    let nobody =
        pb::ListClientsRequest { country: "NL".into(), include_total: true, ..Default::default() };
    let nobody = by(nobody).await;
    assert_eq!(
        (nobody.clients.len(), nobody.total_size, nobody.next_page_token.as_str()),
        (0, Some(0), "")
    );
}

/// Security checklist 51.
#[tokio::test]
async fn a_search_finds_the_beginnings_of_words_whatever_their_case_or_accents() {
    let crm = Crm::start().await;
    let ana = five(&crm).await;
    for (search, found) in [
        ("love", vec!["Ada", "Love"]),
        ("LOVELACE", vec!["Ada"]),
        ("ada love", vec!["Ada"]),
        ("love ada", vec!["Ada"]),
        ("edouard", vec!["Édouard"]),
        ("ÉDOU", vec!["Édouard"]),
        ("obriain", vec!["Édouard"]),
        ("e.lucas@ex", vec!["Édouard"]),
        ("example", vec!["Ada", "Édouard"]),
        ("pascal.fr", vec!["Blaise"]),
        ("Example.COM", vec!["Ada", "Édouard"]),
        ("lucas@example.com", vec![]),
        ("blaise@pascal.fr", vec!["Blaise"]),
        ("ovelace", vec![]),
        ("love%", vec![]),
        ("_ove", vec![]),
        ("' OR 1=1 --", vec![]),
        ("   ", vec!["Ada", "Blaise", "Charles", "Édouard", "Love"]),
    ] {
        let request = pb::ListClientsRequest {
            search: search.into(),
            order_by: "create_time".into(),
            ..Default::default()
        };
        assert_eq!(names(&crm.list(&ana, request).await), found, "{search:?}");
    }
}

/// Before addresses had their domains among their words.
#[tokio::test]
async fn whoever_had_words_before_is_found_by_the_domain() {
    let crm = Crm::start().await;
    let ana = five(&crm).await;
    let email = "zoe@star-fleet.example.org".into();
    crm.create(&ana, pb::Client { email, ..named("Zoe", "") }).await;
    let words = async || -> Vec<(i64, String)> {
        let words = "SELECT client_id, word FROM crm.client_search_words ORDER BY 1, 2";
        sqlx::query_as(words).fetch_all(&crm.database.owner).await.unwrap()
    };
    let now = words().await;
    let forget =
        "DELETE FROM crm.client_search_words WHERE word LIKE '%.%' AND word NOT LIKE '%@%'";
    crm.database.execute(forget).await;
    assert_eq!(words().await.len(), now.len() - 5);
    crm.database.execute(include_str!("../../../migrations/crm/0013_domains.sql")).await;
    assert_eq!(words().await, now);
}

#[tokio::test]
async fn a_changed_name_is_found_and_the_old_one_is_not() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create(&ana, named("Ada", "Byron")).await;
    let update = pb::UpdateClientRequest {
        client: Some(pb::Client {
            id: made.id,
            last_name: "Lovelace".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    crm.clients().update_client(signed(&ana, update)).await.unwrap();
    let search =
        |search: &str| pb::ListClientsRequest { search: search.into(), ..Default::default() };
    assert_eq!(names(&crm.list(&ana, search("lovelace")).await), ["Ada"]);
    assert!(names(&crm.list(&ana, search("byron")).await).is_empty());
}

#[tokio::test]
async fn orders_are_what_they_say_in_both_directions() {
    let crm = Crm::start().await;
    let ana = five(&crm).await;
    for (order_by, first) in [
        ("", "Love"),
        ("create_time desc", "Love"),
        ("create_time", "Ada"),
        ("create_time asc", "Ada"),
        ("last_name", "Love"),
        ("last_name desc", "Blaise"),
    ] {
        let request = pb::ListClientsRequest {
            order_by: order_by.into(),
            page_size: 1,
            ..Default::default()
        };
        assert_eq!(names(&crm.list(&ana, request).await), [first], "{order_by:?}");
    }
}

#[tokio::test]
async fn pages_of_every_order_show_each_row_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for number in 0..25 {
        // Two of each name, so that ties must go by id.
        crm.create(&ana, named(&number.to_string(), &format!("Name {}", number / 2))).await;
    }
    for order_by in ["create_time", "create_time desc", "last_name", "last_name desc"] {
        let ask = |page_size| pb::ListClientsRequest {
            order_by: order_by.into(),
            page_size,
            include_total: true,
            ..Default::default()
        };
        let whole = crm.list(&ana, ask(100)).await;
        assert_eq!(
            (whole.clients.len(), whole.next_page_token.as_str(), whole.total_size),
            (25, "", Some(25))
        );
        let mut paged = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = crm.list(&ana, pb::ListClientsRequest { page_token, ..ask(7) }).await;
            paged.extend(page.clients);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole.clients, "{order_by}");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_whatever_changed_meanwhile() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for number in 10..40 {
        crm.create(&ana, named("Old", &format!("Name {number}"))).await;
    }
    // Where a new client stands depends on the order: before everything, or behind it.
    for (order_by, last_name, comes_last) in [
        ("create_time", "any", true),
        ("create_time desc", "any", false),
        ("last_name", "aaa", false),
        ("last_name desc", "zzz", false),
    ] {
        let ask = |page_token: &str, page_size| pb::ListClientsRequest {
            order_by: order_by.into(),
            page_token: page_token.into(),
            page_size,
            ..Default::default()
        };
        let mut expected = crm.list(&ana, ask("", 100)).await.clients;
        let first = crm.list(&ana, ask("", 4)).await;
        assert_eq!(first.clients, expected[..4]);
        // One that was seen, the last one that was seen, and one that was to come.
        for gone in [0, 3, 5] {
            crm.delete(&ana, expected[gone].id).await;
        }
        let new = crm.create(&ana, named("New", last_name)).await;
        expected.remove(5);
        expected.drain(..4);
        expected.extend(comes_last.then_some(new));
        let rest = crm.list(&ana, ask(&first.next_page_token, 100)).await;
        assert_eq!(rest.clients, expected, "{order_by}");
    }
}

/// Security checklist 43.
#[tokio::test]
async fn a_page_is_50_unless_asked_and_never_more_than_1000_and_skip_counts_pages() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("First", "")).await;
    crm.database
        .execute(
            "INSERT INTO crm.clients SELECT account_id, generate_series(2, 1100), first_name, last_name, name_key,
                 email, email_key, phone_number, status, country, currency, notes, labels,
                 create_time + interval '1 second', update_time, delete_time, version FROM crm.clients",
        )
        .await;
    let ask = |page_size, skip| {
        let request = pb::ListClientsRequest {
            page_size,
            skip,
            order_by: "create_time".into(),
            ..Default::default()
        };
        crm.list(&ana, request)
    };
    assert_eq!(ask(0, 0).await.clients.len(), 50);
    assert_eq!(ask(5000, 0).await.clients.len(), 1000);
    let second_page = ask(0, 50).await;
    assert_eq!((second_page.clients[0].id, second_page.clients.len()), (51, 50));
    assert_eq!(ask(0, 1099).await.clients.len(), 1);
    assert_eq!(ask(0, 10_000).await.clients.len(), 0);
}

#[tokio::test]
async fn a_page_of_very_large_clients_is_shorter_and_the_next_one_follows() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let large = pb::Client { notes: "密".repeat(10_000), ..named("Large", "") };
    for _ in 0..90 {
        crm.create(&ana, large.clone()).await;
    }
    let ask =
        |page_token| pb::ListClientsRequest { page_size: 1000, page_token, ..Default::default() };
    let (mut pages, mut seen, mut page_token) =
        (0, std::collections::BTreeSet::new(), String::new());
    loop {
        let page = crm.list(&ana, ask(page_token)).await;
        pages += 1;
        assert!(prost::Message::encoded_len(&page) < 3 << 20);
        seen.extend(page.clients.iter().map(|client| client.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (2, 90));
}

/// Security checklist 35 and 51.
#[tokio::test]
async fn a_page_token_is_good_for_one_account_and_one_query() {
    let crm = Crm::start().await;
    let ana = five(&crm).await;
    let bob = crm.sign_up("eve").await;
    let ask = |page_token: &str| pb::ListClientsRequest {
        page_size: 2,
        page_token: page_token.into(),
        ..Default::default()
    };
    let token = crm.list(&ana, ask("")).await.next_page_token;
    // The size of the page and its total are no part of the query.
    crm.list(&ana, pb::ListClientsRequest { page_size: 3, include_total: true, ..ask(&token) })
        .await;

    let forged = format!("{}A", &token[..token.len() - 1]);
    for (what, by, request) in [
        ("another account", &bob, ask(&token)),
        ("another filter", &ana, pb::ListClientsRequest { country: "FR".into(), ..ask(&token) }),
        ("another search", &ana, pb::ListClientsRequest { search: "a".into(), ..ask(&token) }),
        (
            "another order",
            &ana,
            pb::ListClientsRequest { order_by: "last_name".into(), ..ask(&token) },
        ),
        ("a forged one", &ana, ask(&forged)),
        ("nonsense", &ana, ask("nonsense")),
    ] {
        let refused = refusal(crm.clients().list_clients(signed(by, request)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"), "{what}");
        assert_eq!(refused.fields, ["page_token"], "{what}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_list_is_named_at_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let request = pb::ListClientsRequest {
        page_size: -1,
        page_token: "x".into(),
        skip: 10_001,
        order_by: "email; DROP TABLE crm.clients".into(),
        include_total: false,
        status: vec![1, 99],
        country: "XX".into(),
        search: "a b c d e f g h i".into(),
        ..Default::default()
    };
    let refused = refusal(crm.clients().list_clients(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        ["status", "country", "search", "order_by", "page_size", "skip", "page_token"]
    );
    let request = pb::ListClientsRequest { status: vec![1; 17], ..Default::default() };
    let refused = refusal(crm.clients().list_clients(signed(&ana, request)).await);
    assert_eq!(refused.fields, ["status"], "of five there are no seventeen");
    let request = pb::ListClientsRequest { status: vec![1; 16], ..Default::default() };
    crm.clients().list_clients(signed(&ana, request)).await.unwrap();
}
