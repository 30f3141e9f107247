//! Is anything wrong with the database of a service, and what is to be done about it?
//!
//! Connects as the URL says, looks at everything and changes nothing. Most of it is in the
//! catalogue, which everybody may read; rows are looked at in the role for look-ups.

mod drift;
mod expected;
mod roles;
mod server;

use std::fmt;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    config::{DatabaseSettings, StartError},
    db::{
        Roles, Schema,
        check::to_do_on,
        connect::{cannot_look, to_look},
    },
};

/// Something that is not as it should be, in a sentence that says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    is_wrong: bool,
    sentence: String,
}

impl Finding {
    /// The service does not work rightly, or does not keep accounts apart.
    pub fn wrong(sentence: impl Into<String>) -> Self {
        Self { is_wrong: true, sentence: sentence.into() }
    }

    /// It works, and could stand better.
    pub fn warning(sentence: impl Into<String>) -> Self {
        Self { is_wrong: false, sentence: sentence.into() }
    }
}

/// A question that a service has beside those that both have.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What is asked: each row, one text, is a finding.
    pub asks: &'static str,
    /// Whether it looks at rows, which takes the role for look-ups, and not at the catalogue.
    pub of_rows: bool,
    /// The finding that a row stands for.
    pub finding: fn(&str) -> Finding,
}

/// All that was found.
#[derive(Debug)]
pub struct Report(Vec<Finding>);

impl Report {
    /// How it ends: well, also with warnings.
    pub fn verdict(&self) -> Result<(), StartError> {
        match self.0.iter().filter(|finding| finding.is_wrong).count() {
            0 => Ok(()),
            1 => Err(StartError::new("One thing is wrong.")),
            several => Err(StartError::new(format!("{several} things are wrong."))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("Nothing is wrong.");
        }
        for (place, Finding { is_wrong, sentence }) in self.0.iter().enumerate() {
            let line = if place == 0 { "" } else { "\n" };
            write!(f, "{line}{}: {sentence}", if *is_wrong { "wrong" } else { "warning" })?;
        }
        Ok(())
    }
}

/// Looks at everything.
///
/// # Errors
/// When the database does not answer, or does not let itself be looked at.
pub async fn examine(
    settings: &DatabaseSettings,
    schema: &Schema,
    checks: &[Check],
) -> Result<Report, StartError> {
    // Through a pooler that shares connections nothing else could be trusted.
    if let Some(finding) = server::shared_connections(settings).await? {
        return Ok(Report(vec![finding]));
    }
    let mut connection = to_look(settings).await?;
    let roles = Roles::new(&settings.pool.role_prefix, schema.name);
    let found = look(&mut connection, schema, &roles, checks).await;
    found.map(Report).map_err(cannot_look)
}

async fn look(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
    checks: &[Check],
) -> Result<Vec<Finding>, sqlx::Error> {
    let mut found = server::findings(connection).await?;
    let to_do = to_do_on(connection, schema, roles).await?;
    let up_to_date = to_do.is_empty();
    found.extend(to_do.into_iter().map(Finding::wrong));
    found.extend(roles::findings(connection, schema, roles).await?);
    if !up_to_date {
        // What else is missing follows from that.
        return Ok(found);
    }
    found.extend(drift::findings(connection, schema, roles).await?);
    for check in checks {
        found.extend(answers(connection, roles, check).await?);
    }
    Ok(found)
}

async fn answers(
    connection: &mut PgConnection,
    roles: &Roles,
    check: &Check,
) -> Result<Vec<Finding>, sqlx::Error> {
    if check.of_rows {
        let adopt = format!("SET ROLE \"{}\"", roles.lookup);
        sqlx::raw_sql(AssertSqlSafe(adopt)).execute(&mut *connection).await?;
    }
    let rows: Vec<String> = sqlx::query_scalar(check.asks).fetch_all(&mut *connection).await?;
    if check.of_rows {
        sqlx::raw_sql("RESET ROLE").execute(connection).await?;
    }
    Ok(rows.iter().map(|row| (check.finding)(row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_and_end_well() {
        assert_eq!(Report(vec![]).to_string(), "Nothing is wrong.");
        let report = Report(vec![Finding::warning("This."), Finding::warning("That.")]);
        assert_eq!(report.to_string(), "warning: This.\nwarning: That.");
        assert!(report.verdict().is_ok());
        let report = Report(vec![Finding::warning("This."), Finding::wrong("That.")]);
        assert_eq!(report.to_string(), "warning: This.\nwrong: That.");
        assert_eq!(report.verdict().unwrap_err().to_string(), "One thing is wrong.");
    }
}
