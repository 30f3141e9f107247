//! The rules of the house, held against the catalogue, the statements and the descriptor; and
//! for each a proof that it can fail.

use identity_service::{CONSTRAINTS, POLICY, SCHEMA};
use service_kit::{
    policy::{Rule, rule},
    testing::{
        TestDatabase,
        catalogue::Rules,
        contract,
        conventions::{self, connected_as, may_not},
        descriptor, http,
        plans::{self, Exceptions, Recorded},
        raw,
        refusal::Refusal,
    },
};
use tonic::Code;

use crate::support::Identity;

const EXCEPTIONS: Exceptions<'static> = Exceptions {
    across_accounts: &[
        // Look-ups that precede an account: by what a caller shows, in an index of its own.
        "WHERE email_key = $1 AND delete_time IS NULL",
        "FROM identity.feeds f",
        "FROM identity.sessions WHERE id = $1",
        "FROM identity.codes WHERE digest = $1",
        "FROM identity.invitations WHERE digest = $1",
        "FROM identity.letters WHERE due_time <= $1",
        // And those of an operator, who means everyone, or says an id.
        "FROM identity.accounts ORDER BY id",
        "FROM identity.employees WHERE id = $1 ORDER BY account_id",
        // Tables that belong to no account, and the drawing of a new one.
        "UPDATE identity.feeds",
        "identity.lease_givers",
        "address_requests",
        "public_answers",
        // What the owner fills in after a migration.
        "AS unfilled",
        "WITH filled AS",
        // Sweeps.
        "AS old",
        "identity.migrations",
        "nextval",
    ],
    // A token's digest.
    by_another_key: &[
        "WITH used AS",
        "DELETE FROM identity.employee_tokens WHERE account_id = $1 AND key = $2",
        // A session's id, which is unique by itself, and a code's digest.
        "FROM identity.sessions WHERE account_id = $1 AND id = $2",
        "UPDATE identity.sessions",
        "WHERE account_id = $1 AND employee_id = $2 AND digest = $3",
    ],
    not_ours: &[],
};

