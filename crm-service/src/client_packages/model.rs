//! What is a client package?

use chrono::{DateTime, NaiveDate, Utc};
use proto::{
    common::v1::ErrorReason::{BelowAllocated, ClientPackageInUse, ClientPackageInactive},
    crm::v1::{self as pb, ClientPackageStatus as Status, PaymentSchedule as Schedule},
};
use service_kit::{
    clock,
    error::Error,
    etag,
    fields::{Amount, Currency, Fields, Flaw, Money, date, id, optional_date, shown_money},
    mask::Update,
    page::{KeyOf, Order},
};

use super::plan::{Kept, Planned, Terms};
use crate::{buyer::stored_currency, spelling::Spelling};

/// A client package as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ClientPackage {
    pub id: i64,
    pub client_id: i64,
    pub package_id: i64,
    #[sqlx(flatten)]
    pub details: Details,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

/// What was agreed on, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Details {
    /// Of both amounts.
    pub(super) currency: String,
    /// In minor units, as the monthly amount.
    pub(super) custom_price: i64,
    pub(super) monthly_payment_amount: Option<i64>,
    pub(super) payment_schedule: String,
    pub(super) start_date: NaiveDate,
    pub(super) status: String,
}

/// How things stand with the instalments of a client package.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub struct Standing {
    /// How many there are.
    pub instalments: i64,
    /// How much of them payments cover, in minor units.
    pub allocated: i64,
    /// What those come to that planning anew keeps.
    pub kept: i64,
    /// When the last of those is due.
    pub last_due: Option<NaiveDate>,
    /// The highest number that there has been.
    pub last_number: i64,
    /// How many planning anew closes.
    pub closing: i64,
}

impl Standing {
    /// What planning anew begins with.
    pub fn kept(&self) -> Kept {
        Kept { amount: self.kept, last_due: self.last_due, last_number: self.last_number }
    }
}

impl ClientPackage {
    /// Refuses new instalments for one that is over.
    pub fn must_be_active(&self) -> Result<(), Error> {
        if STATUSES.read(&self.details.status) == Status::Active {
            return Ok(());
        }
        let sentence = "The client package is inactive and takes no new instalments.";
        Err(Error::Refused { reason: ClientPackageInactive, sentence })
    }

    /// What its instalments are in.
    pub fn currency(&self) -> Result<Currency, Error> {
        stored_currency(&self.details.currency)
    }
}

impl Details {
    /// What the instalments follow from.
    pub fn terms(&self) -> Terms {
        Terms {
            price: self.custom_price,
            monthly_amount: self.monthly_payment_amount,
            months: months(SCHEDULES.read(&self.payment_schedule)),
            start: self.start_date,
        }
    }

    /// The same, but over.
    pub fn cancelled(&self) -> Self {
        Self { status: STATUSES.text(Status::Inactive).to_owned(), ..self.clone() }
    }

