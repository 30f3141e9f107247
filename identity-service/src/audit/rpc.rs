//! identity.v1.AuditService.

use std::sync::Arc;

use proto::identity::v1::{self as pb, audit_service_server::AuditService};
use service_kit::{
    Reply,
    audit::{self, Filter},
    auth::open,
    db::Db,
    fields::Fields,
    keys::Keyring,
    page::Page,
    reply,
};
use tonic::Request;

use super::model::{asked, shown};

pub struct Audit {
    pub db: Db,
    pub keys: Arc<Keyring>,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_events(
        &self,
        request: Request<pb::ListAuditEventsRequest>,
    ) -> Reply<pb::ListAuditEventsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, asked(&request));
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            audit::ORDERS,
            audit::DEFAULT_ORDER,
        );
        let (filter, page) = fields.all((filter, page))?;

        let mut tx = self.db.begin(&caller).await?;
        let events = audit::list(&mut tx, &filter, &page).await?;
        let total_size =
            if page.include_total { Some(audit::count(&mut tx, &filter).await?) } else { None };
        let (events, next_page_token) = page.cut(events, &self.keys, |event| event.id);
        let audit_events = events.into_iter().map(shown).collect();
        reply(pb::ListAuditEventsResponse { audit_events, next_page_token, total_size })
    }
}
