//! What is an instalment?

use chrono::{DateTime, NaiveDate, Utc};
use proto::{
    common::v1::ErrorReason::{
        BelowAllocated, ClientMismatch, CurrencyMismatch, InstalmentClosed, InstalmentPaid,
        PaidFollowsFromPayments,
    },
    crm::v1::{self as pb, InstalmentStatus as Status},
};
use service_kit::{
    clock,
    error::Error,
    etag,
    fields::{
        Amount, Currency, Fields, Flaw, Money, Violations, date, id, optional_date, shown_money,
    },
    mask::Update,
    page::{KeyOf, Order},
};

use crate::{
    buyer::{Buyer, stored_currency},
    client_packages::model::ClientPackage,
    spelling::Spelling,
};

/// An instalment as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Instalment {
    pub id: i64,
    pub client_id: i64,
    pub client_package_id: Option<i64>,
    pub currency: String,
    #[sqlx(flatten)]
    pub details: Details,
    /// How much of it payments cover, in minor units.
    pub allocated: i64,
    /// What follows from all that.
    pub status: String,
    /// Whether its client is not deleted.
    pub has_live_client: bool,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

/// What may change of it, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Details {
    pub(super) instalment_number: i64,
    /// In minor units.
    pub(super) amount: i64,
    pub(super) schedule_date: NaiveDate,
    /// What was said of it: open, failed or closed.
    pub(super) state: String,
}

impl Details {
    /// The names of the fields in which it differs from what it was before.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("instalment_number", self.instalment_number != before.instalment_number),
            ("amount", self.amount != before.amount),
            ("schedule_date", self.schedule_date != before.schedule_date),
            ("status", self.state != before.state),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

impl Instalment {
    pub fn status(&self) -> Status {
        STATUSES.read(&self.status)
    }

    pub fn currency(&self) -> Result<Currency, Error> {
        stored_currency(&self.currency)
    }

    /// What of it is still to be paid, in minor units.
    fn open(&self) -> i64 {
        if self.is_receivable() { self.details.amount - self.allocated } else { 0 }
    }

    fn is_receivable(&self) -> bool {
        matches!(self.status(), Status::Open | Status::Failed)
    }

    /// Refuses any change of one that is paid or closed.
    fn must_be_receivable(&self) -> Result<(), Error> {
        match self.status() {
            Status::Paid => Err(Self::PAID),
            Status::Closed => Err(Error::Refused {
                reason: InstalmentClosed,
                sentence: "The instalment is closed and stays as it is.",
            }),
            _ => Ok(()),
        }
    }

    pub const PAID: Error = Error::Refused {
        reason: InstalmentPaid,
        sentence: "The instalment is paid and stays as it is.",
    };

    /// On the wire, on a day.
    pub fn shown(self, today: NaiveDate) -> pb::Instalment {
        let money = |minor: i64| Some(shown_money(minor.into(), &self.currency));
        let is_due = self.details.schedule_date < today;
        pb::Instalment {
            id: self.id,
            client_id: self.client_id,
            client_package_id: self.client_package_id.unwrap_or_default(),
            instalment_number: i32::try_from(self.details.instalment_number).unwrap_or(i32::MAX),
            amount: money(self.details.amount),
            allocated_amount: money(self.allocated),
            open_amount: money(self.open()),
            schedule_date: self.details.schedule_date.to_string(),
            status: self.status().into(),
            overdue: is_due && self.is_receivable() && self.has_live_client,
            create_time: Some(clock::timestamp(self.create_time)),
            update_time: Some(clock::timestamp(self.update_time)),
            etag: etag::of(self.version),
        }
    }
}

/// An instalment that is about to be.
pub struct New {
    pub client_id: i64,
    pub client_package_id: Option<i64>,
    /// Nothing: the next one.
    pub number: Option<i64>,
    amount: Amount,
    pub due: NaiveDate,
    status: Status,
}

impl New {
    /// Output-only fields are ignored.
    pub fn parse(fields: &mut Fields, said: &pb::Instalment) -> Option<Self> {
        let client_id = fields.take("instalment.client_id", id(said.client_id));
        let number = optional_number(said.instalment_number);
        let number = fields.take("instalment.instalment_number", number);
        let amount = fields.amount("instalment.amount", Amount::required(said.amount.as_ref()));
        let due = fields.take("instalment.schedule_date", date(&said.schedule_date));
        let status = fields.take("instalment.status", STATUSES.optional(said.status));
        Some(Self {
            client_id: client_id?,
            client_package_id: id(said.client_package_id).ok(),
            number: number?,
            amount: amount?,
            due: due?,
            status: status?.unwrap_or(Status::Open),
        })
    }

