//! One URL is enough, also that of an owner who is no superuser, as hosted databases have them.

use service_kit::{keys::Keyring, testing::cluster};

use crate::support::{Program, run};

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_make_roles_can_migrate_twice_and_serve() {
    let database = cluster::empty_database().await;
    let url = cluster::owned_by_a_role_maker(&database, "role_maker").await;
    let keys = Keyring::generate();
    let secret = "a-secret-among-services";
    // A prefix keeps the roles of this test out of the others'; capitals need quotes.
    let shared = [("DATABASE_URL", url.expose()), ("DATABASE_ROLE_PREFIX", "Prod_")];
    let identity = [
        ("IDENTITY_KEYS", keys.as_str()),
        ("IDENTITY_SERVICE_SECRETS", secret),
        ("IDENTITY_LISTEN", "127.0.0.1:0"),
        ("IDENTITY_ADMIN_LISTEN", "off"),
    ];
    let crm = [
        ("CRM_KEYS", keys.as_str()),
        ("CRM_SERVICE_SECRET", secret),
        ("CRM_LISTEN", "127.0.0.1:0"),
        ("CRM_ADMIN_LISTEN", "off"),
    ];
    for (service, own) in [("identity-service", identity), ("crm-service", crm)] {
        let settings = [&shared[..], &own].concat();
        run(service, &["migrate"], &settings);
        run(service, &["migrate"], &settings);
        Program::start(service, &["serve"], &settings).line_with("ready to serve");
    }
}
