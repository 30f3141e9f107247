//! Coming from an earlier release.

use identity_service::SCHEMA;
use proto::identity::v1::{self as pb, SystemRole};
use service_kit::{
    db::{Schema, migrate},
    keys::Keyring,
    testing::{TestDatabase, cluster},
};
use sqlx::migrate::Migrator;

use crate::support::{Identity, Person, signed};

/// The schema as it was up to a migration.
fn as_of(version: i64) -> Schema {
    let applied = SCHEMA.migrator.iter().filter(|migration| migration.version <= version);
    Schema {
        migrator: Migrator::with_migrations(applied.cloned().collect()),
        grants: "GRANT USAGE ON SCHEMA identity TO {app}",
        fill: None,
        ..*SCHEMA
    }
}

impl Identity {
    /// The names of those who are found.
    async fn found(&self, by: &Person, search: &str, order_by: &str) -> Vec<String> {
        let request = pb::ListEmployeesRequest {
            search: search.to_owned(),
            order_by: order_by.to_owned(),
            ..Default::default()
        };
        let found = self.employees().list_employees(signed(by, request)).await.unwrap();
        found.into_inner().employees.into_iter().map(|employee| employee.name).collect()
    }
}

/// In the first release nobody was searched for, and there were no system roles.
#[tokio::test]
async fn who_was_there_in_the_first_release_is_found_and_has_what_one_has_today() {
    let settings = cluster::empty_database().await;
    migrate(&settings, &as_of(2)).await.unwrap();
    let database = TestDatabase::at(settings.clone(), &SCHEMA).await;
    let other = Identity::start().await;
    other.sign_up("other").await;
    let hash = "SELECT password_hash FROM identity.employees";
    let [(hash,)] = other.rows::<(String,)>(hash).await.try_into().unwrap();
    // More than a batch beside those who are looked at.
    database
        .execute(&format!(
            "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
             SELECT n, 'Acme', 'a@example.com', 'USD', now(), now() FROM generate_series(1, 2) n;
             INSERT INTO identity.employees (account_id, id, email, email_key, name, first_name, last_name,
                 role, job_role, phone_number, is_active, password_hash, password_change_advised,
                 create_time, update_time)
             SELECT 1 + n % 2, n, email, lower(email), name, '', last_name, role, '', '', true, '{hash}', false,
                 now() - interval '1 hour' + n * interval '1 second', now()
             FROM (VALUES (2, 'Zoe@example.com', 'Zoë', 'Łukasz', 'super_admin'),
                          (4, 'ben@example.com', 'ben', '', 'super_admin'),
                          (6, 'Ada@example.com', 'Ада', 'Lovelace', 'employee'),
                          (7, 'elsewhere@example.com', 'Zoë', '', 'admin'))
                 AS people (n, email, name, last_name, role)
             UNION ALL
             SELECT 2, n, 'x' || n || '@example.com', 'x' || n || '@example.com', 'X', '', '', 'employee',
                 '', '', true, NULL, false, now(), now() FROM generate_series(101, 1300) n"
        ))
        .await;
    migrate(&settings, &SCHEMA).await.unwrap();

    let identity = Identity::on(database, Keyring::generate(), |_| {}).await;
    let zoe = identity.log_in("zoe@example.com").await;
    assert_eq!(identity.found(&zoe, "zoe luk", "").await, ["Zoë"]);
    assert_eq!(identity.found(&zoe, "ada@", "").await, ["Ада"]);
    assert_eq!(identity.found(&zoe, "", "name").await, ["ben", "Zoë", "Ада"]);
    assert_eq!(identity.found(&zoe, "ada example.com", "").await, ["Ада"]);
    let all =
        "SELECT count(*) FROM identity.employee_search_words WHERE word LIKE 'x%@example.com'";
    assert_eq!(identity.rows::<(i64,)>(all).await, [(1200,)]);
    let roles = async |id| identity.seen(&zoe, id).await.unwrap().system_roles;
    let [admin, user]: [i32; 2] = [SystemRole::Admin, SystemRole::User].map(Into::into);
    assert_eq!(roles(zoe.id).await, [admin, user], "she signed the company up");
    for id in [4, 6] {
        assert_eq!(roles(id).await, [user]);
    }

    // Done once, it is not done again, nor to anybody who came later.
    let before = identity.digest().await;
    migrate(&settings, &SCHEMA).await.unwrap();
    assert_eq!(identity.digest().await, before);
}

/// Before addresses had their domains among their words.
#[tokio::test]
async fn whoever_had_words_before_is_found_by_the_domain() {
    let settings = cluster::empty_database().await;
    migrate(&settings, &as_of(9)).await.unwrap();
    let database = TestDatabase::at(settings.clone(), &SCHEMA).await;
    database
        .execute(
            "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
             VALUES (1, 'Acme', 'a@example.com', 'USD', now(), now());
             INSERT INTO identity.employees (account_id, id, email, email_key, name, first_name, last_name,
                 name_key, role, job_role, phone_number, is_active, password_change_advised,
                 create_time, update_time)
             VALUES (1, 2, 'zoe@star-fleet.example.org', 'zoe@star-fleet.example.org', 'Zoe', '', '',
                 'zoe', 'employee', '', '', true, false, now(), now());
             INSERT INTO identity.employee_search_words (account_id, employee_id, word)
             SELECT 1, 2, unnest(ARRAY['zoe', 'star', 'fleet', 'example', 'org', 'zoe@star-fleet.example.org'])",
        )
        .await;
    migrate(&settings, &SCHEMA).await.unwrap();
    let words = "SELECT word FROM identity.employee_search_words ORDER BY word COLLATE \"C\"";
    let words: Vec<(String,)> = sqlx::query_as(words).fetch_all(&database.owner).await.unwrap();
    let words: Vec<_> = words.iter().map(|(word,)| word.as_str()).collect();
    let expected = service_kit::fields::search_words("Zoe zoe@star-fleet.example.org");
    assert_eq!(words, expected.iter().collect::<Vec<_>>());
}
