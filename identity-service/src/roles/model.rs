//! What is a role, beside that of super admin, admin and employee?

use chrono::{DateTime, Utc};
use proto::identity::v1::{self as pb, SystemRole as PbSystemRole};
use service_kit::{
    clock, etag,
    fields::{Fields, Flaw, Text, fold},
    mask::Update,
    page::{KeyOf, Order},
};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A role of the fixed catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    Admin,
    User,
    TicketAdmin,
    TaskWorker,
    WorkflowCreator,
}

impl SystemRole {
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::User, Self::TicketAdmin, Self::TaskWorker, Self::WorkflowCreator];

    /// As it stands in the column, and was spelled by the old API.
    pub fn text(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::TicketAdmin => "ticket_admin",
            Self::TaskWorker => "task_worker",
            Self::WorkflowCreator => "workflow_creator",
        }
    }
}

impl From<SystemRole> for i32 {
    fn from(role: SystemRole) -> Self {
        let role = match role {
            SystemRole::Admin => PbSystemRole::Admin,
            SystemRole::User => PbSystemRole::User,
            SystemRole::TicketAdmin => PbSystemRole::TicketAdmin,
            SystemRole::TaskWorker => PbSystemRole::TaskWorker,
            SystemRole::WorkflowCreator => PbSystemRole::WorkflowCreator,
        };
        role.into()
    }
}

pub fn parse_system_role(number: i32) -> Result<SystemRole, Flaw> {
    if number == 0 {
        return Err(Flaw::Missing);
    }
    let known = SystemRole::ALL.into_iter().find(|role| i32::from(*role) == number);
    known.ok_or(Flaw::bad("must be a known system role"))
}

pub fn system_role_from_text(text: &str) -> Option<SystemRole> {
    SystemRole::ALL.into_iter().find(|role| role.text() == text)
}

/// The name of a company role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName(Text<100>);

impl RoleName {
    /// Names of roles that mean something by themselves, in whatever spelling: a company role
    /// must not pass for one of them.
    const RESERVED: [&str; 9] = [
        "superadmin",
        "admin",
        "employee",
        "user",
        "ticketadmin",
        "taskworker",
        "workflowcreator",
        "system",
        "owner",
    ];

