//! How does the CRM come to know an account?

/// Part of a statement whose `$1` is the account: makes its row when it is first met, so that
/// what the statement adds to the account has something to belong to.
macro_rules! met {
    () => {
        "WITH met AS (INSERT INTO crm.accounts (id) VALUES ($1) ON CONFLICT DO NOTHING) "
    };
}

pub(crate) use met;
