-- What the CRM keeps of accounts and employees, told by identity-service: a copy, in which a
-- newer word replaces an older one and never the other way round.

-- Empty until the directory has told them.
ALTER TABLE crm.accounts
    ADD COLUMN name             text   NOT NULL DEFAULT '',
    ADD COLUMN default_currency text   NOT NULL DEFAULT '',
    ADD COLUMN time_zone        text   NOT NULL DEFAULT '',
    ADD COLUMN state            text   NOT NULL DEFAULT 'open',
    -- Which event of the directory said so last.
    ADD COLUMN epoch            text   NOT NULL DEFAULT '',
    ADD COLUMN sequence         bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT accounts_state_check CHECK (state IN ('open', 'closed'));

CREATE TABLE crm.employees (
    account_id bigint NOT NULL,
    -- Identity's.
    id         bigint NOT NULL,
    name       text   NOT NULL,
    state      text   NOT NULL,
    epoch      text   NOT NULL,
    sequence   bigint NOT NULL,
    CONSTRAINT employees_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT employees_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id),
    CONSTRAINT employees_state_check CHECK (state IN ('active', 'inactive', 'deleted'))
);

-- How far the directory was read: one row, of no account.
CREATE TABLE crm.directory_cursor (
    name   text   NOT NULL,
    epoch  text   NOT NULL,
    number bigint NOT NULL,
    CONSTRAINT directory_cursor_pkey PRIMARY KEY (name)
);

ALTER TABLE crm.employees ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON crm.employees
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
