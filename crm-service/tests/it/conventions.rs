//! The rules of the house, held against the catalogue, the statements and the descriptor; and
//! for each a proof that it can fail.

use crm_service::{CONSTRAINTS, POLICY, SCHEMA};
use service_kit::testing::{
    TestDatabase,
    catalogue::Rules,
    contract,
    conventions::{self, connected_as, may_not},
    descriptor,
    plans::{self, Exceptions, Recorded},
};

const EXCEPTIONS: Exceptions<'static> = Exceptions {
    // The last: sweeps, whom identity-service told of, and where there is news for who watches.
    across_accounts: &[
        "crm.migrations",
        "crm.directory_cursor",
        "AS old",
        "crm.employees AS met",
        "crm.accounts AS untold",
        "crm.client_feeds AS news",
        // Whose address Stripe calls.
        "FROM crm.stripe_addresses WHERE address = $1",
        // For whom charges wait.
        "FROM crm.stripe_backlogs AS waiting",
    ],
    by_another_key: &["DELETE FROM crm.stripe_addresses"],
    // Public calls are identity's.
    not_ours: &["public_answers"],
};

fn rules() -> Rules<'static> {
    Rules {
        schema: "crm",
        // How far the directory was read, of all accounts.
        global_tables: &["directory_cursor"],
        // Stripe calls an address before it is known whose it is.
        global_keys: &["stripe_addresses_pkey"],
        constraints: CONSTRAINTS,
    }
}

#[tokio::test]
async fn the_schema_keeps_the_rules() {
    conventions::the_schema_keeps_the_rules(&SCHEMA, &rules()).await;
}

#[tokio::test]
async fn a_broken_schema_breaks_every_rule_there_is() {
    conventions::a_broken_schema_breaks_every_rule_there_is(&SCHEMA, &rules()).await;
}

/// Security checklist 37 and 51.
#[tokio::test]
async fn every_statement_keeps_to_one_account_and_uses_an_index_by_it() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    assert!(plans::recorded("crm", &[]).len() >= 170, "the statements are registered");
    let complaints = plans::complaints(&database, "crm", &EXCEPTIONS).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Rows enough for the planner to care which index it takes.
async fn populate(database: &TestDatabase) {
    database
        .execute(
            "INSERT INTO crm.accounts SELECT generate_series(1, 20);
             INSERT INTO crm.employees
             SELECT a, a * 100 + n, 'Name', 'active', 'epoch', n
             FROM generate_series(1, 20) a, generate_series(1, 10) n;
             INSERT INTO crm.clients
             SELECT a, a * 1000 + n, 'First', 'Last', 'last' || n, '', NULL, '', 'active', 'NL', 'EUR', '', '{}',
                 now() + n * interval '1 second', now(), NULL, 1,
                 a * 100 + 1 + n % 10, a * 100 + 1 + n % 7, nullif(a * 100 + n % 3, a * 100)
             FROM generate_series(1, 20) a, generate_series(1, 200) n;
             INSERT INTO crm.client_members
             SELECT account_id, coach_id, id, true, false, false, create_time, name_key, true
             FROM crm.clients;
             INSERT INTO crm.client_counts
             SELECT account_id, n, 'active', 1 FROM crm.clients, generate_series(0, 20) n
             GROUP BY account_id, n;
             INSERT INTO crm.client_feeds SELECT id, 200 FROM crm.accounts;
             INSERT INTO crm.client_changes
             SELECT account_id, id, id, now() + id * interval '1 second', '{}' FROM crm.clients;
             INSERT INTO crm.client_imports
             SELECT account_id, 'employee:' || id, gen_random_uuid(), '', 1, create_time
             FROM crm.clients;
             INSERT INTO crm.packages
             SELECT account_id, id, 'Name', name_key, '', NULL, NULL, create_time, now()
             FROM crm.clients;
             INSERT INTO crm.client_packages
             SELECT account_id, id, id, account_id * 1000 + 1 + id % 20, 'EUR', 1000, NULL,
                 (ARRAY['PIF', 'Monthly', 'Quarterly', 'Yearly'])[1 + id % 4],
                 '2025-01-31', (ARRAY['active', 'inactive'])[1 + id % 2], create_time, now()
             FROM crm.clients;
             INSERT INTO crm.instalments
                 (account_id, id, client_id, client_package_id, instalment_number, currency, amount,
                  allocated, schedule_date, state, create_time, update_time)
             SELECT account_id, id, id, id, 1, 'EUR', 1000, 500 * (id % 3),
                 date '2025-01-31' + (id % 200)::int, (ARRAY['open', 'failed', 'closed'])[1 + id % 3],
                 create_time, now()
             FROM crm.clients;
             INSERT INTO crm.payments
                 (account_id, id, client_id, currency, amount, refunded, has_failed, paid_at,
                  external_reference, notes, stripe_charge_id, create_time, update_time)
             SELECT account_id, id, id, (ARRAY['EUR', 'USD'])[1 + id % 2], 1000,
                 CASE WHEN id % 4 = 1 THEN 1000 ELSE 0 END, id % 4 = 2, create_time, '', '',
                 nullif('ch_' || id, 'ch_' || id * (id % 2)), create_time, now()
             FROM crm.clients;
             INSERT INTO crm.payment_events (account_id, payment_id, kind, amount, reason, time)
             SELECT account_id, id, 'paid', 1000, '', now() FROM crm.clients;
             INSERT INTO crm.allocation_entries
                 (account_id, client_id, currency, payment_id, instalment_id, amount, reason, time)
             SELECT account_id, id, 'EUR', id, id, 500, 'allocated', now()
             FROM crm.payments WHERE currency = 'EUR';
             INSERT INTO crm.payment_totals
             SELECT account_id, currency, status, slot, 1, 1, 0
             FROM (SELECT DISTINCT account_id, currency, status FROM crm.payments) t,
                 generate_series(0, 15) slot;
             INSERT INTO crm.client_payment_totals
             SELECT account_id, client_id, currency, status, 1, 1, 0 FROM crm.payments;
             INSERT INTO crm.stripe_customers
                 (account_id, id, client_id, stripe_customer_id, status, create_time, update_time)
             SELECT account_id, id, id, 'cus_' || id, (ARRAY['active', 'inactive'])[1 + id % 2],
                 create_time, now()
             FROM crm.clients;
             INSERT INTO crm.stripe_endpoints
                 (account_id, id, address, description, auto_allocate, create_time, update_time)
             SELECT account_id, id, 'address-' || id, '', true, create_time, now() FROM crm.clients;
             INSERT INTO crm.stripe_addresses SELECT address, account_id, id FROM crm.stripe_endpoints;
             INSERT INTO crm.stripe_events
             SELECT account_id, id, 'evt_' || id, id, 'charge.succeeded', 'ch_' || id, 'cus_' || id,
                 create_time, create_time, '{}', (ARRAY['applied', 'ignored', 'parked'])[1 + id % 3]
             FROM crm.clients;
             INSERT INTO crm.stripe_backlogs
             SELECT account_id, 'cus_' || id, create_time FROM crm.clients;
             INSERT INTO crm.client_search_words SELECT account_id, name_key, id FROM crm.clients;
             INSERT INTO crm.answers
             SELECT account_id, 'employee', 'method', gen_random_uuid(), '', '', now() FROM crm.clients;
             INSERT INTO crm.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT account_id, now(), 'employee:1', 'client.update', 'client', id, '', '', '{}'
             FROM crm.clients;
             ANALYZE",
        )
        .await;
}

