//! Which clients are asked for?

use std::collections::BTreeSet;

use proto::crm::v1 as pb;
use service_kit::fields::{Country, Fields, Flaw, parse_search};

use super::{
    parts::{Parts, employee},
    status::{parse_status, status_text},
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
narrows!(pb::ListClientsRequest, pb::ListMyClientsRequest, pb::GetClientStatisticsRequest);

impl Filter {
    const MOST_STATUSES: usize = 16;

    pub fn parse<'a>(fields: &mut Fields, asked: impl Into<Asked<'a>>) -> Option<Self> {
        let Asked { status, parts, country, search } = asked.into();
        let statuses = fields.take("status", parse_statuses(status));
        let country = fields.take("country", Country::optional(country));
        let words = fields.take("search", parse_search(search));
        Some(Self { statuses: statuses?, parts, country: country?, words: words? })
    }
}

/// Each once, in an order of their own: equal filters are equal statements.
fn parse_statuses(statuses: &[i32]) -> Result<Vec<&'static str>, Flaw> {
    if statuses.len() > Filter::MOST_STATUSES {
        return Err(Flaw::bad("must be at most 16"));
    }
    let statuses = statuses.iter().map(|status| parse_status(*status).map(status_text));
    Ok(statuses.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
}
