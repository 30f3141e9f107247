//! What should there be, as the migrations and `roles.sql` say it?
//!
//! They are read here, not run: a second database to compare with is not ours to make on
//! somebody's server. Only their own, plain way of writing is understood; that a fresh database
//! has no findings, which the tests show, says that nothing in them was misread.

use std::collections::BTreeSet;

use crate::db::{Roles, Schema};

/// What there should be in a schema; names without it.
#[derive(Debug, Default)]
pub struct Expected {
    pub tables: BTreeSet<String>,
    /// Those in which row security is on.
    pub secured: BTreeSet<String>,
    pub indexes: BTreeSet<String>,
    pub policies: BTreeSet<Policy>,
    pub grants: BTreeSet<Grant>,
    /// Whoever may use the sequences, whichever there are.
    pub of_sequences: BTreeSet<String>,
}

/// A policy, but for its conditions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct Policy {
    pub table: String,
    pub name: String,
    pub is_permissive: bool,
    pub command: String,
    pub role: String,
}

/// What a role may do to a table, or to one of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct Grant {
    pub role: String,
    pub table: String,
    /// None: the whole table.
    pub column: Option<String>,
    pub privilege: String,
}

impl Expected {
    pub fn of(schema: &Schema, roles: &Roles) -> Self {
        let mut expected = Self::default();
        let grants = schema
            .grants
            .replace("{app}", &roles.app)
            .replace("{lookup}", &roles.lookup)
            .replace("{sweep}", &roles.sweep);
        let migrations = schema.migrator.iter().map(|migration| migration.sql.as_str());
        for script in migrations.chain([grants.as_str()]) {
            for statement in statements(script) {
                expected.read(&words(&statement), schema.name);
            }
        }
        expected
    }

    fn read(&mut self, words: &[&str], schema: &str) {
        let local = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        match words {
            ["CREATE", "TABLE", name, ..] => drop(self.tables.insert(local(name))),
            ["DROP", "TABLE", names @ ..] => {
                for name in names {
                    let name = local(name);
                    self.tables.remove(&name);
                    self.secured.remove(&name);
                    self.policies.retain(|policy| policy.table != name);
                }
            }
            ["ALTER", "TABLE", name, "ENABLE", "ROW", ..] => {
                self.secured.insert(local(name));
            }
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                self.indexes.insert(local(name));
            }
            ["DROP", "INDEX", names @ ..] => {
                for name in names {
                    self.indexes.remove(&local(name));
                }
            }
            ["CREATE", "POLICY", name, "ON", table, rest @ ..] => {
                self.policies.insert(policy(name, local(table), rest));
            }
            ["GRANT", rest @ ..] => self.grant(rest, schema),
            _ => {}
        }
    }

    fn grant(&mut self, words: &[&str], schema: &str) {
        let Some(on) = words.iter().position(|word| *word == "ON") else { return };
        let Some(to) = words.iter().position(|word| *word == "TO") else { return };
        let roles = names(&words[to + 1..]);
        match &words[on + 1..to] {
            ["SCHEMA", ..] => {}
            ["ALL", "SEQUENCES", ..] => self.of_sequences.extend(roles),
            tables => {
                for table in names(tables) {
                    let table = table.trim_start_matches(&format!("{schema}.")).to_owned();
                    for (privilege, column) in privileges(&words[..on]) {
                        self.grants.extend(roles.iter().map(|role| Grant {
                            role: role.clone(),
                            table: table.clone(),
                            column: column.clone(),
                            privilege: privilege.clone(),
                        }));
                    }
                }
            }
        }
    }
}

fn policy(name: &str, table: String, rest: &[&str]) -> Policy {
    let after = |word: &str| {
        let place = rest.iter().take_while(|word| **word != "USING").position(|it| *it == word);
        place.and_then(|place| rest.get(place + 1))
    };
    Policy {
        table,
        name: name.to_owned(),
        is_permissive: after("AS").is_none_or(|kind| *kind == "PERMISSIVE"),
        command: after("FOR").map_or("ALL", |command| *command).to_owned(),
        role: after("TO").map_or("public", |role| *role).to_owned(),
    }
}