#[tokio::test]
async fn a_statement_across_accounts_is_noticed() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut owner = database.owner.acquire().await.unwrap();
    for text in [
        "SELECT first_name FROM crm.clients WHERE id = $1",
        "SELECT c.id FROM crm.clients c JOIN crm.client_search_words w ON w.client_id = c.id WHERE c.account_id = $1",
        "SELECT first_name FROM crm.clients WHERE account_id > $1",
        "SELECT version FROM crm.clients WHERE account_id = $1 OR id = $2",
        "SELECT version FROM crm.clients WHERE account_id = (SELECT $1::bigint + 1)",
        "UPDATE crm.clients SET first_name = $1 WHERE account_id = account_id",
        "INSERT INTO crm.client_search_words (word) VALUES ($1)",
    ] {
        let statement = Recorded { text: text.to_owned(), place: "here".to_owned() };
        assert!(!plans::unbound_scans(&mut owner, "crm", &statement).await.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn a_statement_without_an_index_is_noticed() {
    conventions::a_statement_without_an_index_is_noticed(&SCHEMA).await;
}

#[tokio::test]
async fn an_exception_to_nothing_is_noticed() {
    conventions::an_exception_to_nothing_is_noticed(&SCHEMA, &EXCEPTIONS).await;
}

/// Security checklist 37.
#[tokio::test]
async fn no_account_stays_on_a_connection() {
    conventions::no_account_stays_on_a_connection(&SCHEMA).await;
}

/// Security checklist 37.
#[tokio::test]
async fn row_security_keeps_accounts_apart() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    conventions::row_security_keeps_accounts_apart(&database, &rules()).await;
}

/// Security checklist 28.
#[test]
fn every_method_has_one_row_of_policy_and_every_row_a_method() {
    conventions::every_method_has_one_row_of_policy_and_every_row_a_method("crm.v1", POLICY);
}

/// Who may call what.
#[rustfmt::skip]
const CONTRACT: &[contract::Line] = &[
    ("ClientService", "CreateClient UpdateClient DeleteClient UndeleteClient", "ad [manage_all_clients]"),
    ("ClientService", "GetClient BatchGetClients ListClients", "A (visibility setting)"),
    ("ClientService", "ListMyClients GetClientStatistics WatchClients", "A"),
    ("ClientService", "ImportClients BatchImportClients", "ad [import_data]"),
    ("ClientService", "ExportClients", "ad [export_data]"),
    ("PackageService", "CreatePackage UpdatePackage DeletePackage UndeletePackage", "ad [manage_packages]"),
    ("PackageService", "GetPackage ListPackages", "A"),
    ("ClientPackageService", "CreateClientPackage UpdateClientPackage CancelClientPackage", "ad [manage_client_packages]"),
    ("ClientPackageService", "PreviewInstalments GenerateInstalments", "ad [manage_client_packages]"),
    ("ClientPackageService", "GetClientPackage ListClientPackages", "A"),
    ("InstalmentService", "CreateInstalment UpdateInstalment CloseInstalment", "ad [manage_instalments]"),
    ("InstalmentService", "GetInstalment ListInstalments", "A"),
    ("PaymentService", "CreatePayment AllocatePayment UpdatePayment VoidPayment", "ad [manage_payments]"),
    ("PaymentService", "RefundPayment DisputePayment ResolveDispute MarkPaymentFailed", "ad [refund_payments]"),
    ("PaymentService", "GetPayment ListPayments", "A (visibility)"),
    ("PaymentService", "GetPaymentStatistics", "A"),
    ("StripeCustomerService", "CreateStripeCustomer UpdateStripeCustomer DeleteStripeCustomer", "ad [manage_stripe]"),
    ("StripeCustomerService", "GetStripeCustomer ListStripeCustomers", "A"),
    ("StripeEndpointService", "CreateStripeEndpoint ListStripeEndpoints DeleteStripeEndpoint", "su [manage_stripe_endpoints]"),
    ("StripeEndpointService", "RotateStripeEndpointSecret ListParkedEvents", "su [manage_stripe_endpoints]"),
    ("ReportService", "GetRevenueSeries GetReceivables GetTeamPerformance", "ad [view_statistics]"),
    ("AuditService", "ListAuditEvents", "su [view_audit]"),
];

/// Security checklist 28 and 29.
#[test]
fn the_policy_says_what_the_contract_says() {
    contract::the_policy_says_what_the_contract_says("crm.v1", CONTRACT, POLICY);
}

/// Security checklist 35.
#[test]
fn no_request_can_name_an_account() {
    let pool = descriptor::pool();
    let found = descriptor::ways_to_name_an_account(&pool, "crm.v1", POLICY, &[]);
    assert_eq!(found, Vec::<String>::new());
}

/// The words of a search are found by the index under row security, and not by a filter.
#[tokio::test]
async fn a_search_by_prefix_is_a_range_of_the_index_under_row_security() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    let mut service = connected_as(&database, "crm_app").await;
    let searches: Vec<_> = plans::recorded("crm", &[])
        .into_iter()
        .filter(|statement| statement.text.contains("word >= "))
        // An employee's clients may be few: their words are looked up instead.
        .filter(|statement| !statement.text.contains("client_members"))
        .filter(|statement| {
            !["coach", "closer", "setter"]
                .iter()
                .any(|part| statement.text.contains(&format!(" AND {part}_id = ")))
        })
        .collect();
    assert!(!searches.is_empty());
    for search in searches {
        let plan = plans::explain(&mut service, "crm", &search.text).await;
        let mut ranges = 0;
        plans::each_scan(&plan, &mut |scan| {
            if scan["Relation Name"] == "client_search_words" {
                let condition = plans::conditions(scan, &["Index Cond", "Recheck Cond"]);
                ranges +=
                    usize::from(condition.contains("word >= $") && condition.contains("word < $"));
            }
        });
        // Further words may be looked up for the clients that the first one found.
        assert!(ranges > 0, "{}", search.text);
    }
}

