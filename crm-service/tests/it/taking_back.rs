//! Whatever is taken back, however it is done, and however many are calling: not one request is
//! let in that began after whoever took it back was answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    common::v1::{Permission, Role},
    crm::v1::{self as pb, audit_service_client::AuditServiceClient},
    identity::v1::{
        self as id, account_service_client::AccountServiceClient,
        api_key_service_client::ApiKeyServiceClient, auth_service_client::AuthServiceClient,
        employee_service_client::EmployeeServiceClient, revoke_all_sessions_request::Target,
    },
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    directory::PATIENCE,
    support::{Crm, PASSWORD, Person, signed},
};

/// How many call at once, at each of two processes.
const CALLERS: usize = 3;
/// How many must be let in before it is taken back, and be refused afterwards.
const ENOUGH: usize = 20;

/// What can be done to a credential, each in an account of its own.
#[derive(Debug, Clone, Copy)]
enum Act {
    LogOut,
    LogOutSession,
    Deactivate,
    Delete,
    TakePermission,
    Demote,
    ChangePassword,
    RevokeSession,
    RevokeOtherSessions,
    RevokeAllOfEmployee,
    RevokeAllOfAccount,
    Replay,
    RevokeKey,
    DemoteMaker,
    CloseAccount,
}

const ACTS: [Act; 15] = [
    Act::LogOut,
    Act::LogOutSession,
    Act::Deactivate,
    Act::Delete,
    Act::TakePermission,
    Act::Demote,
    Act::ChangePassword,
    Act::RevokeSession,
    Act::RevokeOtherSessions,
    Act::RevokeAllOfEmployee,
    Act::RevokeAllOfAccount,
    Act::Replay,
    Act::RevokeKey,
    Act::DemoteMaker,
    Act::CloseAccount,
];

/// A super admin, somebody who works for her, and what is shown and then taken back.
struct Scene<'a> {
    crm: &'a Crm,
    /// By which process of identity-service it is taken back.
    identity: Channel,
    ana: Person,
    bob: Person,
    bob_id: i64,
    session: id::IssueTokensResponse,
    key: id::CreateApiKeyResponse,
}

impl<'a> Scene<'a> {
    async fn set(crm: &'a Crm, identity: &Channel, name: &str) -> Self {
        let ana = crm.sign_up(&format!("ana{name}")).await;
        let bob = crm.add(&ana, &format!("bob{name}"), Role::SuperAdmin).await;
        let bob_id = crm.id_of(&bob).await;
        let mut auth = AuthServiceClient::new(crm.identity.channel.clone());
        let (email, password) = (format!("bob{name}@example.com"), PASSWORD.to_owned());
        let request = id::IssueTokensRequest { email, password, ..Default::default() };
        let session = auth.issue_tokens(request).await.unwrap().into_inner();
        let api_key = id::ApiKey {
            name: "Program".into(),
            permissions: vec![Permission::ViewAudit.into()],
            ..Default::default()
        };
        let request = id::CreateApiKeyRequest { api_key: Some(api_key), ..Default::default() };
        let mut keys = ApiKeyServiceClient::new(crm.identity.channel.clone());
        let key = keys.create_api_key(signed(&bob, request)).await.unwrap().into_inner();
        Self { crm, identity: identity.clone(), ana, bob, bob_id, session, key }
    }

    /// What the callers show.
    async fn shown(&self, act: Act) -> Person {
        let token = match act {
            Act::LogOutSession | Act::RevokeSession | Act::RevokeOtherSessions | Act::Replay => {
                &self.session.access_token
            }
            Act::RevokeKey | Act::DemoteMaker => &self.key.secret,
            _ => &self.bob.token,
        };
        if matches!(act, Act::TakePermission) {
            self.set_role(Role::Employee).await;
            self.crm.grant(&self.ana, &self.bob, &[Permission::ViewAudit]).await;
        }
        Person { token: token.clone() }
    }

    /// Takes it back, and returns when that was answered.
    async fn take_back(&self, act: Act) -> Instant {
        let identity = || self.identity.clone();
        let (mut auth, id) = (AuthServiceClient::new(identity()), self.bob_id);
        match act {
            Act::LogOut => {
                auth.logout(signed(&self.bob, id::LogoutRequest {})).await.unwrap();
            }
            Act::LogOutSession => {
                let session = Person { token: self.session.access_token.clone() };
                auth.logout(signed(&session, id::LogoutRequest {})).await.unwrap();
            }
            Act::Deactivate => self.crm.deactivate(&self.ana, id).await,
            Act::Delete => self.crm.dismiss(&self.ana, id).await,
            Act::TakePermission => self.crm.grant(&self.ana, &self.bob, &[]).await,
            Act::Demote | Act::DemoteMaker => self.set_role(Role::Admin).await,
            Act::ChangePassword => {
                let (old_password, new_password) = (PASSWORD.into(), "another battery".into());
                let request = id::ChangePasswordRequest { old_password, new_password };
                auth.change_password(signed(&self.bob, request)).await.unwrap();
            }
            Act::RevokeSession => {
                let list = auth.list_sessions(signed(&self.bob, id::ListSessionsRequest {})).await;
                let id = list.unwrap().into_inner().sessions[0].id;
                let request = id::RevokeSessionRequest { id };
                auth.revoke_session(signed(&self.bob, request)).await.unwrap();
            }
            Act::RevokeOtherSessions => {
                let request = signed(&self.bob, id::RevokeOtherSessionsRequest {});
                auth.revoke_other_sessions(request).await.unwrap();
            }
            Act::RevokeAllOfEmployee => self.revoke_all(Target::EmployeeId(id)).await,
            Act::RevokeAllOfAccount => self.revoke_all(Target::WholeAccount(true)).await,
            Act::Replay => {
                let first = self.session.refresh_token.clone();
                let mut shown = first.clone();
                for _ in 0..2 {
                    let request = id::RefreshTokensRequest { refresh_token: shown };
                    shown = auth.refresh_tokens(request).await.unwrap().into_inner().refresh_token;
                }
                let request = id::RefreshTokensRequest { refresh_token: first };
                let refused = auth.refresh_tokens(request).await.unwrap_err();
                assert_eq!(refused.code(), Code::Unauthenticated);
            }
            Act::RevokeKey => {
                let id = self.key.api_key.as_ref().unwrap().id;
                let request = id::RevokeApiKeyRequest { id, ..Default::default() };
                let mut keys = ApiKeyServiceClient::new(identity());
                keys.revoke_api_key(signed(&self.bob, request)).await.unwrap();
            }
            Act::CloseAccount => {
                let request = signed(&self.ana, id::CloseAccountRequest::default());
                let mut accounts = AccountServiceClient::new(identity());
                accounts.close_account(request).await.unwrap();
            }
        }
        Instant::now()
    }

