//! Who may call which method of crm-service.

use proto::common::v1::Permission::{ManageAllClients, ManagePayments, RefundPayments};
use service_kit::policy::{
    Access::{Needs, SignedIn},
    Rule, rule,
};

#[rustfmt::skip]
pub const POLICY: &[Rule] = &[
    //    method                                           who may call it
    rule("/crm.v1.ClientService/CreateClient",             Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/DeleteClient",             Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/GetClient",                SignedIn),
    rule("/crm.v1.ClientService/ListClients",              SignedIn),
    rule("/crm.v1.ClientService/UndeleteClient",           Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/UpdateClient",             Needs(ManageAllClients)),
    rule("/crm.v1.PaymentService/AllocatePayment",         Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/CreatePayment",           Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/DisputePayment",          Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/GetPayment",              SignedIn),
    rule("/crm.v1.PaymentService/GetPaymentStatistics",    SignedIn),
    rule("/crm.v1.PaymentService/ListPayments",            SignedIn),
    rule("/crm.v1.PaymentService/MarkPaymentFailed",       Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/RefundPayment",           Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/ResolveDispute",          Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/UpdatePayment",           Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/VoidPayment",             Needs(ManagePayments)),
];
