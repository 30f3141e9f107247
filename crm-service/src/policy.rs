//! Who may call which method of crm-service.

use proto::common::v1::Permission::{
    ManageAllClients, ManageClientPackages, ManageInstalments, ManagePackages, ManagePayments,
    RefundPayments,
};
use service_kit::policy::{
    Access::{Needs, SignedIn},
    Rule, rule,
};

#[rustfmt::skip]
pub const POLICY: &[Rule] = &[
    //    method                                              who may call it
    rule("/crm.v1.ClientPackageService/CancelClientPackage", Needs(ManageClientPackages)),
    rule("/crm.v1.ClientPackageService/CreateClientPackage", Needs(ManageClientPackages)),
    rule("/crm.v1.ClientPackageService/GenerateInstalments", Needs(ManageClientPackages)),
    rule("/crm.v1.ClientPackageService/GetClientPackage",    SignedIn),
    rule("/crm.v1.ClientPackageService/ListClientPackages",  SignedIn),
    rule("/crm.v1.ClientPackageService/PreviewInstalments",  Needs(ManageClientPackages)),
    rule("/crm.v1.ClientPackageService/UpdateClientPackage", Needs(ManageClientPackages)),
    rule("/crm.v1.ClientService/BatchGetClients",            SignedIn),
    rule("/crm.v1.ClientService/CreateClient",               Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/DeleteClient",               Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/GetClient",                  SignedIn),
    rule("/crm.v1.ClientService/GetClientStatistics",        SignedIn),
    rule("/crm.v1.ClientService/ListClients",                SignedIn),
    rule("/crm.v1.ClientService/ListMyClients",              SignedIn),
    rule("/crm.v1.ClientService/UndeleteClient",             Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/UpdateClient",               Needs(ManageAllClients)),
    rule("/crm.v1.ClientService/WatchClients",               SignedIn),
    rule("/crm.v1.InstalmentService/CloseInstalment",        Needs(ManageInstalments)),
    rule("/crm.v1.InstalmentService/CreateInstalment",       Needs(ManageInstalments)),
    rule("/crm.v1.InstalmentService/GetInstalment",          SignedIn),
    rule("/crm.v1.InstalmentService/ListInstalments",        SignedIn),
    rule("/crm.v1.InstalmentService/UpdateInstalment",       Needs(ManageInstalments)),
    rule("/crm.v1.PackageService/CreatePackage",             Needs(ManagePackages)),
    rule("/crm.v1.PackageService/DeletePackage",             Needs(ManagePackages)),
    rule("/crm.v1.PackageService/GetPackage",                SignedIn),
    rule("/crm.v1.PackageService/ListPackages",              SignedIn),
    rule("/crm.v1.PackageService/UndeletePackage",           Needs(ManagePackages)),
    rule("/crm.v1.PackageService/UpdatePackage",             Needs(ManagePackages)),
    rule("/crm.v1.PaymentService/AllocatePayment",           Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/CreatePayment",             Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/DisputePayment",            Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/GetPayment",                SignedIn),
    rule("/crm.v1.PaymentService/GetPaymentStatistics",      SignedIn),
    rule("/crm.v1.PaymentService/ListPayments",              SignedIn),
    rule("/crm.v1.PaymentService/MarkPaymentFailed",         Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/RefundPayment",             Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/ResolveDispute",            Needs(RefundPayments)),
    rule("/crm.v1.PaymentService/UpdatePayment",             Needs(ManagePayments)),
    rule("/crm.v1.PaymentService/VoidPayment",               Needs(ManagePayments)),
];
