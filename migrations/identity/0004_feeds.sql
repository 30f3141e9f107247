-- What others have to learn, numbered in the order in which it became true.

-- The counters. A transaction locks its row last, so that numbers are given in commit order.
CREATE TABLE identity.feeds (
    name   text   NOT NULL,
    -- New whenever the database is promoted or restored: numbers of two epochs do not compare.
    epoch  uuid   NOT NULL DEFAULT gen_random_uuid(),
    number bigint NOT NULL DEFAULT 0,
    CONSTRAINT feeds_pkey PRIMARY KEY (name)
);

INSERT INTO identity.feeds (name) VALUES ('revocations'), ('directory');

-- Everything that changes what ValidateToken would answer.
CREATE TABLE identity.revocations (
    number     bigint      NOT NULL,
    account_id bigint      NOT NULL,
    -- account, employee, session or api_key
    kind       text        NOT NULL,
    id         bigint      NOT NULL,
    time       timestamptz NOT NULL,
    CONSTRAINT revocations_pkey PRIMARY KEY (number)
);

CREATE INDEX revocations_by_age ON identity.revocations (time);

-- Employees and accounts, as other services keep them.
CREATE TABLE identity.directory_events (
    number     bigint      NOT NULL,
    account_id bigint      NOT NULL,
    -- account or employee
    kind       text        NOT NULL,
    id         bigint      NOT NULL,
    body       jsonb       NOT NULL,
    time       timestamptz NOT NULL,
    CONSTRAINT directory_events_pkey PRIMARY KEY (number)
);

CREATE INDEX directory_events_by_age ON identity.directory_events (time);
