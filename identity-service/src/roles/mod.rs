//! Roles as labels: those that every company has, and those that one makes for itself.
//!
//! They grant nothing here. Another service learns them from `ValidateToken` and may authorise
//! by them; an employee's own role (super admin, admin, employee) neither gives nor takes them.

pub mod model;
pub mod rpc;
pub mod sql;