    /// The names of the fields in which it differs from what it was before.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let other_currency = self.currency != before.currency;
        let monthly = self.monthly_payment_amount != before.monthly_payment_amount;
        let fields = [
            ("custom_price", other_currency || self.custom_price != before.custom_price),
            ("monthly_payment_amount", monthly),
            ("payment_schedule", self.payment_schedule != before.payment_schedule),
            ("start_date", self.start_date != before.start_date),
            ("status", self.status != before.status),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// Refuses a change that the instalments do not allow.
    pub fn must_suit(&self, before: &Self, standing: &Standing) -> Result<(), Error> {
        if self.currency != before.currency && standing.instalments > 0 {
            return Err(Error::Refused {
                reason: ClientPackageInUse,
                sentence: "The client package has instalments in the currency that it has.",
            });
        }
        // Payments may go on to cover more than a price that was lowered: that is no reason to
        // refuse what leaves it as it is.
        if self.custom_price != before.custom_price && self.custom_price < standing.allocated {
            return Err(Error::Refused {
                reason: BelowAllocated,
                sentence: "The price is below what payments cover of the instalments.",
            });
        }
        Ok(())
    }

    /// An amount of it on the wire.
    pub fn shown(&self, minor: i64) -> proto::common::v1::Money {
        shown_money(minor.into(), &self.currency)
    }
}

/// A client package that is about to be.
pub struct New {
    pub client_id: i64,
    pub package_id: i64,
    pub offer: Offer,
}

impl New {
    /// Output-only fields are ignored.
    pub fn parse(
        fields: &mut Fields,
        request: &pb::ClientPackage,
        today: NaiveDate,
    ) -> Option<Self> {
        let client_id = fields.take("client_package.client_id", id(request.client_id));
        let package_id = fields.take("client_package.package_id", id(request.package_id));
        let price = request.custom_price.as_ref();
        let of = Amount::currency_said(price);
        let price = fields.amount("client_package.custom_price", Amount::optional(price));
        let monthly = Amount::optional(request.monthly_payment_amount.as_ref());
        let field = "client_package.monthly_payment_amount";
        let monthly = fields.amount_beside(field, monthly, &of, Some(NOT_OF_PRICE));
        let schedule = SCHEDULES.required(request.payment_schedule);
        let schedule = fields.take("client_package.payment_schedule", schedule);
        let start = fields.take("client_package.start_date", optional_date(&request.start_date));
        let status = fields.take("client_package.status", STATUSES.optional(request.status));
        Some(Self {
            client_id: client_id?,
            package_id: package_id?,
            offer: Offer {
                price: price?,
                monthly: monthly?,
                schedule: schedule?,
                start: start?.unwrap_or(today),
                status: status?.unwrap_or(Status::Active),
            },
        })
    }
}

/// What is to be agreed on. Its amounts wait for a currency.
pub struct Offer {
    price: Option<Amount>,
    monthly: Option<Amount>,
    schedule: Schedule,
    start: NaiveDate,
    status: Status,
}

impl Offer {
    /// The details, once it is known what the package costs and what the client's money is in.
    /// `prefix` is what the names of the fields begin with in the request.
    pub fn priced(
        self,
        prefix: &'static str,
        list_price: Option<Money>,
        default_currency: Currency,
    ) -> Result<Details, Error> {
        let (price, currency) = match &self.price {
            Some(price) => {
                (price.or_in(default_currency), Some(price.currency_or(default_currency)))
            }
            None => (list_price.ok_or(Flaw::Missing), list_price.map(Money::currency)),
        };
        let fields = Fields::default();
        let (price, monthly) = agreed(fields, prefix, price, currency, |currency| {
            let monthly = self.monthly.as_ref();
            monthly.map(|monthly| same_currency(monthly, currency)).transpose()
        })?;
        Ok(Details {
            currency: price.currency().code().to_owned(),
            custom_price: price.minor(),
            monthly_payment_amount: monthly,
            payment_schedule: SCHEDULES.text(self.schedule).to_owned(),
            start_date: self.start,
            status: STATUSES.text(self.status).to_owned(),
        })
    }
}

/// Price and monthly amount, of which the second follows the first in its currency, also where
/// the first is no good in it.
fn agreed(
    mut fields: Fields,
    prefix: &'static str,
    price: Result<Money, Flaw>,
    currency: Option<Currency>,
    monthly: impl FnOnce(Currency) -> Result<Option<i64>, Flaw>,
) -> Result<(Money, Option<i64>), Error> {
    let price = fields.take(&format!("{prefix}custom_price"), price);
    let monthly = currency.and_then(|currency| {
        fields.take(&format!("{prefix}monthly_payment_amount"), monthly(currency))
    });
    Ok(fields.all((price, monthly))?)
}

const NOT_OF_PRICE: &str = "must be in the currency of the price";

fn same_currency(monthly: &Amount, currency: Currency) -> Result<i64, Flaw> {
    let monthly = monthly.or_in(currency)?;
    if monthly.currency() != currency {
        return Err(Flaw::bad(NOT_OF_PRICE));
    }
    Ok(monthly.minor())
}

/// What an update says, without a mask, of what stays as it is; 0 where nothing is said.
#[derive(Default)]
pub struct Same {
    client_id: i64,
    package_id: i64,
}

impl Same {
    pub fn of(request: &pb::UpdateClientPackageRequest) -> Self {
        let has_mask = request.update_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
        let Some(said) = request.client_package.as_ref().filter(|_| !has_mask) else {
            return Self::default();
        };
        Self { client_id: said.client_id, package_id: said.package_id }
    }

