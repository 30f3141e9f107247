//! crm.v1.ReportService.

use proto::crm::v1::{self as pb, report_service_server::ReportService};
use service_kit::{Reply, auth::open, db::Db, fields::Fields, reply};
use tonic::Request;

use super::{
    model::{self, AsOf, Days, Series},
    sql,
};
use crate::visibility::Scope;

pub struct Reports {
    pub db: Db,
}

#[tonic::async_trait]
impl ReportService for Reports {
    async fn get_revenue_series(
        &self,
        request: Request<pb::GetRevenueSeriesRequest>,
    ) -> Reply<pb::GetRevenueSeriesResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let series = Series::parse(&mut fields, &request);
        let (series,) = fields.all((series,))?;

        let scope = Scope::of_payments(&caller);
        let mut tx = self.db.begin(&caller).await?;
        let paid = sql::revenue(&mut tx, &series, caller.time_zone(), scope).await?;
        reply(series.filled_with(paid))
    }

    async fn get_receivables(
        &self,
        request: Request<pb::GetReceivablesRequest>,
    ) -> Reply<pb::GetReceivablesResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let as_of = fields.take("as_of_date", AsOf::parse(&request.as_of_date, caller.today()));
        let (as_of,) = fields.all((as_of,))?;

        let mut tx = self.db.begin(&caller).await?;
        let owed = sql::receivables(&mut tx, as_of, Scope::of(&caller)).await?;
        reply(as_of.answer(owed))
    }

    async fn get_team_performance(
        &self,
        request: Request<pb::GetTeamPerformanceRequest>,
    ) -> Reply<pb::GetTeamPerformanceResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let days = Days::parse(&mut fields, &request.from_date, &request.until_date);
        let (days,) = fields.all((days,))?;

        let mut tx = self.db.begin(&caller).await?;
        let parts = sql::team(&mut tx, days, caller.time_zone(), Scope::of(&caller)).await?;
        reply(pb::GetTeamPerformanceResponse { members: model::members(parts) })
    }
}