    /// What is said of it.
    pub fn state(&self) -> Result<&'static str, Error> {
        if self.status == Status::Paid { Err(PAID_FOLLOWS) } else { Ok(STATUSES.text(self.status)) }
    }

    /// How much it is for a client, and for what they bought.
    pub fn priced(&self, buyer: &Buyer, sold: Option<&ClientPackage>) -> Result<Money, Error> {
        let Some(sold) = sold else { return in_currency(&self.amount, buyer.currency()?) };
        if sold.client_id != buyer.id {
            let sentence = "The client package is another client's.";
            return Err(Error::Refused { reason: ClientMismatch, sentence });
        }
        let currency = sold.currency()?;
        let amount = in_currency(&self.amount, currency)?;
        must_be_in(amount, currency, "The client package is in another currency.")?;
        Ok(amount)
    }
}

fn in_currency(amount: &Amount, currency: Currency) -> Result<Money, Error> {
    amount.or_in(currency).map_err(|flaw| Violations::one("instalment.amount", flaw).into())
}

fn must_be_in(amount: Money, currency: Currency, sentence: &'static str) -> Result<(), Error> {
    if amount.currency() == currency {
        return Ok(());
    }
    Err(Error::Refused { reason: CurrencyMismatch, sentence })
}

const PAID_FOLLOWS: Error = Error::Refused {
    reason: PaidFollowsFromPayments,
    sentence: "Whether an instalment is paid follows from payments: call CreatePayment, or AllocatePayment where a payment has credit.",
};

/// What an update says, without a mask, of what stays as it is; 0 where nothing is said.
#[derive(Default)]
pub struct Same {
    client_id: i64,
    client_package_id: i64,
    /// It would close the instalment, which an update does not.
    closes: bool,
}

impl Same {
    pub fn of(request: &pb::UpdateInstalmentRequest) -> Self {
        let Some(said) = &request.instalment else { return Self::default() };
        let paths = request.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
        let closes = said.status() == Status::Closed
            && (paths.is_empty() || paths.iter().any(|path| path == "status"));
        if paths.is_empty() {
            let (client_id, client_package_id) = (said.client_id, said.client_package_id);
            return Self { client_id, client_package_id, closes };
        }
        Self { closes, ..Self::default() }
    }

    /// Refuses to make it another client's, or of another sale.
    pub fn check_whose(&self, fields: &mut Fields, before: &Instalment) {
        let of_sale = before.client_package_id.unwrap_or_default();
        let said = |id: i64| (id != 0).then_some(id);
        fields.stays("instalment.client_id", said(self.client_id), &before.client_id);
        fields.stays("instalment.client_package_id", said(self.client_package_id), &of_sale);
    }

    /// Refuses to close it.
    pub fn check_status(&self, fields: &mut Fields, before: &Instalment) {
        if self.closes && before.is_receivable() {
            let flaw = Flaw::bad("must be open or failed: CloseInstalment closes it");
            fields.refuse("instalment.status", flaw);
        }
    }
}