fn rules() -> Rules<'static> {
    Rules {
        schema: "identity",
        global_tables: &[
            "address_requests",
            "directory_events",
            "feeds",
            "lease_givers",
            "public_answers",
            "revocations",
        ],
        // What must be unique among all accounts: addresses, tokens.
        global_keys: &[
            "employees_email_unique",
            "employee_tokens_pkey",
            "employee_tokens_user_id_key",
            "revoked_tokens_pkey",
            "revoked_sessions_pkey",
            "sessions_id_unique",
            "api_keys_digest_unique",
            "codes_digest_unique",
            "invitations_digest_unique",
        ],
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

#[tokio::test]
async fn every_statement_keeps_to_one_account_and_uses_an_index_by_it() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    assert!(plans::recorded("identity", &[]).len() >= 12, "the statements are registered");
    let complaints = plans::complaints(&database, "identity", &EXCEPTIONS).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Rows enough for the planner to care which index it takes.
async fn populate(database: &TestDatabase) {
    database
        .execute(
            "INSERT INTO identity.accounts
             SELECT n, 'Acme', 'a@example.com', 'USD', now(), now() FROM generate_series(1, 20) n;
             INSERT INTO identity.employees
             SELECT a, a * 1000 + n, 'e', a || 'e' || n, 'n', '', '',
                 CASE WHEN n < 90 THEN 'employee' ELSE 'admin' END, '', '', true, NULL, false,
                 now() + n * interval '1 second', now()
             FROM generate_series(1, 20) a, generate_series(1, 100) n;
             INSERT INTO identity.employee_search_words
             SELECT account_id, email_key, id FROM identity.employees;
             INSERT INTO identity.company_roles
             SELECT a, a * 1000 + n, 'r', 'r' || n, '', now(), now()
             FROM generate_series(1, 20) a, generate_series(1, 20) n;
             INSERT INTO identity.employee_company_roles
             SELECT account_id, id, account_id * 1000 + 1 FROM identity.employees;
             INSERT INTO identity.sessions
             SELECT account_id, id, id, '', '', '', 0, now(), now(), now(), now()
             FROM identity.employees;
             INSERT INTO identity.revoked_sessions
             SELECT -id, account_id, now() FROM identity.employees;
             INSERT INTO identity.api_keys
             SELECT account_id, id, id::text::bytea, '', '{}', id, now(), now()
             FROM identity.employees;
             INSERT INTO identity.codes
             SELECT account_id, id, 'reset', id::text::bytea, '', NULL, now()
             FROM identity.employees;
             INSERT INTO identity.invitations
             SELECT account_id, id, '', email_key, 'employee', '', id::text::bytea, now(), now()
             FROM identity.employees;
             INSERT INTO identity.letters
             SELECT account_id, id, '', '', 0, now(), now() FROM identity.employees;
             INSERT INTO identity.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT account_id, now() + n * interval '1 second', 'employee:' || id, 'employee.update',
                 'employee', id, '', '', '{}' FROM identity.employees, generate_series(1, 5) n;
             INSERT INTO identity.employee_tokens SELECT id, account_id, id, now(), '' FROM identity.employees;
             INSERT INTO identity.revoked_tokens SELECT 'was ' || id, account_id, now() FROM identity.employees;
             INSERT INTO identity.answers
             SELECT account_id, 'employee', 'method', gen_random_uuid(), '', '', now() FROM identity.employees;
             ANALYZE",
        )
        .await;
}

#[tokio::test]
async fn a_statement_across_accounts_is_noticed() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut owner = database.owner.acquire().await.unwrap();
    for text in [
        "SELECT name FROM identity.employees WHERE id = $1",
        "SELECT e.name FROM identity.employees e JOIN identity.accounts a ON a.id = $1 WHERE e.email_key = $2",
        "SELECT name FROM identity.employees WHERE account_id > $1",
        "SELECT version FROM identity.employees WHERE account_id = $1 OR id = $2",
        "SELECT version FROM identity.employees WHERE account_id = (SELECT $1::bigint + 1)",
        "UPDATE identity.employees SET name = $1 WHERE account_id = account_id",
        "INSERT INTO identity.revoked_tokens (key) VALUES ($1)",
    ] {
        let statement = Recorded { text: text.to_owned(), place: "here".to_owned() };
        assert!(
            !plans::unbound_scans(&mut owner, "identity", &statement).await.is_empty(),
            "{text}"
        );
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

#[tokio::test]
async fn row_security_keeps_accounts_apart() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    conventions::row_security_keeps_accounts_apart(&database, &rules()).await;
}

/// Security checklist 28.
#[test]
fn every_method_has_one_row_of_policy_and_every_row_a_method() {
    conventions::every_method_has_one_row_of_policy_and_every_row_a_method("identity.v1", POLICY);
}

/// Who may call what.
const CONTRACT: &[contract::Line] = &[
    ("AuthService", "SignUp Login Logout IssueTokens RefreshTokens", "P"),
    ("AuthService", "ListSessions RevokeSession RevokeOtherSessions", "S"),
    ("AuthService", "RevokeAllSessions", "S, ad for those they may manage, su for the account"),
    ("AuthService", "GetMe UpdateMe ChangePassword ChangeEmail", "S"),
    ("AuthService", "RequestPasswordReset ResetPassword", "P"),
    ("AuthService", "RequestEmailVerification VerifyEmail", "P"),
    ("AuthService", "AcceptInvite", "P"),
    ("AccountService", "GetAccount ListAccounts", "A"),
    ("AccountService", "UpdateAccount", "su"),
    ("AccountService", "CloseAccount ReopenAccount", "su"),
    ("EmployeeService", "CreateEmployee", "ad [manage_employees]"),
    ("EmployeeService", "InviteEmployee ListInvitations RevokeInvitation", "ad [manage_employees]"),
    ("EmployeeService", "GetEmployee BatchGetEmployees ListEmployees", "A"),
    ("EmployeeService", "UpdateEmployee", "S for profile fields, ad"),
    ("EmployeeService", "DeleteEmployee UndeleteEmployee", "ad"),
    ("EmployeeService", "SendPasswordReset", "ad"),
    ("EmployeeService", "UpdatePermissions", "ad"),
    ("EmployeeService", "ListPermissions", "A"),
    ("RoleService", "CreateCompanyRole UpdateCompanyRole DeleteCompanyRole", "ad [manage_roles]"),
    ("RoleService", "GetCompanyRole ListCompanyRoles", "A"),
    ("RoleService", "AssignCompanyRole UnassignCompanyRole", "ad [manage_roles]"),
    ("RoleService", "ListSystemRoles", "A"),
    ("RoleService", "GrantSystemRole RevokeSystemRole", "su"),
    ("ApiKeyService", "CreateApiKey ListApiKeys RevokeApiKey", "su [manage_api_keys]"),
    ("AuditService", "ListAuditEvents", "su [view_audit]"),
    ("TokenService", "ValidateToken WatchRevocations", "svc"),
    ("DirectoryService", "BatchResolveEmployees WatchDirectory", "svc"),
];

/// Security checklist 28 and 29: the policy is what the matrix is generated from, and this is
/// what the policy is held against.
#[test]
fn the_policy_says_what_the_contract_says() {
    contract::the_policy_says_what_the_contract_says("identity.v1", CONTRACT, POLICY);
}

/// What changes nothing that `ValidateToken` tells of a credential that there is, or makes one;
/// where it ends another on the way, the call waits for that all the same.
const TAKES_NOTHING_BACK: &[&str] = &[
    "AcceptInvite",
    "ChangeEmail",
    "CreateApiKey",
    "CreateCompanyRole",
    "CreateEmployee",
    "InviteEmployee",
    "IssueTokens",
    "Login",
    "RefreshTokens",
    "RequestEmailVerification",
    "RequestPasswordReset",
    "RevokeInvitation",
    "SendPasswordReset",
    "SignUp",
    "UpdateMe",
    "VerifyEmail",
];

/// Methods that say the wrong thing about whether they take something back.
fn wrong_about_taking_back(policy: &[Rule]) -> Vec<&str> {
    let reads = ["Get", "List", "BatchGet", "BatchResolve", "Validate", "Watch"];
    let is_wrong = |rule: &&Rule| {
        let (_, name) = rule.method.rsplit_once('/').unwrap();
        let is_harmless =
            TAKES_NOTHING_BACK.contains(&name) || reads.iter().any(|read| name.starts_with(read));
        rule.takes_back == is_harmless
    };
    policy.iter().filter(is_wrong).map(|rule| rule.method).collect()
}

/// A new method that changes something takes it back until somebody says why it does not.
#[test]
fn every_method_that_can_take_something_back_says_so() {
    assert_eq!(wrong_about_taking_back(POLICY), Vec::<&str>::new());
    let names: Vec<_> = POLICY.iter().map(|rule| rule.method.rsplit_once('/').unwrap().1).collect();
    assert!(TAKES_NOTHING_BACK.iter().all(|name| names.contains(name)));

    let log_out = POLICY.iter().find(|rule| rule.method.ends_with("/Logout")).unwrap();
    let silent = [rule(log_out.method, log_out.access)];
    assert_eq!(wrong_about_taking_back(&silent), [log_out.method]);
}

/// Requirement R22, security checklist 28.
#[tokio::test]
async fn without_a_credential_a_short_list_is_served_and_everything_else_is_refused() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    let before = identity.digest().await;
    let mut open = Vec::new();
    for method in POLICY.iter().map(|rule| rule.method) {
        let answer = raw::call(&identity.channel, method, raw::request(Vec::new(), "")).await;
        let refused = Refusal::of(&answer.expect_err(method));
        match refused.said() {
            (Code::Unauthenticated, "SERVICE_CREDENTIAL_INVALID") => {}
            // Whoever logs out says of what.
            (Code::Unauthenticated, "TOKEN_MISSING") if !method.ends_with("/Logout") => {}
            _ => open.push(method.strip_prefix("/identity.v1.AuthService/").unwrap()),
        }
    }
    assert_eq!(
        open,
        [
            "AcceptInvite",
            "IssueTokens",
            "Login",
            "Logout",
            "RefreshTokens",
            "RequestEmailVerification",
            "RequestPasswordReset",
            "ResetPassword",
            "SignUp",
            "VerifyEmail",
        ]
    );
    assert_eq!(identity.digest().await, before);
    let keys = http::get(&identity.address.to_string(), "/.well-known/jwks.json").await;
    assert!(keys.starts_with("HTTP/1.1 200"), "{keys}");
}