    pub fn parse(text: &str) -> Result<Self, Flaw> {
        // Bounded before anything is done with it.
        let name: Text<100> = Text::required(text)?;
        // What nobody sees makes no other name.
        let name = Text::required(&name.as_str().replace(is_unseen, ""))?;
        let bare: String = fold(name.as_str()).chars().filter(|c| c.is_alphanumeric()).collect();
        if bare.is_empty() {
            return Err(Flaw::bad("must have a letter or a digit in it"));
        }
        if Self::RESERVED.iter().any(|reserved| *reserved == bare || looks_like(&bare, reserved)) {
            return Err(Flaw::bad("must not be the name of a role that there is anyway"));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Equal for two spellings of one name.
    pub fn key(&self) -> String {
        fold(self.0.as_str()).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Joiners, marks of direction and the like.
fn is_unseen(letter: char) -> bool {
    letter.general_category() == GeneralCategory::Format
}

/// Whether a folded text in which letters of another script stand for Latin ones reads like a
/// word in Latin letters.
fn looks_like(text: &str, word: &str) -> bool {
    !text.is_ascii() && text.chars().map(skeleton).eq(word.chars().map(skeleton))
}

/// What a small letter looks like, or its capital does; one for all that look alike.
fn skeleton(letter: char) -> char {
    match letter {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'і' | 'ι' | 'ӏ' | 'l' | '1' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' => 'k',
        'м' | 'μ' => 'm',
        'ո' | 'ν' | 'η' => 'n',
        'о' | 'ο' | 'օ' | 'σ' | '0' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        // The capital of one looks like the other.
        'у' | 'υ' | 'ս' | 'y' => 'u',
        'ԝ' | 'ω' | 'ш' => 'w',
        'х' | 'χ' => 'x',
        'ζ' => 'z',
        other => other,
    }
}

/// A company role as callers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    pub name: RoleName,
    pub description: Text<255>,
}

impl Details {
    pub fn parse(fields: &mut Fields, role: &pb::CompanyRole) -> Option<Self> {
        let name = fields.take("company_role.name", RoleName::parse(&role.name));
        let description = fields.take("company_role.description", Text::parse(&role.description));
        Some(Self { name: name?, description: description? })
    }
}

/// What an update means to change.
pub struct Change {
    pub name: Option<RoleName>,
    pub description: Option<Text<255>>,
}

impl Change {
    const PATHS: &[&str] = &["name", "description"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateCompanyRoleRequest) -> Option<Self> {
        let role = request.company_role.clone().unwrap_or_default();
        let mask = request.update_mask.as_ref();
        let mut update = Update::of(fields, "company_role", mask, Self::PATHS);
        let name = update.field("name", role.name.as_str(), RoleName::parse);
        let description = update.field("description", role.description.as_str(), Text::parse);
        Some(Self { name: name?, description: description? })
    }

    /// The names of the fields in which it differs from what there is.
    pub fn changes(&self, before: &CompanyRole) -> Vec<&'static str> {
        let name = self.name.as_ref().is_some_and(|name| name.as_str() != before.name);
        let description = self.description.as_ref();
        let description = description.is_some_and(|text| text.as_str() != before.description);
        let fields = [("name", name), ("description", description)];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// A company role as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct CompanyRole {
    pub id: i64,
    pub name: String,
    pub name_key: String,
    pub description: String,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

impl From<CompanyRole> for pb::CompanyRole {
    fn from(role: CompanyRole) -> Self {
        Self {
            id: role.id,
            name: role.name,
            description: role.description,
            create_time: Some(clock::timestamp(role.create_time)),
            update_time: Some(clock::timestamp(role.update_time)),
            etag: etag::of(role.version),
        }
    }
}

/// The orders that a list can be asked for.
pub const ORDERS: &[Order<CompanyRole>] = &[
    Order { name: "name", column: "name_key", key: KeyOf::Text(|role| role.name_key.clone()) },
    Order {
        name: "create_time",
        column: "create_time",
        key: KeyOf::Instant(|role| role.create_time),
    },
];
pub const DEFAULT_ORDER: &str = "name";

#[cfg(test)]
mod tests {
    use super::*;

    /// Security checklist 41.
    #[test]
    fn no_spelling_of_a_built_in_role_is_a_name() {
        for taken in [
            "admin",
            "ADMIN",
            " Admin ",
            "ad-min",
            "ａｄｍｉｎ",
            "Ádmin",
            "super_admin",
            "Super Admin",
            "ticket admin",
            "USER",
            "Workflow-Creator",
            "employee",
            "task.worker",
        ] {
            assert!(RoleName::parse(taken).is_err(), "{taken}");
        }
        for free in ["Administration", "Coach", "Closer 2", "密码"] {
            assert!(RoleName::parse(free).is_ok(), "{free}");
        }
        assert!(RoleName::parse("---").is_err());
    }

    /// Security checklist 41: nor what only looks like one.
    #[test]
    fn nothing_that_reads_like_a_built_in_role_is_a_name() {
        for taken in [
            "ad\u{200b}min",
            "\u{202e}admin\u{202c}",
            "аdmin",
            "АDМIN",
            "Αdmin",
            "οwner",
            "Uѕеr",
            "USΕR",
            "EMPLOΥEE",
            "Ѕuреr admin",
            "ѕуѕтем",
        ] {
            assert!(RoleName::parse(taken).is_err(), "{taken:?}");
        }
        for free in ["Менеджер", "Πωλητής", "sustem", "adm1n", "Клоузер 2"] {
            assert!(RoleName::parse(free).is_ok(), "{free}");
        }
    }

    #[test]
    fn what_nobody_sees_is_no_part_of_a_name() {
        let name = RoleName::parse("Co\u{200b}a\u{ad}ch\u{2060}").unwrap();
        assert_eq!((name.as_str(), name.key().as_str()), ("Coach", "coach"));
        assert_eq!(RoleName::parse("\u{200b}"), Err(Flaw::Missing));
    }

    #[test]
    fn spellings_of_one_name_have_one_key() {
        let key = |text| RoleName::parse(text).map(|name| name.key());
        assert_eq!(key("Senior  Coach"), key("senior cóach"));
        assert_ne!(key("Senior Coach"), key("SeniorCoach"));
    }
}
