//! identity.v1.AccountService.

use proto::identity::v1::{self as pb, account_service_server::AccountService};
use service_kit::{
    Reply,
    auth::open,
    db::{Act, Db, TenantTx},
    error::Error,
    etag,
    fields::Fields,
    idempotency::Repeats,
    reply,
};
use tonic::Request;

use super::{
    model::{Account, Change},
    sql,
};
use crate::{
    credentials,
    feeds::{self, Holder},
};

pub struct Accounts {
    pub db: Db,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Reply<pb::GetAccountResponse> {
        let (caller, _) = open(request)?;
        let mut tx = self.db.begin(&caller).await?;
        let account = sql::get(&mut tx).await?;
        reply(pb::GetAccountResponse { account: Some(account.into()) })
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Reply<pb::ListAccountsResponse> {
        let (caller, _) = open(request)?;
        let mut tx = self.db.begin(&caller).await?;
        let account = sql::get(&mut tx).await?;
        reply(pb::ListAccountsResponse { accounts: vec![account.into()] })
    }

    async fn update_account(
        &self,
        request: Request<pb::UpdateAccountRequest>,
    ) -> Reply<pb::UpdateAccountResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request);
        let (repeat, change) = fields.all((repeat, change))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_open(&mut tx).await?;
        etag::check(&request.account.unwrap_or_default().etag, before.version)?;
        let account = change.apply(&before);
        if account == before {
            let answer = pb::UpdateAccountResponse { account: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let act = Act::on("account", before.id, "update").with("fields", account.changes(&before));
        let account = sql::update(&mut tx, &account).await?;
        feeds::revoke(&mut tx, Holder::Account);
        feeds::announce_account(&mut tx, &account);
        let answer = pb::UpdateAccountResponse { account: Some(account.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn close_account(
        &self,
        request: Request<pb::CloseAccountRequest>,
    ) -> Reply<pb::CloseAccountResponse> {
        let (caller, request) = open(request)?;
        let mut tx = self.db.begin(&caller).await?;
        let before = lock_open(&mut tx).await?;
        etag::check(&request.etag, before.version)?;
        let close_time = Some(tx.now());
        let account = sql::update(&mut tx, &Account { close_time, ..before }).await?;
        let ended = credentials::end_of_account(&mut tx).await?;
        feeds::announce_account(&mut tx, &account);
        let act = Act::on("account", account.id, "close").with("credentials_ended", ended);
        tx.commit([act]).await?;
        reply(pb::CloseAccountResponse { account: Some(account.into()) })
    }

    async fn reopen_account(
        &self,
        request: Request<pb::ReopenAccountRequest>,
    ) -> Reply<pb::ReopenAccountResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let (repeat,) = fields.all((repeat,))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = sql::lock(&mut tx).await?;
        etag::check(&request.etag, before.version)?;
        if before.close_time.is_none() {
            let answer = pb::ReopenAccountResponse { account: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let account = sql::update(&mut tx, &Account { close_time: None, ..before }).await?;
        feeds::revoke(&mut tx, Holder::Account);
        feeds::announce_account(&mut tx, &account);
        let act = Act::on("account", account.id, "reopen");
        let answer = pb::ReopenAccountResponse { account: Some(account.into()) };
        repeat.finish(tx, [act], answer).await
    }
}

/// The account, locked, unless somebody closed it since the caller was let in.
async fn lock_open(tx: &mut TenantTx) -> Result<Account, Error> {
    let account = sql::lock(tx).await?;
    if account.close_time.is_some() { Err(Error::ACCOUNT_CLOSED) } else { Ok(account) }
}
