//! Two accounts side by side.

use std::collections::BTreeMap;

use identity_service::POLICY;
use proto::identity::v1 as pb;
use service_kit::testing::isolation::{Ids, Service, leaks};

use crate::support::{Identity, signed};

#[tokio::test]
async fn no_id_reaches_into_another_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    let service = Service {
        package: "identity.v1",
        policy: POLICY,
        ignored: &[
            ("/identity.v1.EmployeeService/CreateEmployee", "employee.id"),
            ("/identity.v1.EmployeeService/CreateEmployee", "employee.account_id"),
        ],
        examples: BTreeMap::new(),
    };
    let ids = |_: &str| Ids { foreign: bob.id, unknown: 999_999 };
    assert_eq!(leaks(&service, &identity.channel, &ana.token, ids).await, Vec::<String>::new());

    // And it can fail: without the exceptions two fields have no example.
    let forgetful = Service { ignored: &[], ..service };
    assert_eq!(leaks(&forgetful, &identity.channel, &ana.token, ids).await.len(), 2);
}

#[tokio::test]
async fn headers_that_name_an_account_have_no_effect() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    let mut request = signed(&ana, pb::GetMeRequest {});
    for name in ["x-account-id", "x-user-id", "x-employee-id", "account-id", "x-internal"] {
        request.metadata_mut().insert(name, bob.account_id.into());
    }
    let me = identity.auth().get_me(request).await.unwrap().into_inner().employee.unwrap();
    assert_eq!((me.id, me.account_id), (ana.id, ana.account_id));
}