/// `SELECT (a, b), DELETE`: each of them, with each of its columns.
fn privileges(words: &[&str]) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let mut inside: Option<String> = None;
    for word in words {
        match (*word, &inside) {
            ("(", _) => inside = found.pop().map(|(privilege, _)| privilege),
            (")", _) => inside = None,
            (",", _) => {}
            (column, Some(privilege)) => {
                found.push((privilege.clone(), Some(column.to_owned())));
            }
            (privilege, None) => found.push((privilege.to_owned(), None)),
        }
    }
    found
}

fn names(words: &[&str]) -> Vec<String> {
    words.iter().filter(|word| **word != ",").map(|name| (*name).to_owned()).collect()
}

/// The statements of a script, without what is remarked.
fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split(';').map(str::to_owned).collect()
}

/// The words of a statement, parentheses and commas by themselves, and nothing conditional.
fn words(statement: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in statement.split_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')', ',']) {
            words.extend([&rest[..at], &rest[at..=at]].into_iter().filter(|part| !part.is_empty()));
            rest = &rest[at + 1..];
        }
        words.extend((!rest.is_empty()).then_some(rest));
    }
    words.retain(|word| !["IF", "NOT", "EXISTS", "CONCURRENTLY", "CASCADE"].contains(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Expected {
        let mut expected = Expected::default();
        for statement in statements(script) {
            expected.read(&words(&statement), "x");
        }
        expected
    }

    fn list<T: Ord + Clone>(set: &BTreeSet<T>) -> Vec<T> {
        set.iter().cloned().collect()
    }

    #[test]
    fn what_comes_and_goes_in_migrations_is_followed() {
        let expected = read(
            "-- A table; with a remark.
             CREATE TABLE x.a (id bigint);
             CREATE TABLE IF NOT EXISTS x.b(id bigint);
             CREATE UNIQUE INDEX a_id ON x.a (id); CREATE INDEX b_id ON x.b (id);
             ALTER TABLE x.a ENABLE ROW LEVEL SECURITY;
             ALTER TABLE x.a ADD COLUMN c text;
             CREATE POLICY tenant ON x.a USING (id = 1);
             DROP TABLE IF EXISTS x.b; DROP INDEX x.b_id",
        );
        assert_eq!(list(&expected.tables), ["a"]);
        assert_eq!(list(&expected.secured), ["a"]);
        assert_eq!(list(&expected.indexes), ["a_id"]);
        let policy = list(&expected.policies).remove(0);
        assert_eq!((policy.command.as_str(), policy.role.as_str()), ("ALL", "public"));
        assert!(policy.is_permissive);
    }

    #[test]
    fn grants_are_taken_apart_by_role_table_and_column() {
        let expected = read(
            "GRANT USAGE ON SCHEMA x TO one, two; GRANT USAGE ON ALL SEQUENCES IN SCHEMA x TO one;
             GRANT SELECT (a, b), DELETE ON x.t, x.u TO one;
             CREATE POLICY old ON x.t AS RESTRICTIVE FOR SELECT TO one USING (true)",
        );
        let said = |grant: &Grant| {
            let column = grant.column.clone().unwrap_or_default();
            format!("{} {} {column} {}", grant.role, grant.table, grant.privilege)
        };
        let grants: Vec<_> = expected.grants.iter().map(said).collect();
        let of_t = ["one t  DELETE", "one t a SELECT", "one t b SELECT"];
        assert_eq!(grants[..3], of_t);
        assert_eq!(grants.len(), 6);
        assert_eq!(list(&expected.of_sequences), ["one"]);
        let policy = list(&expected.policies).remove(0);
        assert_eq!((policy.command.as_str(), policy.role.as_str()), ("SELECT", "one"));
        assert!(!policy.is_permissive);
    }
}
