//! crm-service as its callers meet it: over the wire, beside a real identity-service, each
//! against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::default_trait_access,
    clippy::doc_markdown,
    clippy::float_cmp,
    clippy::inconsistent_digit_grouping,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "tests read better so: 1_200_00 is 1,200.00"
)]

mod access;
mod assignments;
mod audit;
mod audit_lists;
mod client_packages;
mod clients;
mod conventions;
mod costs;
mod directory;
mod directory_meets;
mod directory_outages;
mod exports;
mod health;
mod hostile;
mod housekeeping;
mod import_repeats;
mod imports;
mod instalments;
mod isolation;
mod lease;
mod legacy;
mod lists;
mod operators;
mod outages;
mod packages;
mod payment_access;
mod payment_history;
mod payment_input;
mod payment_lists;
mod payment_races;
mod payment_states;
mod payments;
mod people;
mod plans;
mod reflection;
mod repeats;
mod reports;
mod sales;
mod sales_access;
mod statistics;
mod stripe_customers;
mod stripe_endpoints;
mod stripe_orders;
mod stripe_webhook;
mod support;
mod taking_back;
mod till;
mod visibility;
mod watch;
mod watch_ends;
