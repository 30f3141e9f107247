//! Who may call which method of crm-service.

use proto::common::v1::Permission::{ManageAllClients, ViewAudit, ViewStatistics};
use service_kit::policy::{
    Access::{Needs, SignedIn},
    Rule, rule,
};

#[rustfmt::skip]
pub const POLICY: &[Rule] = &[
    //    method                                       who may call it
    rule("/crm.v1.AuditService/ListAuditEvents",       Needs(ViewAudit)),
    rule("/crm.v1.ClientService/CreateClient",         Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/DeleteClient",         Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/GetClient",            SignedIn),
    rule("/crm.v1.ClientService/ListClients",          SignedIn),
    rule("/crm.v1.ClientService/UndeleteClient",       Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/UpdateClient",         Needs(ManageAllClients)),
    rule("/crm.v1.ReportService/GetReceivables",       Needs(ViewStatistics)),
    rule("/crm.v1.ReportService/GetRevenueSeries",     Needs(ViewStatistics)),
    rule("/crm.v1.ReportService/GetTeamPerformance",   Needs(ViewStatistics)),
];