#[test]
fn no_request_can_name_an_account() {
    let pool = descriptor::pool();
    let output_only = ["identity.v1.Employee.account_id"];
    let found = descriptor::ways_to_name_an_account(&pool, "identity.v1", POLICY, &output_only);
    assert_eq!(found, Vec::<String>::new());
    let found = descriptor::ways_to_name_an_account(&pool, "identity.v1", POLICY, &[]);
    assert_eq!(
        found,
        [
            "identity.v1.EmployeeService.CreateEmployee takes employee.account_id",
            "identity.v1.EmployeeService.UpdateEmployee takes employee.account_id",
            "identity.v1.AuthService.UpdateMe takes employee.account_id",
        ]
    );
}

/// Security checklist 37 and 61.
#[tokio::test]
async fn the_working_role_sees_nothing_without_an_account_and_can_undo_nothing() {
    let database = TestDatabase::new(&SCHEMA).await;
    database
        .execute(
            "INSERT INTO identity.accounts (name, email, default_currency, create_time, update_time)
             VALUES ('Acme', 'a@example.com', 'USD', now(), now())",
        )
        .await;
    let mut service = connected_as(&database, "identity_app").await;
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM identity.accounts")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let beyond_it = [
        "ALTER TABLE identity.accounts DISABLE ROW LEVEL SECURITY",
        "TRUNCATE identity.answers",
        "DROP TABLE identity.answers",
        "DELETE FROM identity.employees",
        "INSERT INTO identity.accounts (name, email, default_currency, create_time, update_time)
         VALUES ('x', 'x', 'x', now(), now())",
    ];
    may_not(&mut service, &beyond_it).await;
    let mut service = connected_as(&database, "identity_lookup").await;
    let beyond_it = [
        "UPDATE identity.employees SET is_active = true",
        "SELECT sealed FROM identity.employee_tokens",
    ];
    may_not(&mut service, &beyond_it).await;
}