/// What an update means to change: the fields it takes, and their new values.
pub struct Change {
    number: Option<i64>,
    amount: Option<Amount>,
    due: Option<NaiveDate>,
    status: Option<Status>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] = &["instalment_number", "amount", "schedule_date", "status"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateInstalmentRequest) -> Option<Self> {
        let nothing = pb::Instalment::default();
        let said = request.instalment.as_ref().unwrap_or(&nothing);
        let mask = request.update_mask.as_ref();
        let mut update = Update::of(fields, "instalment", mask, Self::PATHS);
        let number = update.field("instalment_number", &said.instalment_number, |number| {
            optional_number(*number)?.ok_or(Flaw::Missing)
        });
        let amount = update.fields("amount", &said.amount.as_ref(), |fields, path, amount| {
            fields.amount(path, Amount::required(*amount))
        });
        let due = update.field("schedule_date", said.schedule_date.as_str(), date);
        let status = update.field("status", &said.status, |status| STATUSES.required(*status));
        Some(Self { number: number?, amount: amount?, due: due?, status: status? })
    }

    /// The details as they are after the change; the same ones where it changes nothing, which
    /// is always allowed.
    pub fn apply(self, same: &Same, before: &Instalment) -> Result<Details, Error> {
        let mut fields = Fields::default();
        same.check_whose(&mut fields, before);
        let currency = before.currency()?;
        let was = before.details.clone();
        let amount = self
            .amount
            .map_or(Ok(Money::from_minor(was.amount, currency)), |amount| amount.or_in(currency));
        let amount = fields.take("instalment.amount", amount);
        same.check_status(&mut fields, before);
        let status = self.status.filter(|status| *status != before.status());
        let (amount,) = fields.all((amount,))?;
        must_be_in(amount, currency, "The instalment is in another currency, which stays.")?;
        let after = Details {
            instalment_number: self.number.unwrap_or(was.instalment_number),
            amount: amount.minor(),
            schedule_date: self.due.unwrap_or(was.schedule_date),
            state: status.map_or(was.state, |status| STATUSES.text(status).to_owned()),
        };
        if status == Some(Status::Paid) {
            return Err(PAID_FOLLOWS);
        }
        if status.is_some() || after != before.details {
            before.must_be_receivable()?;
        }
        must_cover(&after, before.allocated)?;
        Ok(after)
    }
}

fn must_cover(after: &Details, allocated: i64) -> Result<(), Error> {
    if after.amount >= allocated {
        return Ok(());
    }
    let sentence = "The amount is below what payments cover of it.";
    Err(Error::Refused { reason: BelowAllocated, sentence })
}

fn optional_number(number: i32) -> Result<Option<i64>, Flaw> {
    const MOST: i32 = 1_000_000;
    match number {
        0 => Ok(None),
        1..=MOST => Ok(Some(number.into())),
        _ => Err(Flaw::bad("must be from 1 to 1,000,000")),
    }
}

/// Which instalments a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub client_id: Option<i64>,
    pub client_package_id: Option<i64>,
    pub statuses: Vec<&'static str>,
    /// The day before which they were due, for those that are overdue then.
    pub overdue_on: Option<NaiveDate>,
    pub due_from: Option<NaiveDate>,
    pub due_until: Option<NaiveDate>,
}

impl Filter {
    pub fn parse(
        fields: &mut Fields,
        request: &pb::ListInstalmentsRequest,
        today: NaiveDate,
    ) -> Option<Self> {
        let statuses = fields.take("status", STATUSES.filter(&request.status));
        let due_from = fields.take("due_from", optional_date(&request.due_from));
        let due_until = fields.take("due_until", optional_date(&request.due_until));
        let (due_from, due_until) = (due_from?, due_until?);
        if due_from.zip(due_until).is_some_and(|(from, until)| until < from) {
            fields.refuse("due_until", Flaw::bad("must not be before due_from"));
        }
        Some(Self {
            client_id: id(request.client_id).ok(),
            client_package_id: id(request.client_package_id).ok(),
            statuses: statuses?,
            overdue_on: request.overdue.then_some(today),
            due_from,
            due_until,
        })
    }
}

/// The orders that a list can be asked for. The oldest due first unless the caller says
/// otherwise.
pub const ORDERS: &[Order<Instalment>] = &[
    Order {
        name: "schedule_date",
        column: "schedule_date",
        key: KeyOf::Date(|instalment| instalment.details.schedule_date),
    },
    Order {
        name: "create_time",
        column: "create_time",
        key: KeyOf::Instant(|instalment| instalment.create_time),
    },
];
pub const DEFAULT_ORDER: &str = "schedule_date";

