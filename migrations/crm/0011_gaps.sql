-- What somebody missed is noticed: after a restore of the database, and of accounts that were
-- there before anybody told of them.

-- When the last change was made: numbers begin anew where a restore took changes back, instants do
-- not. So a place in a feed is a number and this. Whatever was there before has no instant yet.
ALTER TABLE crm.client_feeds
    ADD COLUMN time        timestamptz NOT NULL DEFAULT 'epoch',
    -- What it was before the transaction that wrote it last.
    ADD COLUMN time_before timestamptz NOT NULL DEFAULT 'epoch';

ALTER TABLE crm.client_changes
    -- When the change before it was made: it goes on from there only.
    ADD COLUMN time_before timestamptz NOT NULL DEFAULT 'epoch';

-- Accounts that were met and that nobody told of yet.
CREATE INDEX accounts_untold ON crm.accounts (id) WHERE epoch = '';
