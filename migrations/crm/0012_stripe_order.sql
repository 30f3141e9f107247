-- What makes Stripe's events lead to the same state in whatever order they come, and a few at a
-- time.

-- Whether a person said so, or Stripe. Of what was written before there was this column nobody
-- knows it: it counts as a person's, so that nothing older undoes it.
ALTER TABLE crm.payment_events ADD COLUMN by_person boolean NOT NULL DEFAULT true;

-- Customers of Stripe's who became known while charges waited for them: these are recorded next.
-- In a table of its own, for whoever goes on with it looks into all accounts.
CREATE TABLE crm.stripe_backlogs (
    account_id         bigint      NOT NULL,
    stripe_customer_id text        NOT NULL,
    create_time        timestamptz NOT NULL,
    CONSTRAINT stripe_backlogs_pkey PRIMARY KEY (account_id, stripe_customer_id),
    CONSTRAINT stripe_backlogs_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id)
);

-- The charges that wait for a customer, in the order in which they happened.
CREATE INDEX stripe_events_parked_charges
    ON crm.stripe_events (account_id, customer_id, event_time, id)
    WHERE state = 'parked' AND facts ->> 'fact' = 'charged';
-- What waits that is about the customer and no charge.
CREATE INDEX stripe_events_parked_customers ON crm.stripe_events (account_id, customer_id)
    WHERE state = 'parked' AND charge_id = '';
-- For the sweep.
CREATE INDEX stripe_events_parked_by_age ON crm.stripe_events (create_time)
    WHERE state = 'parked';

ALTER TABLE crm.stripe_backlogs ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON crm.stripe_backlogs
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
