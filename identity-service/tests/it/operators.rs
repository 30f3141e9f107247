//! What whoever runs the service does from a shell, as programs that are started and end.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use identity_service::SCHEMA;
use proto::identity::v1 as pb;
use service_kit::{
    config::DatabaseSettings,
    db::migrate,
    testing::{TestDatabase, cluster, refusal::Refusal},
};
use sqlx::{Connection, PgConnection};

use crate::{
    pooler,
    support::{Identity, PASSWORD, Person, bearing, login, signed},
};

/// How a command ended, and what it said.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str], database: &DatabaseSettings, input: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_identity-service"))
        .args(arguments)
        .env_clear()
        .env("IDENTITY_DATABASE_URL", database.url.expose())
        .env("DATABASE_ROLE_PREFIX", &database.pool.role_prefix)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that ends before it reads has all it needs.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Makes a super admin with the password of all tests.
fn create(arguments: &[&str], database: &DatabaseSettings) -> Ended {
    let arguments = [&["create-super-admin"], arguments].concat();
    run(&arguments, database, &format!("{PASSWORD}\n"))
}

/// Requirement T2: those of whoever signs an account up.
fn labels() -> [i32; 2] {
    [pb::SystemRole::Admin, pb::SystemRole::User].map(i32::from)
}

async fn count(database: &TestDatabase, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&database.owner).await.unwrap()
}

