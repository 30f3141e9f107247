//! What does identity say of an employee or an account, and as of when?

use std::collections::BTreeMap;

use proto::identity::v1::{self as pb, AccountState, EmployeeState, directory_event::Subject};

/// A place in identity's log: right behind the event of this number.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Position {
    pub epoch: String,
    pub number: i64,
}

impl From<pb::DirectoryPosition> for Position {
    fn from(pb::DirectoryPosition { epoch, number }: pb::DirectoryPosition) -> Self {
        Self { epoch, number }
    }
}

impl From<Position> for pb::DirectoryPosition {
    fn from(Position { epoch, number }: Position) -> Self {
        Self { epoch, number }
    }
}

/// Whether and how somebody can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    Inactive,
    Deleted,
}

impl State {
    /// As it stands in the column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }
}

impl From<String> for State {
    fn from(text: String) -> Self {
        match text.as_str() {
            "active" => Self::Active,
            "inactive" => Self::Inactive,
            _ => Self::Deleted,
        }
    }
}

impl From<EmployeeState> for State {
    fn from(state: EmployeeState) -> Self {
        match state {
            EmployeeState::Active => Self::Active,
            EmployeeState::Inactive => Self::Inactive,
            // Also what a later version says: nobody is to be worked with by mistake.
            EmployeeState::Deleted | EmployeeState::Unspecified => Self::Deleted,
        }
    }
}

/// An employee of the account, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Employee {
    pub id: i64,
    #[sqlx(try_from = "String")]
    pub state: State,
}

/// What is kept of an employee, and as of when.
#[derive(Debug, sqlx::FromRow)]
pub struct Copy {
    pub id: i64,
    #[sqlx(try_from = "String")]
    pub state: State,
    #[sqlx(flatten)]
    position: Position,
}

impl Copy {
    /// Whether an answer as of that place has anything to add to it.
    pub fn is_before(&self, place: &Position) -> bool {
        self.position.epoch != place.epoch || self.position.number < place.number
    }
}

/// What identity says of an employee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub id: i64,
    pub name: String,
    pub state: State,
    /// It is true as of the event of this number.
    pub number: i64,
}

impl Word {
    pub fn new(employee: pb::DirectoryEmployee, number: i64) -> Self {
        let state = employee.state().into();
        Self { id: employee.id, name: employee.name, state, number }
    }

    /// About somebody whom identity does not know any more.
    pub fn unknown(id: i64, number: i64) -> Self {
        Self { id, name: String::new(), state: State::Deleted, number }
    }
}

/// What identity says of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWord {
    pub name: String,
    pub default_currency: String,
    pub time_zone: String,
    pub is_open: bool,
    pub number: i64,
}

impl AccountWord {
    pub fn new(account: pb::DirectoryAccount, number: i64) -> Self {
        // Whatever a later version says: nobody works in it by mistake.
        let is_open = account.state() == AccountState::Open;
        let settings = account.settings.unwrap_or_default();
        Self {
            name: account.name,
            default_currency: settings.default_currency,
            time_zone: settings.time_zone,
            is_open,
            number,
        }
    }
}

/// What there is to know of one account, each employee's last word.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    pub account: Option<AccountWord>,
    /// Who was deleted, by id; some may be back by now.
    pub gone: BTreeMap<i64, Word>,
    /// Who is there.
    pub there: BTreeMap<i64, Word>,
}

impl News {
    /// Events in their order, taken apart by account.
    pub fn by_account(events: Vec<pb::DirectoryEvent>) -> BTreeMap<i64, Self> {
        let mut all = BTreeMap::<_, Self>::new();
        for event in events {
            let number = event.number;
            match event.subject {
                Some(Subject::Employee(employee)) => {
                    let word = Word::new(employee, number);
                    all.entry(event.account_id).or_default().hear(word);
                }
                Some(Subject::Account(account)) => {
                    let word = AccountWord::new(account, number);
                    all.entry(event.account_id).or_default().account = Some(word);
                }
                // Of something that a later version tells.
                None => {}
            }
        }
        all
    }

    /// What was answered about one account.
    pub fn of(account: Option<AccountWord>, words: Vec<Word>) -> Self {
        let mut news = Self { account, ..Self::default() };
        words.into_iter().for_each(|word| news.hear(word));
        news
    }

    fn hear(&mut self, word: Word) {
        if word.state == State::Deleted {
            self.there.remove(&word.id);
            self.gone.insert(word.id, word);
        } else {
            self.there.insert(word.id, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn employee(number: i64, account_id: i64, id: i64, state: EmployeeState) -> pb::DirectoryEvent {
        let name = number.to_string();
        let employee = pb::DirectoryEmployee { id, name, state: state.into() };
        pb::DirectoryEvent { number, account_id, subject: Some(Subject::Employee(employee)) }
    }

    #[test]
    fn the_last_word_holds_and_a_deletion_is_never_overlooked() {
        use EmployeeState::{Active, Deleted, Inactive};
        let later = pb::DirectoryEvent { number: 7, account_id: 9, subject: None };
        let all = News::by_account(vec![
            employee(1, 1, 10, Active),
            employee(2, 1, 11, Active),
            employee(3, 2, 20, Deleted),
            employee(4, 1, 10, Deleted),
            employee(5, 1, 10, Inactive),
            employee(6, 1, 11, Deleted),
            later,
        ]);
        let word = |id, number: i64, state| Word { id, name: number.to_string(), state, number };
        let expected = News {
            account: None,
            gone: [(10, word(10, 4, State::Deleted)), (11, word(11, 6, State::Deleted))].into(),
            there: [(10, word(10, 5, State::Inactive))].into(),
        };
        assert_eq!(all.keys().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!(all[&1], expected);
        assert_eq!(all[&2].gone.len(), 1);
        let words = vec![word(10, 5, State::Inactive), Word::unknown(12, 5)];
        let answered = News::of(None, words);
        assert_eq!((answered.there.len(), answered.gone.len()), (1, 1));
    }

    #[test]
    fn an_account_in_a_state_of_a_later_version_is_closed() {
        let account = pb::DirectoryAccount { state: 99, ..Default::default() };
        assert!(!AccountWord::new(account.clone(), 1).is_open);
        let open = pb::DirectoryAccount { state: AccountState::Open.into(), ..account };
        assert!(AccountWord::new(open, 1).is_open);
    }

    #[test]
    fn a_state_is_read_as_it_is_written_and_an_unknown_one_is_gone() {
        for state in [State::Active, State::Inactive, State::Deleted] {
            assert_eq!(State::from(state.text().to_owned()), state);
        }
        assert_eq!(State::from("on leave".to_owned()), State::Deleted);
        let later = pb::DirectoryEmployee { id: 7, name: "Ana".into(), state: 99 };
        assert_eq!(Word::new(later, 3).state, State::Deleted);
    }
}
