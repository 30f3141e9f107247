-- Who may do what in the schema: run after every migration, all of it. {app} and {lookup}
-- stand for the two narrow roles. Nothing here ends in a semicolon but what is between two.

GRANT USAGE ON SCHEMA crm TO {app}, {lookup};
GRANT SELECT ON crm.migrations TO {lookup};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA crm TO {app};

GRANT SELECT, INSERT ON crm.accounts TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.clients TO {app};
GRANT SELECT, INSERT, DELETE ON crm.client_search_words TO {app};
GRANT SELECT, INSERT, UPDATE ON crm.answers TO {app}
