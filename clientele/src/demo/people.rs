//! Who are the two companies, who works for them, and who are their clients?

use std::collections::HashMap;

use proto::{common::v1::Role, crm::v1 as pb, crm::v1::ClientStatus};

use super::chance::Chance;

/// A company of the demo.
pub struct Company {
    /// Begins the references of its payments.
    pub key: &'static str,
    pub name: &'static str,
    pub domain: &'static str,
    pub currency: &'static str,
    /// Its super admin comes first.
    pub team: &'static [Person],
    pub packages: &'static [Offer],
    pub clients: usize,
    /// In which countries its clients live, and how many of a hundred.
    countries: &'static [(u32, &'static str)],
}

/// Somebody who works there.
pub struct Person {
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub job: &'static str,
}

/// Something that is sold.
pub struct Offer {
    pub name: &'static str,
    pub description: &'static str,
    /// In whole units of the company's currency.
    pub price: i64,
}

/// Is made when everything else of its company is there.
pub const LAST_PACKAGE: Offer =
    Offer { name: "Alumni Circle", description: "A call each month, for a year.", price: 480 };

const fn person(first_name: &'static str, last_name: &'static str, job: &'static str) -> Person {
    Person { first_name, last_name, job }
}

const fn offer(name: &'static str, description: &'static str, price: i64) -> Offer {
    Offer { name, description, price }
}

pub const OWNER: &str = "Founder";
pub const ADMIN: &str = "Office manager";
pub const COACH: &str = "Coach";
pub const CLOSER: &str = "Closer";
pub const SETTER: &str = "Setter";

pub const COMPANIES: [Company; 2] = [
    Company {
        key: "NW",
        name: "Northwind Coaching",
        domain: "northwind.example",
        currency: "EUR",
        team: &[
            person("Ingrid", "Solberg", OWNER),
            person("Pieter", "Mulder", ADMIN),
            person("Carla", "Ricci", COACH),
            person("Jonas", "Weber", COACH),
            person("Amelie", "Laurent", COACH),
            person("Tom", "Bakker", CLOSER),
            person("Nadia", "Haddad", CLOSER),
            person("Luca", "Moretti", SETTER),
            person("Eva", "Lindqvist", SETTER),
        ],
        packages: &[
            offer("Kickstart", "Six weeks from a plan to a habit.", 1_200),
            offer("Momentum", "Six months, a session every two weeks.", 3_600),
            offer("Summit", "A year with a coach of your own.", 7_800),
            offer("Strength Check", "A day of tests, and what follows from them.", 450),
        ],
        clients: 140,
        countries: &[(28, "NL"), (26, "DE"), (18, "FR"), (8, "IE"), (12, "US"), (8, "JP")],
    },
    Company {
        key: "HB",
        name: "Harbor Sales",
        domain: "harbor.example",
        currency: "USD",
        team: &[
            person("Marcus", "Boyd", OWNER),
            person("Denise", "Alvarez", ADMIN),
            person("Priya", "Raman", COACH),
            person("Caleb", "Stone", COACH),
            person("Hana", "Mori", COACH),
            person("Victor", "Nguyen", CLOSER),
            person("Olivia", "Grant", CLOSER),
            person("Sam", "Okafor", SETTER),
        ],
        packages: &[
            offer("Pipeline Audit", "Where deals get stuck, in two weeks.", 950),
            offer("Closer Academy", "Twelve weeks of calls, recorded and discussed.", 2_988),
            offer("Team Accelerator", "A sales team, trained for half a year.", 9_600),
            offer("Deal Desk", "Somebody to ask, for a year.", 5_400),
        ],
        clients: 120,
        countries: &[(58, "US"), (14, "CA"), (8, "IE"), (8, "DE"), (12, "JP")],
    },
];

impl Person {
    pub fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    pub fn email(&self, company: &Company) -> String {
        format!("{}@{}", self.first_name.to_lowercase(), company.domain)
    }

    pub fn role(&self) -> Role {
        match self.job {
            OWNER => Role::SuperAdmin,
            ADMIN => Role::Admin,
            _ => Role::Employee,
        }
    }
}