#[tokio::test]
async fn a_service_refuses_to_start_as_a_role_that_could_read_everything() {
    let database = TestDatabase::new(&SCHEMA).await;
    // Roles belong to the whole server: a prefix keeps this out of the other tests.
    database.execute("CREATE ROLE wide_identity_app BYPASSRLS; CREATE ROLE wide_identity_lookup; GRANT wide_identity_app, wide_identity_lookup TO service").await;
    let mut settings = database.settings.clone();
    settings.pool.role_prefix = "wide_".into();
    let refused = service_kit::db::Db::connect(&settings, &SCHEMA).await.unwrap_err().to_string();
    assert!(refused.contains("bypasses row security"), "{refused}");
    settings.pool.role_prefix = "missing_".into();
    let refused = service_kit::db::Db::connect(&settings, &SCHEMA).await.unwrap_err().to_string();
    assert!(refused.contains("run the service's `migrate`"), "{refused}");
}

#[tokio::test]
async fn a_service_refuses_to_start_as_a_role_that_owns_what_it_works_on() {
    let database = TestDatabase::new(&SCHEMA).await;
    database.execute("CREATE ROLE owning_identity_app; CREATE ROLE owning_identity_lookup; CREATE ROLE owning_identity_sweep; GRANT owning_identity_app, owning_identity_lookup, owning_identity_sweep TO service").await;
    let mut settings = database.settings.clone();
    settings.pool.role_prefix = "owning_".into();
    service_kit::db::Db::connect(&settings, &SCHEMA).await.unwrap();
    for role in ["owning_identity_app", "owning_identity_lookup", "owning_identity_sweep"] {
        database.execute(&format!("ALTER TABLE identity.answers OWNER TO {role}")).await;
        let refused = service_kit::db::Db::connect(&settings, &SCHEMA).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.starts_with(&format!("The role {role} owns tables of")), "{refused}");
    }
}

#[test]
fn every_query_of_this_service_is_one_that_the_checks_see() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(plans::unregistered(&source), Vec::<String>::new());
}

/// They never change but for being ended, which they show: there is nothing to update, and no
/// update that could come too late.
const UNCHANGING: &[&str] = &["ApiKey", "AuditEvent", "Invitation", "Session"];
/// What is shown of a resource elsewhere, and no resource.
const PARTS: &[&str] = &["AssignedCompanyRole", "DirectoryAccount", "DirectoryEmployee"];

/// Resources that lack something that every one has: `Account lacks etag`.
fn incomplete_resources() -> Vec<String> {
    let pool = descriptor::pool();
    let messages = pool.all_messages().filter(|message| message.package_name() == "identity.v1");
    let resources = messages.filter(|message| {
        let is_part_of_a_call =
            ["Request", "Response"].iter().any(|end| message.name().ends_with(end));
        message.get_field_by_name("id").is_some()
            && !is_part_of_a_call
            && !PARTS.contains(&message.name())
    });
    let lacks = resources.flat_map(|message| {
        let name = message.name().to_owned();
        ["create_time", "update_time", "etag"]
            .into_iter()
            .filter(|field| message.get_field_by_name(field).is_none())
            .map(|field| format!("{name} lacks {field}"))
            .collect::<Vec<_>>()
    });
    let mut lacks: Vec<_> = lacks.collect();
    lacks.sort();
    lacks
}

#[test]
fn every_resource_that_changes_says_when_it_did() {
    let mut unexpected = incomplete_resources();
    unexpected.retain(|lack| !UNCHANGING.iter().any(|name| lack.starts_with(&format!("{name} "))));
    assert_eq!(unexpected, Vec::<String>::new());
    // And it can fail: each exception is one.
    for name in UNCHANGING {
        let etag = format!("{name} lacks etag");
        assert!(incomplete_resources().contains(&etag), "{name} is no exception");
    }
}
