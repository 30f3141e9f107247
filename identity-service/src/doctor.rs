//! What can be wrong with this schema beyond what can be wrong with any?
//!
//! A token that belongs to nobody, or to somebody who is looked for in another table, lets
//! nobody in here. It was what an older application fell over, and its tables may lie beside
//! ours: what of those does not point at `identity.employees` is named, and left alone.

use service_kit::doctor::{Check, Finding};

/// For `doctor`.
pub const CHECKS: &[Check] = &[
    // Among token tables themselves a key is no statement about a person.
    Check {
        asks: "SELECT format('%s.%s has the foreign key %s to %s.%s',
                   n.nspname, c.relname, k.conname, m.nspname, t.relname)
               FROM pg_constraint k
               JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace m ON m.oid = t.relnamespace
               WHERE k.contype = 'f' AND c.relname ILIKE '%token%' AND n.nspname <> 'identity'
                 AND t.relname NOT ILIKE '%token%'
                 AND NOT (m.nspname = 'identity' AND t.relname = 'employees')
               ORDER BY 1",
        of_rows: false,
        finding: |found| {
            Finding::warning(format!(
                "The table {found}, not to identity.employees: its tokens are another application's and are not accepted here; let their owners log in here, and move tokens by e-mail address, never by id."
            ))
        },
    },
    // But for the tombstones, which belong to an account and to nobody in it.
    Check {
        asks: "SELECT format('identity.%s has the foreign key %s to %s.%s',
                   c.relname, k.conname, m.nspname, t.relname)
               FROM pg_constraint k
               JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace m ON m.oid = t.relnamespace
               WHERE k.contype = 'f' AND c.relname ILIKE '%token%' AND n.nspname = 'identity'
                 AND NOT (m.nspname = 'identity' AND t.relname = 'employees')
                 AND NOT (c.relname = 'revoked_tokens' AND k.conname = 'revoked_tokens_account_fkey')
               ORDER BY 1",
        of_rows: false,
        finding: |found| {
            Finding::wrong(format!(
                "The table {found}, not to identity.employees: drop that key, and restore the schema's own."
            ))
        },
    },
    Check {
        asks: "SELECT format('%s of identity.employee_tokens', count(*))
               FROM identity.employee_tokens o LEFT JOIN identity.employees e
                 ON e.account_id = o.account_id AND e.id = o.user_id
               WHERE e.id IS NULL HAVING count(*) > 0",
        of_rows: true,
        finding: orphans,
    },
    Check {
        asks: "SELECT format('%s of identity.sessions', count(*))
               FROM identity.sessions o LEFT JOIN identity.employees e
                 ON e.account_id = o.account_id AND e.id = o.employee_id
               WHERE e.id IS NULL HAVING count(*) > 0",
        of_rows: true,
        finding: orphans,
    },
    Check {
        asks: "SELECT format('%s of identity.api_keys', count(*))
               FROM identity.api_keys o LEFT JOIN identity.employees e
                 ON e.account_id = o.account_id AND e.id = o.creator_id
               WHERE e.id IS NULL HAVING count(*) > 0",
        of_rows: true,
        finding: orphans,
    },
];

fn orphans(found: &str) -> Finding {
    Finding::wrong(format!(
        "There are rows whose employee is missing, {found}: delete them, which logs nobody out, and restore the foreign key that should have."
    ))
}
