-- Who may do what in the schema: run after every migration, all of it. {app}, {lookup} and
-- {sweep} stand for the narrow roles. Nothing here ends in a semicolon but what is between two.

GRANT USAGE ON SCHEMA crm TO {app}, {lookup}, {sweep};
GRANT SELECT ON crm.migrations TO {lookup};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA crm TO {app};

GRANT SELECT, INSERT, UPDATE ON crm.accounts, crm.employees, crm.directory_cursor TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.clients TO {app};
GRANT SELECT, INSERT, DELETE ON crm.client_search_words TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON crm.client_members TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.client_counts, crm.client_feeds TO {app};
GRANT SELECT, INSERT ON crm.client_changes TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.packages, crm.client_packages, crm.instalments TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.payments TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.payment_totals, crm.client_payment_totals TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON crm.stripe_customers, crm.stripe_endpoints TO {app};
GRANT SELECT, INSERT, DELETE ON crm.stripe_addresses, crm.stripe_backlogs TO {app};
GRANT SELECT, INSERT, UPDATE (state) ON crm.stripe_events TO {app};
GRANT SELECT, INSERT, UPDATE (row_number, fingerprint) ON crm.client_imports TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.answers TO {app};
-- What is recorded, and what happened to money, stays as it is.
GRANT SELECT, INSERT ON crm.audit_events TO {app};
GRANT SELECT, INSERT ON crm.payment_events, crm.allocation_entries TO {app};

-- To find out how far the directory was read, which employees it told of and which accounts not, in
-- which accounts there is news for those who watch, whose address Stripe calls, and for whom charges
-- wait.
GRANT SELECT ON crm.directory_cursor TO {lookup};
GRANT SELECT (account_id, id) ON crm.employees TO {lookup};
GRANT SELECT (id, epoch) ON crm.accounts TO {lookup};
GRANT SELECT ON crm.client_feeds TO {lookup};
GRANT SELECT ON crm.stripe_addresses, crm.stripe_backlogs TO {lookup};

DROP POLICY IF EXISTS lookup ON crm.accounts;
DROP POLICY IF EXISTS lookup ON crm.employees;
DROP POLICY IF EXISTS lookup ON crm.client_feeds;
DROP POLICY IF EXISTS lookup ON crm.stripe_addresses;
DROP POLICY IF EXISTS lookup ON crm.stripe_backlogs;
CREATE POLICY lookup ON crm.accounts FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON crm.employees FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON crm.client_feeds FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON crm.stripe_addresses FOR SELECT TO {lookup} USING (true);
CREATE POLICY lookup ON crm.stripe_backlogs FOR SELECT TO {lookup} USING (true);

-- What is old is swept; of the records nothing that is younger than the shortest time for which
-- they can be kept, whatever the service asks for.
GRANT SELECT (account_id, actor, method, request_id, create_time), DELETE ON crm.answers TO {sweep};
GRANT SELECT (account_id, id, time), DELETE ON crm.audit_events TO {sweep};
GRANT SELECT (account_id, number, time), DELETE ON crm.client_changes TO {sweep};
GRANT SELECT (account_id, event_id, create_time, state), DELETE ON crm.stripe_events TO {sweep};
GRANT SELECT (account_id, actor, request_id, create_time), DELETE ON crm.client_imports TO {sweep};
GRANT SELECT (id) ON crm.accounts TO {sweep};

DROP POLICY IF EXISTS sweep ON crm.accounts;
DROP POLICY IF EXISTS sweep ON crm.answers;
DROP POLICY IF EXISTS sweep ON crm.audit_events;
DROP POLICY IF EXISTS sweep ON crm.client_changes;
DROP POLICY IF EXISTS sweep ON crm.stripe_events;
DROP POLICY IF EXISTS sweep ON crm.client_imports;
DROP POLICY IF EXISTS sweep_age ON crm.client_changes;
DROP POLICY IF EXISTS sweep_age ON crm.answers;
DROP POLICY IF EXISTS sweep_age ON crm.stripe_events;
DROP POLICY IF EXISTS sweep_age ON crm.audit_events;
CREATE POLICY sweep ON crm.accounts FOR SELECT TO {sweep} USING (true);
CREATE POLICY sweep ON crm.answers TO {sweep} USING (true);
CREATE POLICY sweep ON crm.audit_events TO {sweep} USING (true);
CREATE POLICY sweep ON crm.client_changes TO {sweep} USING (true);
CREATE POLICY sweep ON crm.stripe_events TO {sweep} USING (true);
CREATE POLICY sweep ON crm.client_imports TO {sweep} USING (true);
CREATE POLICY sweep_age ON crm.stripe_events AS RESTRICTIVE TO {sweep}
    USING (create_time < now() - interval '30 days'
           AND (state <> 'parked' OR create_time < now() - interval '365 days'));
CREATE POLICY sweep_age ON crm.client_changes AS RESTRICTIVE TO {sweep}
    USING (time < now() - interval '7 days');
CREATE POLICY sweep_age ON crm.answers AS RESTRICTIVE TO {sweep}
    USING (create_time < now() - interval '1 day');
CREATE POLICY sweep_age ON crm.audit_events AS RESTRICTIVE TO {sweep}
    USING (time < now() - interval '30 days')