    async fn set_role(&self, role: Role) {
        let (id, role) = (self.bob_id, role.into());
        let employee = Some(id::Employee { id, role, ..Default::default() });
        let request = id::UpdateEmployeeRequest { employee, ..Default::default() };
        let mut employees = EmployeeServiceClient::new(self.identity.clone());
        employees.update_employee(signed(&self.ana, request)).await.unwrap();
    }

    async fn revoke_all(&self, target: Target) {
        let request = id::RevokeAllSessionsRequest { target: Some(target) };
        let mut auth = AuthServiceClient::new(self.identity.clone());
        auth.revoke_all_sessions(signed(&self.ana, request)).await.unwrap();
    }
}

/// Reads what only few may.
async fn read(channel: &Channel, by: &Person) -> Result<(), Status> {
    let request = pb::ListAuditEventsRequest { page_size: 1, ..Default::default() };
    let mut audit = AuditServiceClient::new(channel.clone());
    audit.list_audit_events(signed(by, request)).await.map(drop)
}

/// When requests began, and whether they were let in.
type Calls = Vec<(Instant, bool)>;

/// What the callers did so far, and whether they should stop.
#[derive(Default)]
struct Progress {
    let_in: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

fn call_until_over(progress: &Arc<Progress>, channel: &Channel, by: &Person) -> JoinHandle<Calls> {
    let (progress, channel, by) = (Arc::clone(progress), channel.clone(), by.clone());
    tokio::spawn(async move {
        let mut calls = Vec::new();
        while !progress.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = read(&channel, &by).await;
            // Never an outage: only let in, or not.
            if let Err(status) = &answer {
                let refusals =
                    [Code::Unauthenticated, Code::PermissionDenied, Code::FailedPrecondition];
                assert!(refusals.contains(&status.code()), "{status}");
            }
            let count = if answer.is_ok() { &progress.let_in } else { &progress.refused };
            count.fetch_add(1, Ordering::Relaxed);
            calls.push((began, answer.is_ok()));
        }
        calls
    })
}

/// Waits until so many more are counted, however slow the machine is.
async fn more(count: &AtomicUsize, wanted: usize) {
    let wanted = count.load(Ordering::Relaxed) + wanted;
    timeout(PATIENCE, async {
        while count.load(Ordering::Relaxed) < wanted {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("too few are answered so");
}

/// Takes it back while many call, and sees who is let in.
async fn try_out(scene: &Scene<'_>, act: Act, channels: &[Channel]) {
    let shown = scene.shown(act).await;
    let progress = Arc::new(Progress::default());
    let callers = channels.iter().flat_map(|channel| std::iter::repeat_n(channel, CALLERS));
    let callers: Vec<_> =
        callers.map(|channel| call_until_over(&progress, channel, &shown)).collect();
    more(&progress.let_in, ENOUGH).await;
    let answered = scene.take_back(act).await;
    // One of each caller may have begun before.
    more(&progress.refused, ENOUGH + callers.len()).await;
    progress.over.store(true, Ordering::Relaxed);
    let mut late = 0;
    for caller in callers {
        for (began, is_in) in caller.await.unwrap() {
            let is_late = began > answered;
            assert!(!(is_in && is_late), "{act:?}: {:?} after it was answered", began - answered);
            late += usize::from(is_late);
        }
    }
    assert!(late >= ENOUGH, "{act:?}: {late} began after it was answered");
}

/// Security checklist 19.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_let_in_that_began_after_it_was_taken_back() {
    let crm = Crm::leased().await;
    let (other, _running) = crm.beside().await;
    let channels = [crm.channel.clone(), other];
    for (number, act) in ACTS.into_iter().enumerate() {
        let scene = Scene::set(&crm, &crm.identity.channel, &number.to_string()).await;
        try_out(&scene, act, &channels).await;
    }
    let kept = "authorization_answers_total{service=\"crm-service\",source=\"kept\"";
    assert!(crm.figure(kept).await > 100, "what is kept was used");
}

/// The one that lends is not the one by which it is taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_one_that_began_after_another_process_of_identity_took_it_back() {
    let crm = Crm::leased().await;
    let (identity, _running) = crm.identity.beside().await;
    let channels = [crm.channel.clone()];
    let acts = [Act::LogOut, Act::Demote, Act::RevokeAllOfAccount, Act::RevokeKey, Act::Replay];
    for (number, act) in acts.into_iter().enumerate() {
        let scene = Scene::set(&crm, &identity, &number.to_string()).await;
        try_out(&scene, act, &channels).await;
    }
}