    /// Refuses anything else than what is there.
    pub fn check(&self, fields: &mut Fields, before: &ClientPackage) {
        let said = |id: i64| (id != 0).then_some(id);
        fields.stays("client_package.client_id", said(self.client_id), &before.client_id);
        fields.stays("client_package.package_id", said(self.package_id), &before.package_id);
    }
}

/// What an update means to change: the fields it takes, and their new values.
#[derive(Default)]
pub struct Change {
    price: Option<Amount>,
    #[expect(clippy::option_option, reason = "left as it is, taken away, or another one")]
    monthly: Option<Option<Amount>>,
    schedule: Option<Schedule>,
    start: Option<NaiveDate>,
    status: Option<Status>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] =
        &["custom_price", "monthly_payment_amount", "payment_schedule", "start_date", "status"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateClientPackageRequest) -> Option<Self> {
        let nothing = pb::ClientPackage::default();
        let said = request.client_package.as_ref().unwrap_or(&nothing);
        let mask = request.update_mask.as_ref();
        let mut update = Update::of(fields, "client_package", mask, Self::PATHS);
        let price = said.custom_price.as_ref();
        let of_price = Amount::currency_said(price);
        let price = update.fields("custom_price", &price, |fields, path, price| {
            fields.amount(path, Amount::required(*price))
        });
        // Beside a price that stays, the monthly amount is in the currency that it has.
        let of = if matches!(price, Some(None)) { Ok(None) } else { of_price };
        let monthly = said.monthly_payment_amount.as_ref();
        let monthly = update.fields("monthly_payment_amount", &monthly, |fields, path, monthly| {
            fields.amount_beside(path, Amount::optional(*monthly), &of, Some(NOT_OF_PRICE))
        });
        let schedule = update.field("payment_schedule", &said.payment_schedule, |schedule| {
            SCHEDULES.required(*schedule)
        });
        let start = update.field("start_date", said.start_date.as_str(), date);
        let status = update.field("status", &said.status, |status| STATUSES.required(*status));
        Some(Self {
            price: price?,
            monthly: monthly?,
            schedule: schedule?,
            start: start?,
            status: status?,
        })
    }

    /// The details as they are after the change. `prefix` is what the names of the fields begin
    /// with in the request.
    pub fn apply(
        self,
        same: &Same,
        prefix: &'static str,
        before: &ClientPackage,
    ) -> Result<Details, Error> {
        let mut fields = Fields::default();
        same.check(&mut fields, before);
        let before = before.details.clone();
        let currency = stored_currency(&before.currency)?;
        let price = match &self.price {
            Some(price) => price.or_in(currency),
            None => Ok(Money::from_minor(before.custom_price, currency)),
        };
        let after = self.price.as_ref().map_or(currency, |price| price.currency_or(currency));
        let (price, monthly) =
            agreed(fields, prefix, price, Some(after), |after| match &self.monthly {
                Some(Some(monthly)) => same_currency(monthly, after).map(Some),
                Some(None) => Ok(None),
                None if after == currency => Ok(before.monthly_payment_amount),
                None if before.monthly_payment_amount.is_none() => Ok(None),
                None => Err(Flaw::bad(NOT_OF_PRICE)),
            })?;
        Ok(Details {
            currency: price.currency().code().to_owned(),
            custom_price: price.minor(),
            monthly_payment_amount: monthly,
            payment_schedule: spelled(&SCHEDULES, self.schedule, before.payment_schedule),
            start_date: self.start.unwrap_or(before.start_date),
            status: spelled(&STATUSES, self.status, before.status),
        })
    }
}

fn spelled<E: Copy + PartialEq + Default + TryFrom<i32>>(
    spelling: &Spelling<E>,
    value: Option<E>,
    before: String,
) -> String {
    value.map_or(before, |value| spelling.text(value).to_owned())
}

/// Of what instalments are shown.
pub enum Preview {
    /// Something that is yet to be sold.
    Offer(Offer),
    /// A client package, perhaps changed.
    Of(i64, Change),
}

