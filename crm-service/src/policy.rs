//! Who may call which method of crm-service.

use proto::common::v1::Permission::{ExportData, ImportData, ManageAllClients};
use service_kit::policy::{
    Access::{Needs, SignedIn},
    Rule, rule,
};

#[rustfmt::skip]
pub const POLICY: &[Rule] = &[
    //    method                                      who may call it
    rule("/crm.v1.ClientService/BatchGetClients",     SignedIn),
    rule("/crm.v1.ClientService/BatchImportClients",  Needs(ImportData)),
    rule("/crm.v1.ClientService/CreateClient",        Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/DeleteClient",        Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/ExportClients",       Needs(ExportData)),
    rule("/crm.v1.ClientService/GetClient",           SignedIn),
    rule("/crm.v1.ClientService/GetClientStatistics", SignedIn),
    rule("/crm.v1.ClientService/ImportClients",       Needs(ImportData)),
    rule("/crm.v1.ClientService/ListClients",         SignedIn),
    rule("/crm.v1.ClientService/ListMyClients",       SignedIn),
    rule("/crm.v1.ClientService/UndeleteClient",      Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/UpdateClient",        Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/WatchClients",        SignedIn),
];
