-- Who may do what in the schema: run after every migration, all of it. {app} and {lookup}
-- stand for the two narrow roles. Nothing here ends in a semicolon but what is between two.

GRANT USAGE ON SCHEMA identity TO {app}, {lookup};
GRANT SELECT ON identity.migrations TO {lookup};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA identity TO {app};

GRANT SELECT, INSERT, UPDATE ON identity.accounts, identity.employees TO {app};
GRANT SELECT, INSERT, DELETE ON identity.employee_tokens TO {app};
GRANT SELECT, INSERT ON identity.revoked_tokens TO {app};
GRANT SELECT, INSERT, UPDATE ON identity.answers, identity.public_answers TO {app};

-- To find out which account a log-in or a token belongs to.
GRANT SELECT (id, default_currency) ON identity.accounts TO {lookup};
GRANT SELECT (account_id, id, email_key, role, is_active, password_hash, delete_time)
    ON identity.employees TO {lookup};
GRANT SELECT (key, account_id, user_id, created) ON identity.employee_tokens TO {lookup};
GRANT SELECT (key, account_id) ON identity.revoked_tokens TO {lookup};

DROP POLICY IF EXISTS lookup ON identity.accounts;
DROP POLICY IF EXISTS lookup ON identity.employees;
DROP POLICY IF EXISTS lookup ON identity.employee_tokens;
DROP POLICY IF EXISTS lookup ON identity.revoked_tokens;
CREATE POLICY lookup ON identity.accounts FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.employees FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.employee_tokens FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.revoked_tokens FOR SELECT TO {lookup} USING (true)
