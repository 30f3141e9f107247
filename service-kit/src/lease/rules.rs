//! Which rules of the protocol are kept? All of them, but in a test that shows what one is for.

use std::cell::Cell;

/// Each can be switched off.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub epochs_do_not_compare: bool,
    pub floor_after_reset: bool,
    pub reset_behind_a_gap: bool,
    pub reset_drops_what_is_kept: bool,
    pub events_drop_answers: bool,
    pub overtaken_answers_fall: bool,
    pub refusals_fall: bool,
    pub answers_age: bool,
    pub answers_expire: bool,
    pub own_ping: bool,
    pub from_sending: bool,
    pub lease_on_every_hit: bool,
    pub published_late: bool,
    pub deleted_late: bool,
}

impl Rules {
    pub const ALL: Self = Self {
        epochs_do_not_compare: true,
        floor_after_reset: true,
        reset_behind_a_gap: true,
        reset_drops_what_is_kept: true,
        events_drop_answers: true,
        overtaken_answers_fall: true,
        refusals_fall: true,
        answers_age: true,
        answers_expire: true,
        own_ping: true,
        from_sending: true,
        lease_on_every_hit: true,
        published_late: true,
        deleted_late: true,
    };
}

thread_local! {
    static CURRENT: Cell<Rules> = const { Cell::new(Rules::ALL) };
}

/// Those that this thread keeps.
pub fn current() -> Rules {
    CURRENT.get()
}