/// Why a token is refused, or nothing.
async fn refused(identity: &Identity, person: &Person) -> Option<String> {
    let answer = identity.auth().get_me(bearing(&person.token, pb::GetMeRequest {})).await;
    answer.err().map(|status| Refusal::of(&status).reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_super_admin_with_a_new_account_can_log_in() {
    let identity = Identity::start().await;
    let settings = &identity.database.settings;
    let made = create(
        &["--email", "Ada@Example.com", "--account-name", "Acme", "--default-currency", "EUR"],
        settings,
    );
    assert_eq!(made.code, 0, "{made:?}");
    let answer = identity.auth().login(login("ada@example.com", PASSWORD)).await.unwrap();
    let employee = answer.into_inner().employee.unwrap();
    assert!(employee.is_superuser && employee.name == "Ada" && employee.account_name == "Acme");
    assert_eq!(employee.system_roles, labels());
    assert_eq!(
        made.out,
        format!("employee_id: {}\naccount_id: {}\n", employee.id, employee.account_id)
    );
    let audit = "SELECT count(*) FROM identity.audit_events
         WHERE actor = 'system:create-super-admin' AND action IN ('account.create', 'employee.create')";
    assert_eq!(count(&identity.database, audit).await, 2);
    let told = "SELECT count(*) FROM identity.directory_events";
    assert_eq!(count(&identity.database, told).await, 2);
    // It is nowhere but as a hash.
    assert!(!identity.database.dump().await.contains(PASSWORD));
    assert!(!format!("{made:?}").contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_has_the_address_and_the_currency_that_are_given() {
    let identity = Identity::start().await;
    let settings = &identity.database.settings;
    let given = ["--account-email", "office@acme.example", "--default-currency", "EUR"];
    for (name, given, email, currency) in
        [("ada", &given[..], "office@acme.example", "EUR"), ("bo", &[], "bo@example.com", "USD")]
    {
        let address = format!("{name}@example.com");
        let who = ["--email", &address, "--account-name", "Acme"];
        let made = create(&[&who[..], given].concat(), settings);
        assert_eq!(made.code, 0, "{made:?}");
        let owner = identity.log_in(&address).await;
        let account = signed(&owner, pb::GetAccountRequest {});
        let account = identity.accounts().get_account(account).await.unwrap().into_inner();
        let account = account.account.unwrap();
        assert_eq!((account.id, account.email.as_str()), (owner.account_id, email));
        assert_eq!(account.settings.unwrap().default_currency, currency);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_super_admin_of_an_account_that_is_there_can_log_in() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("acme").await;
    let account_id = owner.account_id.to_string();
    let arguments = ["--email", "bo@example.com", "--name", "Bo", "--account-id", &account_id];
    let made = create(&arguments, &identity.database.settings);
    assert_eq!(made.code, 0, "{made:?}");
    let bo = identity.log_in("bo@example.com").await;
    assert_eq!(bo.account_id, owner.account_id);
    assert_eq!(identity.me(&bo.token).await.unwrap().system_roles, labels());
    let before = identity.digest().await;
    let again = create(&arguments, &identity.database.settings);
    assert_eq!((again.code, again.err.as_str()), (1, "This e-mail address is taken.\n"));
    assert_eq!(identity.digest().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sign_up_would_take_is_refused_in_sentences_and_makes_nothing() {
    let database = TestDatabase::new(&SCHEMA).await;
    let before = database.digest().await;
    let new = ["create-super-admin", "--email", "ada@example.com", "--account-name", "Acme"];
    let rule = |password: &str| run(&new, &database.settings, password);
    for (password, sentence) in [
        ("", "The password is required.\n"),
        ("short\n", "The password must be at least 8 characters.\n"),
        ("password1\n", "The password is one of the most common passwords: choose another.\n"),
        ("acme2026\n", "The password must not be made of a name that everybody knows here.\n"),
    ] {
        let ended = rule(password);
        assert_eq!((ended.code, ended.err.as_str()), (1, sentence), "{password}");
    }
    for (arguments, code, sentence) in [
        (vec!["--email", "ada", "--account-name", ""], 1, "--email must be an e-mail address"),
        (vec!["--email", "a@example.com", "--account-name", ""], 1, "--account-name is required."),
        (
            vec!["--email", "a@example.com", "--account-id", "7"],
            1,
            "No account has this --account-id.",
        ),
        (vec!["--email", "a@example.com"], 2, "--account-name"),
        (vec!["--account-name", "Acme"], 2, "--email"),
        (vec!["--email", "a@example.com", "--account-id", "7", "--account-name", "A"], 2, "cannot"),
        (
            vec!["--email", "a@example.com", "--account-id", "7", "--account-email", "b@c.de"],
            2,
            "--account-",
        ),
    ] {
        let ended = create(&arguments, &database.settings);
        assert!(ended.code == code && ended.err.contains(sentence), "{arguments:?}: {ended:?}");
    }
    assert_eq!(database.digest().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_never_an_argument_nor_a_setting() {
    let database = TestDatabase::new(&SCHEMA).await;
    let arguments = ["--email", "a@example.com", "--account-name", "A", "--password", PASSWORD];
    let ended = create(&arguments, &database.settings);
    assert!(ended.code == 2 && ended.err.contains("unexpected argument '--password'"), "{ended:?}");
    let help = run(&["create-super-admin", "--help"], &database.settings, "");
    assert!(help.code == 0 && help.out.contains("Asks for the password"), "{help:?}");
    assert!(!help.out.contains("--password"), "{help:?}");
}

/// At a terminal of its own, with a word for each question; returns what is seen there.
#[cfg(target_os = "linux")]
fn at_a_terminal(arguments: &str, database: &DatabaseSettings, words: &[&str]) -> Ended {
    // As part of util-linux it is wherever a shell is.
    let mut child = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            &format!("\"$PROGRAM\" {arguments}"),
            "/dev/null",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("SHELL", "/bin/sh")
        .env("PROGRAM", env!("CARGO_BIN_EXE_identity-service"))
        .env("IDENTITY_DATABASE_URL", database.url.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut byte) = (Vec::new(), [0]);
    for word in words {
        // Each question ends with a colon and a blank.
        let asked = seen.len();
        while !seen[asked..].ends_with(b": ") && screen.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0]);
        }
        // The question is printed just before the terminal shows nothing any more; nobody types
        // so fast.
        std::thread::sleep(std::time::Duration::from_millis(700));
        keyboard.write_all(format!("{word}\r").as_bytes()).unwrap();
    }
    screen.read_to_end(&mut seen).unwrap();
    drop(keyboard);
    let code = child.wait().unwrap().code().unwrap();
    Ended { code, out: String::from_utf8(seen).unwrap(), err: String::new() }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_the_password_is_asked_for_twice_and_not_seen() {
    let identity = Identity::start().await;
    let settings = &identity.database.settings;
    let new = "create-super-admin --email ada@example.com --account-name Acme";
    let before = identity.digest().await;
    let ended = at_a_terminal(new, settings, &[PASSWORD, "another horse battery"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("The two passwords are not the same: begin again."), "{ended:?}");
    assert_eq!(identity.digest().await, before);

    let ended = at_a_terminal(new, settings, &[PASSWORD, PASSWORD]);
    assert!(ended.code == 0 && ended.out.contains("employee_id: "), "{ended:?}");
    assert!(ended.out.contains("Password: ") && ended.out.contains("The same again: "));
    assert!(!ended.out.contains(PASSWORD), "{ended:?}");
    identity.log_in("ada@example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_it_is_for() {
    let database = TestDatabase::new(&SCHEMA).await;
    let before = database.digest().await;
    let help = |arguments: &[&str]| {
        let ended = run(&[arguments, &["--help"]].concat(), &database.settings, "");
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        ended.out
    };
    let all = help(&[]);
    for (command, says) in [
        ("serve", "Answer calls until told to stop"),
        ("migrate", "--check"),
        ("doctor", "Warnings end well; what is wrong ends with code 1"),
        ("create-super-admin", "--account-id"),
        ("revoke-all", "--yes"),
    ] {
        assert!(all.contains(command), "{all}");
        let own = help(&[command]);
        assert!(own.contains(says), "{own}");
        assert!(own.contains(&format!("Usage: identity-service {command}")), "{own}");
    }
    assert_eq!(database.digest().await, before);
}

/// Requirement B4.
#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_sessions_on_devices_too() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let (phone, of_bob) =
        (identity.open_session(&ana, "").await, identity.open_session(&bob, "").await);
    let settings = &identity.database.settings;
    let ended = run(&["revoke-all", "--email", &ana.email], settings, "");
    assert_eq!((ended.code, ended.out.as_str()), (0, "Tokens and sessions ended: 2.\n"));
    let refused = Refusal::of(&identity.me(&phone.access_token).await.unwrap_err());
    assert_eq!(refused.reason, "TOKEN_REVOKED");
    let refused = Refusal::of(&identity.refresh(&phone.refresh_token).await.unwrap_err());
    assert_eq!(refused.reason, "TOKEN_REVOKED");
    identity.refresh(&of_bob.refresh_token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_whom_it_names_and_nobody_else() {
    let identity = Identity::start().await;
    let settings = &identity.database.settings;
    let (acme, globex) = (identity.sign_up("acme").await, identity.sign_up("globex").await);
    let bo = identity.add(&acme, "bo", proto::common::v1::Role::Employee).await;
    let revoke = |arguments: &[&str]| {
        let ended = run(&[&["revoke-all"], arguments].concat(), settings, "");
        (ended.code, ended.out + &ended.err)
    };
    let (of_acme, of_globex) = (acme.account_id.to_string(), globex.account_id.to_string());

    let not_there = (1, "No employee has this --email.\n".to_owned());
    assert_eq!(revoke(&["--email", "bo@example.com", "--account-id", &of_globex]), not_there);
    assert_eq!(refused(&identity, &bo).await, None);

    let one = (0, "Tokens and sessions ended: 1.\n".to_owned());
    assert_eq!(revoke(&["--email", "BO@example.com"]), one);
    assert_eq!(refused(&identity, &bo).await.as_deref(), Some("TOKEN_REVOKED"));
    assert_eq!(refused(&identity, &acme).await, None);

    assert_eq!(revoke(&["--employee-id", &acme.id.to_string()]), one);
    assert_eq!(refused(&identity, &acme).await.as_deref(), Some("TOKEN_REVOKED"));

    let (acme, bo) = (identity.log_in(&acme.email).await, identity.log_in(&bo.email).await);
    let two = (0, "Tokens and sessions ended: 2.\n".to_owned());
    assert_eq!(revoke(&["--account-id", &of_acme]), two);
    for person in [&acme, &bo] {
        assert_eq!(refused(&identity, person).await.as_deref(), Some("TOKEN_REVOKED"));
    }
    assert_eq!(refused(&identity, &globex).await, None);

    let (code, said) = revoke(&[]);
    assert!(code == 2 && said.contains("--yes"), "{said}");
    assert_eq!(refused(&identity, &globex).await, None);
    let acme = identity.log_in(&acme.email).await;
    assert_eq!(revoke(&["--yes"]), two);
    for person in [&acme, &globex] {
        assert_eq!(refused(&identity, person).await.as_deref(), Some("TOKEN_REVOKED"));
    }

    let audit = "SELECT count(*) FROM identity.audit_events
         WHERE actor = 'system:revoke-all' AND action LIKE '%.revoke_all_sessions'";
    assert_eq!(count(&identity.database, audit).await, 5);
    let told = "SELECT count(*) FROM identity.revocations";
    assert_eq!(count(&identity.database, told).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn checking_says_what_migrating_would_do_and_does_nothing() {
    // A prefix of its own: roles belong to the whole server.
    let mut settings = cluster::empty_database().await;
    settings.pool.role_prefix = "checked_".into();
    let mut owner = PgConnection::connect(settings.url.expose()).await.unwrap();
    let check = || run(&["migrate", "--check"], &settings, "");

    let ended = check();
    let said: Vec<_> = ended.err.lines().collect();
    let first = "The migration 1 (accounts and employees) of the schema identity is not applied: run `migrate`.";
    assert_eq!((ended.code, said[0]), (1, first));
    let missing = "The role checked_identity_app is missing: run `migrate`.";
    assert!(said.contains(&missing), "{said:?}");
    assert_eq!(said.len(), SCHEMA.migrator.iter().count() + 3);
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'identity'";
    let schemas: i64 = sqlx::query_scalar(schema).fetch_one(&mut owner).await.unwrap();
    assert_eq!(schemas, 0, "nothing was written");

    let migrated = run(&["migrate"], &settings, "");
    assert_eq!(migrated.code, 0, "{migrated:?}");
    let ended = check();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out.trim_end(), "There is nothing to do: the schema identity is up to date.");

    sqlx::raw_sql(
        "UPDATE identity.migrations SET checksum = '' WHERE version = 1;
         DELETE FROM identity.migrations WHERE version = 2",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let ended = check();
    let said: Vec<_> = ended.err.lines().collect();
    assert!(ended.code == 1 && said.len() == 2, "{said:?}");
    assert!(said[0].contains("1 (accounts and employees)") && said[0].contains("another form"));
    assert!(said[1].contains("2 (answers)") && said[1].contains("not applied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_in_a_healthy_database_and_changes_nothing() {
    let identity = Identity::start().await;
    identity.sign_up("acme").await;
    let before = identity.digest().await;
    let ended = run(&["doctor"], &identity.database.settings, "");
    assert_eq!((ended.code, ended.out.as_str()), (0, "Nothing is wrong.\n"), "{ended:?}");
    assert_eq!(identity.digest().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_tokens_of_another_application_and_ends_well() {
    let database = TestDatabase::new(&SCHEMA).await;
    database
        .execute(
            "CREATE TABLE public.auth_user (id int PRIMARY KEY);
             CREATE TABLE public.authtoken_token (key varchar(40) PRIMARY KEY,
                 user_id int CONSTRAINT authtoken_user_fk REFERENCES public.auth_user);
             CREATE TABLE public.token_blacklist_outstandingtoken (id int PRIMARY KEY,
                 user_id int CONSTRAINT outstanding_user_fk REFERENCES public.auth_user);
             CREATE TABLE public.token_blacklist_blacklistedtoken (id int PRIMARY KEY,
                 token_id int REFERENCES public.token_blacklist_outstandingtoken)",
        )
        .await;
    let ended = run(&["doctor"], &database.settings, "");
    let found: Vec<_> = ended.out.lines().collect();
    assert_eq!((ended.code, found.len()), (0, 2), "{ended:?}");
    for (table, key) in [
        ("authtoken_token", "authtoken_user_fk"),
        ("token_blacklist_outstandingtoken", "outstanding_user_fk"),
    ] {
        let named = format!(
            "warning: The table public.{table} has the foreign key {key} to public.auth_user, not to identity.employees"
        );
        assert!(found.iter().any(|line| line.starts_with(&named)), "{found:#?}");
    }
}

const FAULTS: &[(&str, &str)] = &[
    ("DELETE FROM identity.migrations WHERE version = 2", "The migration 2 (answers)"),
    (
        "ALTER TABLE identity.employee_tokens DROP CONSTRAINT employee_tokens_user_fkey",
        "The constraint employee_tokens_user_fkey of identity is gone",
    ),
    (
        "ALTER TABLE identity.employee_tokens DROP CONSTRAINT employee_tokens_user_fkey;
         INSERT INTO identity.employee_tokens VALUES ('a', 1, 1, now(), '')",
        "employee is missing, 1 of identity.employee_tokens",
    ),
    (
        "ALTER TABLE identity.sessions DROP CONSTRAINT sessions_employee_fkey;
         INSERT INTO identity.sessions (account_id, employee_id, device_label, network, nonce,
             create_time, last_seen_time, idle_time, expire_time)
         VALUES (1, 1, '', '', '', now(), now(), now(), now())",
        "employee is missing, 1 of identity.sessions",
    ),
    (
        "ALTER TABLE identity.api_keys DROP CONSTRAINT api_keys_creator_fkey;
         INSERT INTO identity.api_keys
             (account_id, digest, name, permissions, creator_id, create_time, expire_time)
         VALUES (1, '', '', '{}', 1, now(), now())",
        "employee is missing, 1 of identity.api_keys",
    ),
    (
        "CREATE TABLE public.users (id bigint PRIMARY KEY);
         ALTER TABLE identity.employee_tokens ADD CONSTRAINT elsewhere
             FOREIGN KEY (user_id) REFERENCES public.users (id)",
        "identity.employee_tokens has the foreign key elsewhere to public.users",
    ),
    ("ALTER TABLE identity.answers ADD CHECK (true)", "is none of ours"),
    ("DROP INDEX identity.answers_by_age", "The index identity.answers_by_age is gone"),
    ("DROP TABLE identity.answers", "The table identity.answers is gone"),
    (
        "ALTER TABLE identity.answers DISABLE ROW LEVEL SECURITY",
        "Row security is off in identity.answers",
    ),
    ("DROP POLICY tenant ON identity.answers", "The policy tenant of identity.answers is gone"),
    ("ALTER POLICY tenant ON identity.answers USING (true)", "does not keep to one account"),
    (
        "CREATE POLICY open ON identity.answers FOR SELECT TO identity_app USING (true)",
        "The policy open of identity.answers is not as we make ours",
    ),
    (
        "REVOKE SELECT ON identity.answers FROM identity_app",
        "The role identity_app lacks SELECT on",
    ),
    (
        "GRANT SELECT (sealed) ON identity.employee_tokens TO identity_lookup",
        "identity_lookup has SELECT (sealed) on identity.employee_tokens",
    ),
    (
        "GRANT SELECT ON identity.answers TO PUBLIC",
        "The role PUBLIC has SELECT on identity.answers",
    ),
    (
        "REVOKE ALL ON SEQUENCE identity.accounts_id_seq FROM identity_app",
        "lacks USAGE on identity.accounts_id_seq",
    ),
    (
        "REVOKE USAGE ON SCHEMA identity FROM identity_sweep",
        "identity_sweep lacks USAGE on the schema",
    ),
    ("ALTER TABLE identity.answers OWNER TO identity_app", "The role identity_app owns tables"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_every_fault_by_itself() {
    for (fault, sentence) in FAULTS {
        let database = TestDatabase::new(&SCHEMA).await;
        database.execute(fault).await;
        let ended = run(&["doctor"], &database.settings, "");
        let found =
            ended.out.lines().any(|line| line.starts_with("wrong: ") && line.contains(sentence));
        assert!(ended.code == 1 && found, "{fault}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_roles_and_logins_that_are_too_wide() {
    let mut settings = cluster::empty_database().await;
    settings.pool.role_prefix = "examined_".into();
    let ended = run(&["doctor"], &settings, "");
    assert!(ended.code == 1 && ended.out.contains("run `migrate`"), "{ended:?}");
    migrate(&settings, &SCHEMA).await.unwrap();
    let ended = run(&["doctor"], &settings, "");
    assert_eq!((ended.code, ended.out.lines().count()), (0, 1), "{ended:?}");
    assert!(ended.out.starts_with("warning: The login ") && ended.out.contains("superuser"));

    let mut owner = PgConnection::connect(settings.url.expose()).await.unwrap();
    let widen = "ALTER ROLE examined_identity_app BYPASSRLS";
    sqlx::raw_sql(widen).execute(&mut owner).await.unwrap();
    let ended = run(&["doctor"], &settings, "");
    let wide = "wrong: The role examined_identity_app bypasses row security";
    assert!(ended.code == 1 && ended.out.contains(wide), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_notices_a_pooler_that_shares_connections() {
    let database = TestDatabase::new(&SCHEMA).await;
    for (shares, code) in [(false, 0), (true, 1)] {
        let mut settings = database.settings.clone();
        settings.url = pooler::before(&settings.url, shares).await;
        let ended = tokio::task::spawn_blocking(move || run(&["doctor"], &settings, ""));
        let ended = ended.await.unwrap();
        assert_eq!(
            (ended.code, ended.out.contains("set it to session pooling")),
            (code, shares),
            "{ended:?}"
        );
    }
}
