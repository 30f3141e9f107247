-- For the sweep, and for it alone: an index in order of time over all accounts is one that the
-- list of an account's parked events was read from too, past those of everybody else.
DROP INDEX crm.stripe_events_parked_by_age;
CREATE INDEX stripe_events_parked_by_age ON crm.stripe_events USING brin (create_time)
    WHERE state = 'parked';
