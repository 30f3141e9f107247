-- The processes that give leases on answers of ValidateToken, each start of one with a row of its
-- own: made before its first lease, and deleted only when all that it gave is over.
CREATE TABLE identity.lease_givers (
    id        uuid    NOT NULL,
    -- A place in the log of revocations: nobody holds a lease of this process any more that was
    -- given without the events up to it.
    epoch     uuid    NOT NULL,
    number    bigint  NOT NULL,
    -- Counts up while the process lives.
    beat      bigint  NOT NULL DEFAULT 0,
    -- Nobody gives a lease by it any more.
    is_fenced boolean NOT NULL DEFAULT false,
    CONSTRAINT lease_givers_pkey PRIMARY KEY (id)
);
