//! What does somebody say who signs a company up?

use proto::identity::v1 as pb;
use service_kit::fields::{Currency, Email, Fields, Text};

use crate::{
    accounts::model::NewAccount,
    employees::model::NewEmployee,
    invitations::model::{NewInvitation, parse_admins},
    passwords::NewPassword,
};

/// A sign-up in which everything is as it must be.
pub struct SignUp {
    pub account: NewAccount,
    pub employee: NewEmployee,
    pub password: NewPassword,
    /// Who else is to be an admin.
    pub additional_admins: Vec<NewInvitation>,
}

impl SignUp {
    pub fn parse(
        fields: &mut Fields,
        account: &pb::SignUpAccount,
        employee: &pb::SignUpEmployee,
        admins: &[pb::SignUpAdmin],
    ) -> Option<Self> {
        let account_name = fields.take("account.name", Text::required(&account.name));
        let account_email = fields.take("account.email", Email::optional(&account.email));
        let currency =
            fields.take("account.default_currency", Currency::optional(&account.default_currency));
        let name = fields.take("employee.name", Text::parse(&employee.name));
        let email = fields.take("employee.email", Email::required(&employee.email));
        let known = [
            account_name.as_ref().map_or("", Text::as_str),
            name.as_ref().map_or("", Text::as_str),
            email.as_ref().map_or("", Email::local_part),
        ];
        let password =
            fields.take("employee.password", NewPassword::parse(&employee.password, &known));
        let admins = parse_admins(fields, admins, email.as_ref());
        let email = email?;
        Some(Self {
            account: NewAccount {
                name: account_name?,
                email: account_email?.unwrap_or_else(|| email.clone()),
                default_currency: currency?.unwrap_or(Currency::USD),
            },
            employee: NewEmployee::super_admin(email, name?),
            password: password?,
            additional_admins: admins?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_fields_are_enough() {
        let account = pb::SignUpAccount { name: "Acme".into(), ..Default::default() };
        let employee = pb::SignUpEmployee {
            email: "ana@acme.example".into(),
            password: "correct horse".into(),
            ..Default::default()
        };
        let mut fields = Fields::default();
        let parsed = SignUp::parse(&mut fields, &account, &employee, &[]);
        let (sign_up,) = fields.all((parsed,)).expect("nothing is missing");
        assert_eq!(sign_up.account.email.as_str(), "ana@acme.example");
        assert_eq!(sign_up.account.default_currency.code(), "USD");
        assert_eq!(sign_up.employee.name.as_str(), "ana");
    }

    #[test]
    fn a_password_made_of_the_names_beside_it_is_refused() {
        for known in ["acme2026!", "Lovelace1", "ana.maria-1"] {
            let account = pb::SignUpAccount { name: "Acme".into(), ..Default::default() };
            let employee = pb::SignUpEmployee {
                email: "ana.maria@acme.example".into(),
                name: "Ada Lovelace".into(),
                password: known.into(),
            };
            let mut fields = Fields::default();
            let parsed = SignUp::parse(&mut fields, &account, &employee, &[]);
            let violations = fields.all((parsed,)).err().expect("it is known");
            let named: Vec<_> = violations.iter().map(|flaw| flaw.field.as_str()).collect();
            assert_eq!(named, ["employee.password"], "{known}");
        }
    }

    #[test]
    fn every_bad_address_of_an_admin_is_named_with_its_place() {
        let account = pb::SignUpAccount { name: "Acme".into(), ..Default::default() };
        let employee = pb::SignUpEmployee {
            email: "ana@acme.example".into(),
            password: "correct horse".into(),
            ..Default::default()
        };
        let addresses =
            ["bo@acme.example", "no address", "Bo@acme.example", "", "ANA@acme.example"];
        let admins = addresses.map(|email| pb::SignUpAdmin { email: email.into() });
        let mut fields = Fields::default();
        let parsed = SignUp::parse(&mut fields, &account, &employee, &admins);
        let violations = fields.all((parsed,)).err().expect("four are bad");
        let named: Vec<_> = violations.iter().map(|flaw| flaw.field.as_str()).collect();
        let places = [1, 2, 3, 4].map(|place| format!("additional_admins[{place}].email"));
        assert_eq!(named, places);
    }

    #[test]
    fn the_three_are_named_when_they_are_missing() {
        let mut fields = Fields::default();
        let parsed = SignUp::parse(
            &mut fields,
            &pb::SignUpAccount::default(),
            &pb::SignUpEmployee::default(),
            &[],
        );
        let violations = fields.all((parsed,)).err().expect("all are missing");
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["account.name", "employee.email", "employee.password"]);
        assert!(violations.only_missing());
    }
}