/// The ids of those who do a job.
#[derive(Default)]
pub struct Team(pub HashMap<&'static str, Vec<i64>>);

impl Team {
    fn somebody(&self, job: &str, chance: &mut Chance) -> i64 {
        self.0.get(job).filter(|ids| !ids.is_empty()).map_or(0, |ids| *chance.one(ids))
    }
}

/// A client of a company, by number.
pub fn client(company: &Company, number: usize, team: &Team) -> pb::Client {
    let chance = &mut Chance::of(&format!("{} client {number}", company.key));
    let country = chance.weighted(company.countries);
    let (first_names, last_names) = names(country);
    let (first, last) = (*chance.one(first_names), *chance.one(last_names));
    let status = chance.weighted(&STATUSES);
    let digits = chance.below(10_000_000);
    let source = *chance.one(&["instagram", "webinar", "referral", "podcast", "ads"]);
    let labels = [("source", source), ("tier", *chance.one(&["bronze", "silver", "gold"]))];
    pb::Client {
        first_name: first.into(),
        last_name: last.into(),
        email: email(first, last, number),
        phone_number: format!("{} {digits:07}", calling_code(country)),
        status: status.into(),
        country: country.into(),
        currency: currency(country).into(),
        notes: if chance.percent(25) { (*chance.one(&NOTES)).into() } else { String::new() },
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        coach_id: if chance.percent(92) { team.somebody(COACH, chance) } else { 0 },
        closer_id: team.somebody(CLOSER, chance),
        setter_id: if chance.percent(75) { team.somebody(SETTER, chance) } else { 0 },
        ..Default::default()
    }
}

fn email(first: &str, last: &str, number: usize) -> String {
    let name = format!("{first}.{last}{number}").replace(' ', "").to_lowercase();
    format!("{name}@mail.example")
}

const STATUSES: [(u32, ClientStatus); 5] = [
    (62, ClientStatus::Active),
    (10, ClientStatus::Onboarding),
    (8, ClientStatus::Paused),
    (8, ClientStatus::Inactive),
    (12, ClientStatus::Cancelled),
];

const NOTES: [&str; 5] = [
    "Prefers calls in the morning.",
    "Came with a friend; both want the same coach.",
    "Asked for invoices by e-mail.",
    "Away in August.",
    "Wants to go on with the next package in spring.",
];

fn currency(country: &str) -> &'static str {
    match country {
        "US" | "CA" => "USD",
        "JP" => "JPY",
        _ => "EUR",
    }
}

fn calling_code(country: &str) -> &'static str {
    match country {
        "NL" => "+31 6",
        "DE" => "+49 151",
        "FR" => "+33 6",
        "IE" => "+353 85",
        "JP" => "+81 90",
        _ => "+1 555",
    }
}

type Names = (&'static [&'static str], &'static [&'static str]);

fn names(country: &str) -> Names {
    match country {
        "NL" => (
            &["Daan", "Sanne", "Bram", "Lotte", "Thijs", "Femke", "Ruben", "Anouk", "Joost"],
            &["de Vries", "Jansen", "Visser", "Smit", "Meijer", "van Dijk", "Bos", "Dekker"],
        ),
        "DE" => (
            &["Lukas", "Anna", "Felix", "Lena", "Paul", "Marie", "Max", "Katrin", "Moritz"],
            &["Schmidt", "Fischer", "Wagner", "Becker", "Hoffmann", "Koch", "Richter", "Wolf"],
        ),
        "FR" => (
            &["Camille", "Hugo", "Chloe", "Louis", "Manon", "Jules", "Elise", "Antoine"],
            &["Martin", "Bernard", "Dubois", "Moreau", "Lefebvre", "Girard", "Roux", "Fontaine"],
        ),
        "JP" => (
            &["Haruto", "Yui", "Sota", "Aoi", "Ren", "Sakura", "Kaito", "Mei", "Takumi"],
            &["Sato", "Suzuki", "Takahashi", "Tanaka", "Ito", "Watanabe", "Yamamoto", "Kato"],
        ),
        _ => (
            &["Grace", "Ethan", "Chloe", "Mason", "Nora", "Liam", "Ava", "Owen", "Zoe", "Declan"],
            &["Miller", "Johnson", "Carter", "Brooks", "Murphy", "Reed", "Walsh", "Bennett"],
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_client_is_the_same_each_time_and_nobody_else() {
        for company in &COMPANIES {
            let all = || {
                (0..company.clients)
                    .map(|number| client(company, number, &Team::default()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(all(), all());
            let addresses: HashSet<_> = all().into_iter().map(|client| client.email).collect();
            assert_eq!(addresses.len(), company.clients);
            let said = addresses.iter().all(|email| email.is_ascii() && !email.contains(' '));
            assert!(said, "{addresses:?}");
        }
    }

    #[test]
    fn each_company_has_every_status_and_three_currencies() {
        for company in &COMPANIES {
            let clients = (0..company.clients).map(|n| client(company, n, &Team::default()));
            let (statuses, currencies): (HashSet<_>, HashSet<_>) =
                clients.map(|client| (client.status, client.currency)).unzip();
            assert_eq!(statuses.len(), STATUSES.len(), "{}", company.name);
            assert_eq!(currencies.len(), 3, "{}", company.name);
        }
    }

    #[test]
    fn everybody_has_an_address_and_a_part_in_clients_is_of_those_who_have_that_job() {
        for company in &COMPANIES {
            let addresses: HashSet<_> = company.team.iter().map(|one| one.email(company)).collect();
            assert_eq!(addresses.len(), company.team.len());
            assert_eq!(company.team[0].role(), Role::SuperAdmin);
            let team = Team(HashMap::from([(COACH, vec![1, 2]), (CLOSER, vec![3])]));
            let of = client(company, 5, &team);
            assert!(of.coach_id <= 2 && of.closer_id == 3 && of.setter_id == 0);
        }
    }
}
