//! An older application in the same database keeps its tables, byte for byte, and every lock on
//! them that it likes.

use service_kit::testing::cluster;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{
    services::{Services, settings},
    support::{run, run_with},
};

/// As its frameworks make them, and in part called as ours are.
const LEGACY: &str = "
    CREATE TABLE public.auth_user (id serial PRIMARY KEY, username varchar(150) NOT NULL UNIQUE,
        password varchar(128) NOT NULL, email varchar(254) NOT NULL, is_active boolean NOT NULL);
    CREATE TABLE public.authtoken_token (key varchar(40) PRIMARY KEY,
        created timestamptz NOT NULL DEFAULT now(),
        user_id int NOT NULL UNIQUE REFERENCES public.auth_user DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE public.accounts (id serial PRIMARY KEY, name varchar(255) NOT NULL);
    CREATE TABLE public.employees (id serial PRIMARY KEY, email varchar(254) NOT NULL UNIQUE,
        account_id int NOT NULL REFERENCES public.accounts ON DELETE CASCADE);
    CREATE TABLE public.employee_tokens (key varchar(40) PRIMARY KEY,
        user_id int NOT NULL REFERENCES public.employees ON DELETE CASCADE,
        created timestamptz NOT NULL DEFAULT now());
    CREATE TABLE public.token_blacklist_outstandingtoken (id bigserial PRIMARY KEY,
        token text NOT NULL, jti varchar(255) NOT NULL UNIQUE,
        user_id int REFERENCES public.auth_user ON DELETE SET NULL);
    CREATE TABLE public.token_blacklist_blacklistedtoken (id bigserial PRIMARY KEY,
        token_id bigint NOT NULL UNIQUE REFERENCES public.token_blacklist_outstandingtoken);
    INSERT INTO public.auth_user (username, password, email, is_active)
        SELECT 'user' || n, md5(n::text), 'user' || n || '@example.com', n % 3 > 0
        FROM generate_series(1, 500) n;
    INSERT INTO public.authtoken_token (key, user_id) SELECT md5(id::text) || '01234567', id FROM public.auth_user;
    INSERT INTO public.accounts (name) SELECT 'Account ' || n FROM generate_series(1, 50) n;
    INSERT INTO public.employees (email, account_id)
        SELECT 'employee' || n || '@example.com', n % 50 + 1 FROM generate_series(1, 500) n;
    INSERT INTO public.employee_tokens (key, user_id)
        SELECT md5(email) || '76543210', id FROM public.employees;
    INSERT INTO public.token_blacklist_outstandingtoken (token, jti, user_id)
        SELECT md5(id::text), md5(id::text), id FROM public.auth_user;
    INSERT INTO public.token_blacklist_blacklistedtoken (token_id)
        SELECT id FROM public.token_blacklist_outstandingtoken WHERE id % 5 = 0";

const TABLES: [&str; 7] = [
    "accounts",
    "auth_user",
    "authtoken_token",
    "employee_tokens",
    "employees",
    "token_blacklist_blacklistedtoken",
    "token_blacklist_outstandingtoken",
];

/// Every row with where it lies and which transaction wrote it, and everything that the catalogue
/// has about the tables, their sequences and their indexes.
async fn digest(connection: &mut PgConnection) -> Vec<String> {
    let mut digests = Vec::new();
    for table in TABLES {
        let rows = format!(
            "SELECT count(*) || ' ' || md5(string_agg(concat(t.ctid, t.xmin, t.xmax, t), '|' ORDER BY t.ctid))
             FROM public.{table} t"
        );
        digests.push(
            sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut *connection).await.unwrap(),
        );
    }
    for catalogue in [
        "SELECT md5(string_agg(concat(c.oid, c.xmin, c.relname, c.relowner, c.relfilenode, c.relacl, c.relrowsecurity), '|' ORDER BY c.oid))
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace",
        "SELECT md5(string_agg(concat(a.xmin, a.attrelid, a.attname, a.atttypid, a.attacl), '|' ORDER BY a.attrelid, a.attnum))
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace",
        "SELECT md5(string_agg(concat(k.oid, k.xmin, pg_get_constraintdef(k.oid)), '|' ORDER BY k.oid))
         FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace",
        "SELECT md5(string_agg(concat(t.oid, t.xmin, t.tgname, t.tgenabled), '|' ORDER BY t.oid))
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'public'::regnamespace",
        "SELECT concat(nspowner, nspacl) FROM pg_namespace WHERE nspname = 'public'",
    ] {
        digests.push(sqlx::query_scalar(catalogue).fetch_one(&mut *connection).await.unwrap());
    }
    digests
}

/// How many of the older application's tables, indexes and sequences somebody else has a lock on
/// or waits for.
const LOCKED_BY_OTHERS: &str =
    "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
     WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND c.relnamespace = 'public'::regnamespace AND l.pid <> pg_backend_pid()";

/// Requirement K1, security checklist 64.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_an_older_application_are_neither_changed_nor_locked() {
    let database = cluster::empty_database().await;
    let url = database.url.expose();
    let mut old = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(LEGACY).execute(&mut old).await.unwrap();
    let before = digest(&mut old).await;

    // Whoever needed any lock on any of them would wait for the end of this transaction.
    old.execute("BEGIN").await.unwrap();
    for table in TABLES {
        let lock = format!("LOCK TABLE public.{table} IN ACCESS EXCLUSIVE MODE");
        old.execute(AssertSqlSafe(lock)).await.unwrap();
    }
    let services = Services::on(url);
    services.migrate();
    let identity = services.start_identity();
    let crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("employee1").await.unwrap();
    caller.log_in("employee1").await.unwrap();
    caller.create("Zoë", "").await.unwrap();
    assert_eq!(caller.list().await.unwrap().len(), 1);
    for (service, own) in [("identity-service", &services.identity), ("crm-service", &services.crm)]
    {
        run(service, &["migrate", "--check"], &settings(own));
        run(service, &["doctor"], &settings(own));
    }
    let own = settings(&services.identity);
    let new = ["create-super-admin", "--email", "employee2@example.com", "--account-name", "Acme"];
    run_with("marmalade sandwich\n", "identity-service", &new, &own);
    let ended = run_with("", "identity-service", &["revoke-all", "--yes"], &own);
    assert_eq!(ended, "Tokens and sessions ended: 1.\n");
    let locked: i64 = sqlx::query_scalar(LOCKED_BY_OTHERS).fetch_one(&mut old).await.unwrap();
    assert_eq!(locked, 0);

    // And back again: what is ours goes, in one statement, under the same lock.
    drop((identity, crm));
    let mut owner = PgConnection::connect(url).await.unwrap();
    owner.execute("SET lock_timeout = '10s'").await.unwrap();
    owner.execute("DROP SCHEMA identity, crm CASCADE").await.unwrap();
    old.execute("COMMIT").await.unwrap();
    assert_eq!(digest(&mut old).await, before);

    // And the digest would have told.
    old.execute("UPDATE public.employees SET email = email WHERE id = 1").await.unwrap();
    assert_ne!(digest(&mut old).await, before);
}
