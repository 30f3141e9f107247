//! Which clients are asked for?

use proto::crm::v1 as pb;
use service_kit::fields::{Country, Fields, parse_search};

use super::{
    parts::{Parts, employee},
    status::STATUSES,
};

/// What narrows lists and statistics: all of it together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub statuses: Vec<&'static str>,
    /// The employees who must have the parts; nobody: whoever has them.
    pub parts: Parts,
    pub country: Option<Country>,
    /// Folded; each must begin a word of the client.
    pub words: Vec<String>,
}

/// The fields of a request that narrow.
pub struct Asked<'a> {
    status: &'a [i32],
    parts: Parts,
    country: &'a str,
    search: &'a str,
}

macro_rules! narrows {
    ($($request:ty),+) => {
        $(impl<'a> From<&'a $request> for Asked<'a> {
            fn from(request: &'a $request) -> Self {
                Self {
                    status: &request.status,
                    parts: Parts {
                        coach_id: employee(request.coach_id),
                        closer_id: employee(request.closer_id),
                        setter_id: employee(request.setter_id),
                    },
                    country: &request.country,
                    search: &request.search,
                }
            }
        })+
    };
}
narrows!(
    pb::ListClientsRequest,
    pb::ListMyClientsRequest,
    pb::GetClientStatisticsRequest,
    pb::ExportClientsRequest
);

impl Filter {
    pub fn parse<'a>(fields: &mut Fields, asked: impl Into<Asked<'a>>) -> Option<Self> {
        let Asked { status, parts, country, search } = asked.into();
        let statuses = fields.take("status", STATUSES.filter(status));
        let country = fields.take("country", Country::optional(country));
        let words = fields.take("search", parse_search(search));
        Some(Self { statuses: statuses?, parts, country: country?, words: words? })
    }

    /// Which of them narrow, for the record: what somebody searches for may name a person.
    pub fn names(&self) -> Vec<&'static str> {
        let Parts { coach_id, closer_id, setter_id } = self.parts;
        let narrowing = [
            ("status", !self.statuses.is_empty()),
            ("coach_id", coach_id.is_some()),
            ("closer_id", closer_id.is_some()),
            ("setter_id", setter_id.is_some()),
            ("country", self.country.is_some()),
            ("search", !self.words.is_empty()),
        ];
        narrowing.into_iter().filter(|(_, narrows)| *narrows).map(|(name, _)| name).collect()
    }
}
