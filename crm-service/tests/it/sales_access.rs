//! Who may do what to packages, to what is sold of them and to what is due; and what happens to
//! calls that are sent again.

use crm_service::POLICY;
use proto::{
    common::v1::{
        Permission::{ManageClientPackages, ManageInstalments},
        Role,
    },
    crm::v1 as pb,
};
use service_kit::{
    policy::Access,
    testing::{raw, refusal::Refusal},
};
use tonic::Code;

use crate::support::{Crm, Person, signed};

const ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

impl Crm {
    /// The bytes of an answer, or why there is none.
    pub async fn call(
        &self,
        by: &Person,
        method: &str,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let request = raw::request(message.to_vec(), &by.token);
        let answer = raw::call(&self.channel, method, request).await;
        answer.map(|answer| answer.into_inner().into()).map_err(|status| Refusal::of(&status))
    }
}

pub fn access(method: &str) -> Access {
    POLICY.iter().find(|rule| rule.method == method).unwrap().access
}

fn changes(method: &str) -> bool {
    access(method) != Access::SignedIn && !method.ends_with("/PreviewInstalments")
}

/// Security checklist 29.
#[tokio::test]
async fn admins_write_and_employees_read() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let admin = crm.add(&owner, "admin", Role::Admin).await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    let examples = crm.sale(&owner).await.examples("");
    let before = crm.database.digest().await;
    let mut reads = 0;
    for (method, message) in &examples {
        let answer = crm.call(&employee, method, message).await;
        if access(method) == Access::SignedIn {
            assert!(answer.is_ok(), "{method}: {answer:?}");
            reads += 1;
        } else {
            let refused = answer.expect_err(method);
            assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"), "{method}");
        }
    }
    assert_eq!((reads, examples.len()), (6, 18), "every method has an example");
    assert_eq!(crm.database.digest().await, before);
    for (method, message) in &examples {
        let answer = crm.call(&admin, method, message).await;
        assert!(answer.is_ok(), "{method}: {answer:?}");
    }
}

/// Security checklist 36: with what is granted, an employee reaches the clients in which they
/// have a part, and no others.
#[tokio::test]
async fn whoever_does_not_see_a_client_reaches_nothing_that_is_theirs() {
    let crm = Crm::start().await;
    let owner = crm.sign_up("owner").await;
    let employee = crm.add(&owner, "employee", Role::Employee).await;
    crm.grant(&owner, &employee, &[ManageClientPackages, ManageInstalments]).await;
    let (seen, hidden) = (crm.sale(&owner).await, crm.sale(&owner).await);
    crm.assign(&owner, &employee, seen.client).await;

    let before = crm.database.digest().await;
    let of_clients = |method: &str| !method.contains(".PackageService/");
    for (method, message) in hidden.examples("").iter().filter(|(it, _)| of_clients(it)) {
        let answer = crm.call(&employee, method, message).await;
        if method.contains("/List") {
            assert!(answer.is_ok(), "{method}: {answer:?}");
        } else {
            assert_eq!(answer.expect_err(method).said(), (Code::NotFound, "NOT_FOUND"), "{method}");
        }
    }
    let sold = pb::ListClientPackagesRequest { include_total: true, ..Default::default() };
    let sold = crm.client_packages().list_client_packages(signed(&employee, sold)).await.unwrap();
    let sold = sold.into_inner();
    assert!(sold.client_packages.iter().all(|it| it.client_id == seen.client));
    assert_eq!((sold.client_packages.len(), sold.total_size), (2, Some(2)));
    let due = pb::ListInstalmentsRequest { include_total: true, ..Default::default() };
    let due = crm.list_instalments(&employee, due).await;
    assert!(due.instalments.iter().all(|it| it.client_id == seen.client));
    assert_eq!((due.instalments.len(), due.total_size), (5, Some(5)));
    let theirs = pb::ListInstalmentsRequest { client_id: hidden.client, ..Default::default() };
    assert!(crm.list_instalments(&employee, theirs.clone()).await.instalments.is_empty());
    assert_eq!(crm.list_instalments(&owner, theirs).await.instalments.len(), 5, "they are there");
    assert_eq!(crm.database.digest().await, before);

    for (method, message) in seen.examples("").iter().filter(|(it, _)| of_clients(it)) {
        let answer = crm.call(&employee, method, message).await;
        assert!(answer.is_ok(), "{method}: {answer:?}");
    }
}

/// Security checklist 54.
#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_has_no_second_effect() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (sale, other) = (crm.sale(&ana).await, crm.sale(&ana).await);
    let (examples, others) = (sale.examples(ID), other.examples(ID));
    let mut repeated = 0;
    for (method, message) in examples.iter().filter(|(method, _)| changes(method)) {
        let first = crm.call(&ana, method, message).await.expect(method);
        let before = crm.database.digest().await;
        assert_eq!(crm.call(&ana, method, message).await.as_ref(), Ok(&first), "{method}");
        let refused = crm.call(&ana, method, &others[method]).await.expect_err(method);
        assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"), "{method}");
        assert_eq!(crm.database.digest().await, before, "{method}");
        repeated += 1;
    }
    assert_eq!(repeated, 11);
}

/// Security checklist 54.
#[tokio::test]
async fn many_at_once_are_one() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sale = crm.sale(&ana).await;
    let examples = sale.examples(ID);
    let method = "/crm.v1.ClientPackageService/GenerateInstalments";
    let calls = (0..6).map(|_| crm.call(&ana, method, &examples[method]));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.is_ok() && *answer == answers[0]), "{answers:?}");
    assert_eq!(crm.instalments_of(&ana, sale.sold).await.len(), 3 + 4);
}
