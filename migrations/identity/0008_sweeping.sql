-- By which what has ended is found, for the sweep.

CREATE INDEX sessions_by_end ON identity.sessions (least(idle_time, expire_time));
CREATE INDEX api_keys_by_end ON identity.api_keys (expire_time);
