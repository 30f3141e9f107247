-- Who may do what in the schema: run after every migration, all of it. {app}, {lookup} and
-- {sweep} stand for the narrow roles. Nothing here ends in a semicolon but what is between two.

GRANT USAGE ON SCHEMA crm TO {app}, {lookup}, {sweep};
GRANT SELECT ON crm.migrations TO {lookup};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA crm TO {app};

GRANT SELECT, INSERT ON crm.accounts TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.clients TO {app};
GRANT SELECT, INSERT, DELETE ON crm.client_search_words TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.answers TO {app};
-- What is recorded stays as it is.
GRANT SELECT, INSERT ON crm.audit_events TO {app};

-- What is old is swept; of the records nothing that is younger than the shortest time for which
-- they can be kept, whatever the service asks for.
GRANT SELECT (account_id, actor, method, request_id, create_time), DELETE ON crm.answers TO {sweep};
GRANT SELECT (account_id, id, time), DELETE ON crm.audit_events TO {sweep};
GRANT SELECT (id) ON crm.accounts TO {sweep};

DROP POLICY IF EXISTS sweep ON crm.accounts;
DROP POLICY IF EXISTS sweep ON crm.answers;
DROP POLICY IF EXISTS sweep ON crm.audit_events;
DROP POLICY IF EXISTS sweep_age ON crm.answers;
DROP POLICY IF EXISTS sweep_age ON crm.audit_events;
CREATE POLICY sweep ON crm.accounts FOR SELECT TO {sweep} USING (true);
CREATE POLICY sweep ON crm.answers TO {sweep} USING (true);
CREATE POLICY sweep ON crm.audit_events TO {sweep} USING (true);
CREATE POLICY sweep_age ON crm.answers AS RESTRICTIVE TO {sweep}
    USING (create_time < now() - interval '1 day');
CREATE POLICY sweep_age ON crm.audit_events AS RESTRICTIVE TO {sweep}
    USING (time < now() - interval '30 days')
