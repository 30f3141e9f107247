//! Which rules of the protocol are kept? All of them, but in a test that shows what one is for.

use std::cell::Cell;

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        /// Each can be switched off.
        #[derive(Debug, Clone, Copy)]
        pub struct Rules { $(pub $rule: bool),* }

        impl Rules {
            pub const ALL: Self = Self { $($rule: true),* };

            /// All but one, for each of them, and what it is called.
            pub fn all_but_one() -> Vec<(&'static str, Self)> {
                vec![$((stringify!($rule), Self { $rule: false, ..Self::ALL })),*]
            }
        }
    };
}

rules! {
    // Of places in the log.
    epochs_do_not_compare,
    nothing_is_missing,
    numbers_in_commit_order,
    // Of whoever gives.
    note_before_reading,
    note_outlives_its_stream,
    note_belongs_to_a_start,
    note_has_a_margin,
    read_after_the_ping,
    // Of the table.
    row_before_the_first_lease,
    no_lease_by_a_fenced_row,
    published_late,
    deleted_late,
    // Of whoever waits.
    wait_after_commit,
    wait_for_others,
    repeats_wait,
    // Of whoever holds.
    own_ping,
    from_sending,
    acknowledged_when_applied,
    reset_drops_what_is_kept,
    floor_after_reset,
    events_drop_answers,
    one_moment_for_facts_and_number,
    overtaken_answers_fall,
    refusals_fall,
    lease_on_every_hit,
    joined_answers_are_kept_ones,
    // Of time; not of the promise, and so with tests of their own.
    answers_age,
    answers_expire,
}

thread_local! {
    static CURRENT: Cell<Rules> = const { Cell::new(Rules::ALL) };
}

/// Those that this thread keeps.
pub fn current() -> Rules {
    CURRENT.get()
}

/// Does something while others are kept.
pub fn keeping<T>(rules: Rules, work: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(rules);
    let done = work();
    CURRENT.set(before);
    done
}