/// Security checklist 37 and 61.
#[tokio::test]
async fn the_working_role_sees_nothing_without_an_account_and_can_undo_nothing() {
    let database = TestDatabase::new(&SCHEMA).await;
    database.execute("INSERT INTO crm.accounts (id) VALUES (7)").await;
    let mut service = connected_as(&database, "crm_app").await;
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.accounts")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let beyond_it = [
        "ALTER TABLE crm.accounts DISABLE ROW LEVEL SECURITY",
        "TRUNCATE crm.answers",
        "DROP TABLE crm.answers",
        "DELETE FROM crm.clients",
        "INSERT INTO crm.accounts (id) VALUES (8)",
    ];
    may_not(&mut service, &beyond_it).await;
    let mut service = connected_as(&database, "crm_lookup").await;
    let beyond_it =
        ["UPDATE crm.clients SET status = 'active'", "SELECT first_name FROM crm.clients"];
    may_not(&mut service, &beyond_it).await;
}

/// Security checklist 51.
#[test]
fn every_query_of_this_service_is_one_that_the_checks_see() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(plans::unregistered(&source), Vec::<String>::new());
}

/// An account comes from a caller, or from a row: only what identity tells may name another.
#[test]
fn only_the_directory_begins_in_an_account_that_was_named() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let places = plans::files_with(&source, "begin_named(");
    let names: Vec<_> = places.iter().map(|place| place.strip_prefix(&source).unwrap()).collect();
    assert!(!names.is_empty());
    assert!(names.iter().all(|name| name.starts_with("directory")), "{names:?}");
}
