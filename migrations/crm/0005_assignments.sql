-- Who looks after a client, who may therefore see it, how many clients there are of each
-- kind, and what changed, in the order in which it did.

ALTER TABLE crm.clients
    ADD COLUMN coach_id  bigint,
    ADD COLUMN closer_id bigint,
    ADD COLUMN setter_id bigint;
ALTER TABLE crm.clients ADD CONSTRAINT clients_coach_fkey
    FOREIGN KEY (account_id, coach_id) REFERENCES crm.employees (account_id, id);
ALTER TABLE crm.clients ADD CONSTRAINT clients_closer_fkey
    FOREIGN KEY (account_id, closer_id) REFERENCES crm.employees (account_id, id);
ALTER TABLE crm.clients ADD CONSTRAINT clients_setter_fkey
    FOREIGN KEY (account_id, setter_id) REFERENCES crm.employees (account_id, id);

-- Deleted clients too: an employee who is deleted leaves no assignment behind.
CREATE INDEX clients_by_coach ON crm.clients (account_id, coach_id, create_time, id)
    WHERE coach_id IS NOT NULL;
CREATE INDEX clients_by_closer ON crm.clients (account_id, closer_id, create_time, id)
    WHERE closer_id IS NOT NULL;
CREATE INDEX clients_by_setter ON crm.clients (account_id, setter_id, create_time, id)
    WHERE setter_id IS NOT NULL;

-- One row for each employee and client, whatever the parts, with what their lists are sorted
-- by: so that a page of one's own clients costs no more than a page of all.
CREATE TABLE crm.client_members (
    account_id  bigint           NOT NULL,
    employee_id bigint           NOT NULL,
    client_id   bigint           NOT NULL,
    is_coach    boolean          NOT NULL,
    is_closer   boolean          NOT NULL,
    is_setter   boolean          NOT NULL,
    -- Copies of the client's.
    create_time timestamptz      NOT NULL,
    name_key    text COLLATE "C" NOT NULL,
    is_live     boolean          NOT NULL,
    CONSTRAINT client_members_pkey PRIMARY KEY (account_id, employee_id, client_id),
    CONSTRAINT client_members_client_fkey FOREIGN KEY (account_id, client_id)
        REFERENCES crm.clients (account_id, id) ON DELETE CASCADE,
    CONSTRAINT client_members_employee_fkey FOREIGN KEY (account_id, employee_id)
        REFERENCES crm.employees (account_id, id),
    CONSTRAINT client_members_part_check CHECK (is_coach OR is_closer OR is_setter)
);

CREATE INDEX client_members_by_client ON crm.client_members (account_id, client_id);
CREATE INDEX client_members_by_create_time
    ON crm.client_members (account_id, employee_id, create_time, client_id) WHERE is_live;
CREATE INDEX client_members_by_name
    ON crm.client_members (account_id, employee_id, name_key, client_id) WHERE is_live;

-- How many live clients there are of each status: of the account (employee 0), and of each
-- employee who has a part in them.
CREATE TABLE crm.client_counts (
    account_id  bigint NOT NULL,
    employee_id bigint NOT NULL,
    status      text   NOT NULL,
    clients     bigint NOT NULL,
    CONSTRAINT client_counts_pkey PRIMARY KEY (account_id, employee_id, status),
    CONSTRAINT client_counts_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id)
);

-- The number of the last change: locked last, so that numbers are in the order of the commits.
CREATE TABLE crm.client_feeds (
    account_id bigint NOT NULL,
    number     bigint NOT NULL,
    CONSTRAINT client_feeds_pkey PRIMARY KEY (account_id),
    CONSTRAINT client_feeds_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id)
);

CREATE TABLE crm.client_changes (
    account_id bigint      NOT NULL,
    number     bigint      NOT NULL,
    client_id  bigint      NOT NULL,
    time       timestamptz NOT NULL,
    -- The employees who had a part in it before, of whom some may have lost sight of it.
    before     bigint[]    NOT NULL,
    CONSTRAINT client_changes_pkey PRIMARY KEY (account_id, number),
    CONSTRAINT client_changes_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id)
);

-- For the sweep.
CREATE INDEX client_changes_by_age ON crm.client_changes (time);

ALTER TABLE crm.client_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.client_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.client_feeds ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.client_changes ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON crm.client_members
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
CREATE POLICY tenant ON crm.client_counts
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
CREATE POLICY tenant ON crm.client_feeds
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
CREATE POLICY tenant ON crm.client_changes
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);

-- The clients that were there before they were counted.
INSERT INTO crm.client_counts (account_id, employee_id, status, clients)
SELECT account_id, 0, status, count(*) FROM crm.clients WHERE delete_time IS NULL
GROUP BY account_id, status;