const STATUSES: Spelling<Status> = Spelling {
    of: "status",
    values: &[
        (Status::Open, "open"),
        (Status::Paid, "paid"),
        (Status::Failed, "failed"),
        (Status::Closed, "closed"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn instalment(state: &str, allocated: i64) -> Instalment {
        let amount = 100;
        Instalment {
            id: 1,
            client_id: 2,
            client_package_id: None,
            currency: "EUR".into(),
            details: Details {
                instalment_number: 1,
                amount,
                schedule_date: "2025-01-31".parse().expect("a day"),
                state: state.into(),
            },
            allocated,
            status: if allocated == amount { "paid".into() } else { state.into() },
            has_live_client: true,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
            version: 1,
        }
    }

    fn update(before: &Instalment, said: pb::Instalment) -> Result<Details, &'static str> {
        let request = pb::UpdateInstalmentRequest { instalment: Some(said), ..Default::default() };
        let mut fields = Fields::default();
        let change = Change::parse(&mut fields, &request);
        let (change,) = fields.all((change,)).expect("good fields");
        change
            .apply(&Same::of(&request), before)
            .map_err(|error| service_kit::error::reason_text(error.reason()))
    }

    fn to(status: Status) -> pb::Instalment {
        pb::Instalment { status: status.into(), ..Default::default() }
    }

    fn worth(amount: &str) -> pb::Instalment {
        let amount = proto::common::v1::Money { amount: amount.into(), ..Default::default() };
        pb::Instalment { amount: Some(amount), ..Default::default() }
    }

    /// Security checklist 56.
    #[test]
    fn an_update_moves_between_open_and_failed_and_nowhere_else() {
        use Status::{Closed, Failed, Open, Paid};
        let paid_follows = Err("PAID_FOLLOWS_FROM_PAYMENTS");
        for (state, allocated, status, expected) in [
            ("open", 0, Failed, Ok("failed")),
            ("open", 50, Failed, Ok("failed")),
            ("failed", 0, Open, Ok("open")),
            ("open", 0, Open, Ok("open")),
            ("open", 0, Closed, Err("INVALID_FIELDS")),
            ("open", 0, Paid, paid_follows),
            ("failed", 50, Paid, paid_follows),
            ("closed", 0, Closed, Ok("closed")),
            ("closed", 0, Open, Err("INSTALMENT_CLOSED")),
            ("closed", 0, Paid, paid_follows),
            ("open", 100, Paid, Ok("open")),
            ("open", 100, Open, Err("INSTALMENT_PAID")),
            ("open", 100, Closed, Err("INSTALMENT_PAID")),
        ] {
            let after = update(&instalment(state, allocated), to(status));
            let after = after.as_ref().map(|details| details.state.as_str()).map_err(|why| *why);
            assert_eq!(after, expected, "{state}, {allocated} of 100, to {status:?}");
        }
    }

    #[test]
    fn an_amount_is_never_below_what_is_covered_nor_in_another_currency() {
        let amount = |before: &Instalment, amount| {
            update(before, worth(amount)).map(|details| details.amount)
        };
        assert_eq!(amount(&instalment("open", 50), "0.50"), Ok(50));
        assert_eq!(amount(&instalment("open", 50), "0.49"), Err("BELOW_ALLOCATED"));
        assert_eq!(amount(&instalment("open", 100), "2"), Err("INSTALMENT_PAID"));
        assert_eq!(amount(&instalment("closed", 50), "2"), Err("INSTALMENT_CLOSED"));
        assert_eq!(amount(&instalment("open", 0), "0.001"), Err("INVALID_FIELDS"));
        let mut dollars = worth("2");
        dollars.amount.as_mut().expect("an amount").currency_code = "USD".into();
        assert_eq!(update(&instalment("open", 0), dollars), Err("CURRENCY_MISMATCH"));
    }

    #[test]
    fn what_is_open_and_overdue_follows() {
        let due = |state: &str, allocated, today: &str| {
            let shown = instalment(state, allocated).shown(today.parse().expect("a day"));
            (shown.open_amount.unwrap_or_default().amount, shown.overdue)
        };
        let said = |open: &str, overdue| (open.to_owned(), overdue);
        assert_eq!(due("open", 0, "2025-01-31"), said("1.00", false));
        assert_eq!(due("open", 0, "2025-02-01"), said("1.00", true));
        assert_eq!(due("failed", 40, "2025-02-01"), said("0.60", true));
        assert_eq!(due("open", 100, "2025-02-01"), said("0.00", false));
        assert_eq!(due("closed", 40, "2025-02-01"), said("0.00", false));
        let deleted = Instalment { has_live_client: false, ..instalment("open", 0) };
        assert!(!deleted.shown("2025-02-01".parse().expect("a day")).overdue);
    }

    #[test]
    fn what_stays_may_be_said_again_and_not_otherwise() {
        let before = instalment("open", 0);
        let said = |client_id, client_package_id| pb::Instalment {
            client_id,
            client_package_id,
            ..Default::default()
        };
        assert_eq!(update(&before, said(2, 0)).as_ref(), Ok(&before.details));
        assert_eq!(update(&before, said(3, 0)), Err("INVALID_FIELDS"));
        assert_eq!(update(&before, said(2, 1)), Err("INVALID_FIELDS"));
    }
}
