-- Who may do what in the schema: run after every migration, all of it. {app}, {lookup} and
-- {sweep} stand for the narrow roles. Nothing here ends in a semicolon but what is between two.

GRANT USAGE ON SCHEMA identity TO {app}, {lookup}, {sweep};
GRANT SELECT ON identity.migrations TO {lookup};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA identity TO {app};

GRANT SELECT, INSERT, UPDATE ON identity.accounts, identity.employees TO {app};
GRANT SELECT, INSERT, DELETE ON identity.employee_search_words TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.company_roles TO {app};
GRANT SELECT, INSERT, DELETE ON identity.employee_company_roles TO {app};
GRANT SELECT, INSERT, UPDATE (sealed, last_used_time), DELETE ON identity.employee_tokens TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.sessions TO {app};
GRANT SELECT, INSERT, UPDATE ON identity.api_keys TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.letters, identity.codes TO {app};
GRANT SELECT, INSERT, UPDATE ON identity.invitations TO {app};
GRANT SELECT, INSERT, DELETE ON identity.address_requests TO {app};
GRANT SELECT, INSERT ON identity.revoked_tokens, identity.revoked_sessions TO {app};
GRANT SELECT, INSERT, UPDATE ON identity.answers, identity.public_answers TO {app};
-- What is recorded stays as it is.
GRANT SELECT, INSERT ON identity.audit_events TO {app};
-- What others are told is only ever added to.
GRANT SELECT, UPDATE (number) ON identity.feeds TO {app};
GRANT INSERT ON identity.revocations, identity.directory_events TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.lease_givers TO {app};

-- To find out which account a log-in or a token belongs to, and what that stands for.
GRANT SELECT (id, name, default_currency, employee_client_visibility, time_zone, close_time)
    ON identity.accounts TO {lookup};
GRANT SELECT (account_id, id, email_key, name, role, is_active, password_hash, delete_time,
              permissions, system_roles)
    ON identity.employees TO {lookup};
GRANT SELECT (account_id, id, name) ON identity.company_roles TO {lookup};
GRANT SELECT ON identity.employee_company_roles TO {lookup};
GRANT SELECT (key, account_id, user_id, created, last_used_time)
    ON identity.employee_tokens TO {lookup};
GRANT SELECT (key, account_id) ON identity.revoked_tokens TO {lookup};
GRANT SELECT (account_id, id, employee_id, idle_time, expire_time) ON identity.sessions TO {lookup};
GRANT SELECT (id, account_id) ON identity.revoked_sessions TO {lookup};
GRANT SELECT (account_id, id, digest, permissions, creator_id, expire_time, revoke_time)
    ON identity.api_keys TO {lookup};
GRANT SELECT (account_id, id, due_time) ON identity.letters TO {lookup};
GRANT SELECT (account_id, employee_id, digest) ON identity.codes TO {lookup};
GRANT SELECT (account_id, id, digest) ON identity.invitations TO {lookup};
GRANT SELECT ON identity.feeds, identity.revocations, identity.directory_events,
    identity.lease_givers TO {lookup};

DROP POLICY IF EXISTS lookup ON identity.accounts;
DROP POLICY IF EXISTS lookup ON identity.employees;
DROP POLICY IF EXISTS lookup ON identity.company_roles;
DROP POLICY IF EXISTS lookup ON identity.employee_company_roles;
DROP POLICY IF EXISTS lookup ON identity.employee_tokens;
DROP POLICY IF EXISTS lookup ON identity.revoked_tokens;
DROP POLICY IF EXISTS lookup ON identity.sessions;
DROP POLICY IF EXISTS lookup ON identity.revoked_sessions;
DROP POLICY IF EXISTS lookup ON identity.api_keys;
DROP POLICY IF EXISTS lookup ON identity.letters;
DROP POLICY IF EXISTS lookup ON identity.codes;
DROP POLICY IF EXISTS lookup ON identity.invitations;
CREATE POLICY lookup ON identity.accounts FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.employees FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.company_roles FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.employee_company_roles FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.employee_tokens FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.revoked_tokens FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.sessions FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.revoked_sessions FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.api_keys FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.letters FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.codes FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON identity.invitations FOR SELECT TO {lookup} USING (true);

-- What is old is swept; of the records nothing that is younger than the shortest time for which
-- they can be kept, whatever the service asks for.
GRANT SELECT (account_id, actor, method, request_id, create_time), DELETE
    ON identity.answers TO {sweep};
GRANT SELECT (scope, create_time), DELETE ON identity.public_answers TO {sweep};
GRANT SELECT (key, created, last_used_time), DELETE ON identity.employee_tokens TO {sweep};
GRANT SELECT (key, account_id, revoke_time), DELETE ON identity.revoked_tokens TO {sweep};
GRANT SELECT (id, account_id, revoke_time), DELETE ON identity.revoked_sessions TO {sweep};
GRANT SELECT (account_id, id, idle_time, expire_time), DELETE ON identity.sessions TO {sweep};
GRANT SELECT (account_id, id, expire_time), DELETE ON identity.api_keys TO {sweep};
GRANT SELECT (account_id, employee_id, purpose, expire_time), DELETE ON identity.codes TO {sweep};
GRANT SELECT (account_id, id, expire_time), DELETE ON identity.invitations TO {sweep};
GRANT SELECT (account_id, id, time), DELETE ON identity.audit_events TO {sweep};
GRANT SELECT (number, time), DELETE ON identity.revocations, identity.directory_events TO {sweep};
GRANT SELECT (id) ON identity.accounts TO {sweep};

DROP POLICY IF EXISTS sweep ON identity.accounts;
DROP POLICY IF EXISTS sweep ON identity.answers;
DROP POLICY IF EXISTS sweep ON identity.employee_tokens;
DROP POLICY IF EXISTS sweep ON identity.revoked_tokens;
DROP POLICY IF EXISTS sweep ON identity.revoked_sessions;
DROP POLICY IF EXISTS sweep ON identity.sessions;
DROP POLICY IF EXISTS sweep ON identity.api_keys;
DROP POLICY IF EXISTS sweep ON identity.codes;
DROP POLICY IF EXISTS sweep ON identity.invitations;
DROP POLICY IF EXISTS sweep ON identity.audit_events;
DROP POLICY IF EXISTS sweep_age ON identity.answers;
DROP POLICY IF EXISTS sweep_age ON identity.audit_events;
CREATE POLICY sweep ON identity.accounts FOR SELECT TO {sweep} USING (true);
CREATE POLICY sweep ON identity.answers TO {sweep} USING (true);
CREATE POLICY sweep ON identity.employee_tokens TO {sweep} USING (true);
CREATE POLICY sweep ON identity.revoked_tokens TO {sweep} USING (true);
CREATE POLICY sweep ON identity.revoked_sessions TO {sweep} USING (true);
CREATE POLICY sweep ON identity.sessions TO {sweep} USING (true);
CREATE POLICY sweep ON identity.api_keys TO {sweep} USING (true);
CREATE POLICY sweep ON identity.codes TO {sweep} USING (true);
CREATE POLICY sweep ON identity.invitations TO {sweep} USING (true);
CREATE POLICY sweep ON identity.audit_events TO {sweep} USING (true);
CREATE POLICY sweep_age ON identity.answers AS RESTRICTIVE TO {sweep}
    USING (create_time < now() - interval '1 day');
CREATE POLICY sweep_age ON identity.audit_events AS RESTRICTIVE TO {sweep}
    USING (time < now() - interval '30 days')