impl Preview {
    pub fn parse(
        fields: &mut Fields,
        request: &pb::PreviewInstalmentsRequest,
        today: NaiveDate,
        default_currency: Currency,
    ) -> Option<Self> {
        let is_new = request.client_package_id == 0;
        let price = request.custom_price.as_ref();
        let of = Amount::currency_said(price);
        let price = fields.amount("custom_price", needed_if(is_new, Amount::optional(price)));
        let monthly = Amount::optional(request.monthly_payment_amount.as_ref());
        let field = "monthly_payment_amount";
        let monthly = fields.amount_beside(field, monthly, &of, Some(NOT_OF_PRICE));
        let schedule = SCHEDULES.optional(request.payment_schedule);
        let schedule = fields.take("payment_schedule", needed_if(is_new, schedule));
        let start = fields.take("start_date", optional_date(&request.start_date));
        if is_new {
            fields.judge_in(default_currency);
        }
        let (price, monthly, schedule, start) = (price?, monthly?, schedule?, start?);
        if is_new {
            let (schedule, start) = (schedule?, start.unwrap_or(today));
            let status = Status::Active;
            return Some(Self::Offer(Offer { price, monthly, schedule, start, status }));
        }
        let monthly = monthly.map(Some);
        let change = Change { price, monthly, schedule, start, ..Change::default() };
        Some(Self::Of(request.client_package_id, change))
    }
}

fn needed_if<T>(needed: bool, value: Result<Option<T>, Flaw>) -> Result<Option<T>, Flaw> {
    match value {
        Ok(None) if needed => Err(Flaw::Missing),
        value => value,
    }
}

/// Which client packages a list is of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub client_id: Option<i64>,
    pub package_id: Option<i64>,
    pub status: Option<&'static str>,
    pub payment_schedule: Option<&'static str>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListClientPackagesRequest) -> Option<Self> {
        let status = fields.take("status", STATUSES.optional(request.status));
        let schedule = SCHEDULES.optional(request.payment_schedule);
        let schedule = fields.take("payment_schedule", schedule);
        Some(Self {
            client_id: id(request.client_id).ok(),
            package_id: id(request.package_id).ok(),
            status: status?.map(|status| STATUSES.text(status)),
            payment_schedule: schedule?.map(|schedule| SCHEDULES.text(schedule)),
        })
    }
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<ClientPackage>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|it| it.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time desc";

impl From<ClientPackage> for pb::ClientPackage {
    fn from(it: ClientPackage) -> Self {
        let monthly = it.details.monthly_payment_amount;
        Self {
            id: it.id,
            client_id: it.client_id,
            package_id: it.package_id,
            custom_price: Some(it.details.shown(it.details.custom_price)),
            monthly_payment_amount: monthly.map(|minor| it.details.shown(minor)),
            payment_schedule: SCHEDULES.read(&it.details.payment_schedule).into(),
            start_date: it.details.start_date.to_string(),
            status: STATUSES.read(&it.details.status).into(),
            create_time: Some(clock::timestamp(it.create_time)),
            update_time: Some(clock::timestamp(it.update_time)),
            etag: etag::of(it.version),
        }
    }
}

impl Planned {
    /// On the wire, of a client package with these details.
    pub fn shown(&self, details: &Details) -> pb::PlannedInstalment {
        pb::PlannedInstalment {
            instalment_number: i32::try_from(self.number).unwrap_or(i32::MAX),
            amount: Some(details.shown(self.amount)),
            schedule_date: self.due.to_string(),
        }
    }
}

/// Between one instalment and the next.
fn months(schedule: Schedule) -> Option<u32> {
    match schedule {
        Schedule::Monthly => Some(1),
        Schedule::Quarterly => Some(3),
        Schedule::Yearly => Some(12),
        Schedule::Pif | Schedule::Unspecified => None,
    }
}

pub const SCHEDULES: Spelling<Schedule> = Spelling {
    of: "schedule",
    values: &[
        (Schedule::Pif, "PIF"),
        (Schedule::Monthly, "Monthly"),
        (Schedule::Quarterly, "Quarterly"),
        (Schedule::Yearly, "Yearly"),
    ],
};

const STATUSES: Spelling<Status> = Spelling {
    of: "status",
    values: &[(Status::Active, "active"), (Status::Inactive, "inactive")],
};
