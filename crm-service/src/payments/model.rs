//! What is a payment?

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proto::{
    common::v1::ErrorReason as Reason,
    crm::v1::{self as pb, DisputeOutcome, PaymentStatus},
};
use service_kit::{
    clock,
    error::Error,
    etag,
    fields::{Amount, Currency, Fields, Flaw, Money, Notes, Text, id, shown_money},
    mask::Update,
    page::{KeyOf, Order},
};

use super::{
    ledger::{Dispute, Facts, Status},
    totals::{Of, Total},
    work::{Cover, NewPayment, about_share},
};
use crate::{buyer::stored_currency, visibility::Scope};

/// A payment as it is.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Payment {
    pub id: i64,
    pub client_id: i64,
    pub currency: String,
    #[sqlx(flatten)]
    pub facts: Facts,
    pub paid_at: DateTime<Utc>,
    pub external_reference: String,
    pub notes: String,
    pub dispute_reason: String,
    pub dispute_time: Option<DateTime<Utc>>,
    pub void_time: Option<DateTime<Utc>>,
    pub void_reason: String,
    pub stripe_charge_id: Option<String>,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

impl Payment {
    pub fn currency(&self) -> Result<Currency, Error> {
        stored_currency(&self.currency)
    }

    /// The names of the fields in which people changed it since.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("paid_at", self.paid_at != before.paid_at),
            ("external_reference", self.external_reference != before.external_reference),
            ("notes", self.notes != before.notes),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// When a person last said whether a payment came in, and how its dispute stands.
#[derive(Debug, Clone, Copy, Default, sqlx::FromRow)]
pub struct Said {
    pub failure: Option<DateTime<Utc>>,
    pub dispute: Option<DateTime<Utc>>,
}

/// A payment as it was asked for: its currency may be the client's, who is not read yet.
pub struct AskedPayment {
    pub client_id: i64,
    amount: Amount,
    has_failed: bool,
    paid_at: Option<DateTime<Utc>>,
    external_reference: Text<255>,
    notes: Notes,
}

impl AskedPayment {
    /// Output-only fields are ignored.
    pub fn parse(fields: &mut Fields, request: &pb::CreatePaymentRequest) -> Option<Self> {
        let nothing = pb::Payment::default();
        let payment = request.payment.as_ref().unwrap_or(&nothing);
        let client_id = fields.take("payment.client_id", id(payment.client_id));
        let amount = fields.amount("payment.amount", Amount::required(payment.amount.as_ref()));
        let has_failed = fields.take("payment.status", parse_has_failed(payment.status));
        let paid_at = fields.take("payment.paid_at", parse_paid_at(payment.paid_at));
        let external_reference =
            fields.take("payment.external_reference", Text::parse(&payment.external_reference));
        let notes = fields.take("payment.notes", Notes::parse(&payment.notes));
        Some(Self {
            client_id: client_id?,
            amount: amount?,
            has_failed: has_failed?,
            paid_at: paid_at?,
            external_reference: external_reference?,
            notes: notes?,
        })
    }

    /// The payment, now that it is known what its currency and its moment are by default, and
    /// what it is to cover.
    pub fn with(
        self,
        currency: Currency,
        now: DateTime<Utc>,
        cover: AskedCover,
        scope: Scope,
    ) -> Result<(NewPayment, Cover), Error> {
        let mut fields = Fields::default();
        let amount = fields.take("payment.amount", self.amount.or_in(currency));
        let of = amount.map_or(currency, Money::currency);
        let cover = cover.within(&mut fields, of, scope);
        let (amount, cover) = fields.all((amount, cover))?;
        let new = NewPayment {
            amount,
            has_failed: self.has_failed,
            paid_at: self.paid_at.unwrap_or(now),
            external_reference: self.external_reference.into_string(),
            notes: self.notes.into_string(),
            stripe_charge_id: None,
        };
        Ok((new, cover?))
    }
}

/// What is to be covered, as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum AskedCover {
    Nothing,
    OldestDue,
    These(Vec<(i64, Amount)>),
}

impl AskedCover {
    const MOST: usize = 100;

    /// For a new payment, which may cover nothing, and must not when it failed.
    pub fn parse_new(fields: &mut Fields, request: &pb::CreatePaymentRequest) -> Option<Self> {
        let amount = request.payment.as_ref().and_then(|payment| payment.amount.as_ref());
        let of = Amount::currency_said(amount);
        let cover = Self::parse(fields, &request.allocations, request.auto_allocate, &of)?;
        let status = request.payment.as_ref().map_or(0, |payment| payment.status);
        if status == i32::from(PaymentStatus::Failed) {
            cover.refuse_any(fields);
        }
        Some(cover)
    }

    /// For a payment that is there, which is to cover something.
    pub fn parse_more(fields: &mut Fields, request: &pb::AllocatePaymentRequest) -> Option<Self> {
        let of = Ok(None);
        let cover = Self::parse(fields, &request.allocations, request.auto_allocate, &of)?;
        if cover == Self::Nothing {
            fields.refuse("allocations", Flaw::Missing);
        }
        Some(cover)
    }

    fn parse(
        fields: &mut Fields,
        allocations: &[pb::PaymentAllocation],
        auto_allocate: bool,
        of: &Result<Option<Currency>, Flaw>,
    ) -> Option<Self> {
        if allocations.len() > Self::MOST {
            fields.refuse("allocations", Flaw::bad("must be at most 100"));
            return None;
        }
        if auto_allocate && !allocations.is_empty() {
            fields.refuse("auto_allocate", Flaw::bad("must not be set beside allocations"));
        }
        let these = parse_allocations(fields, allocations, of)?;
        Some(match (auto_allocate, these.is_empty()) {
            (true, _) => Self::OldestDue,
            (false, true) => Self::Nothing,
            (false, false) => Self::These(these),
        })
    }

    fn refuse_any(&self, fields: &mut Fields) {
        let field = match self {
            Self::Nothing => return,
            Self::OldestDue => "auto_allocate",
            Self::These(_) => "allocations",
        };
        fields.refuse(field, Flaw::bad("must be empty: a failed payment covers nothing"));
    }

    /// The same for a payment that is there; `scope` is that of whoever asks.
    pub fn of(self, payment: &Payment, scope: Scope) -> Result<Cover, Error> {
        let mut fields = Fields::default();
        let cover = self.within(&mut fields, payment.currency()?, scope);
        let (cover,) = fields.all((cover,))?;
        cover
    }

    /// The same in the currency of the payment, in which each amount must be.
    fn within(
        self,
        fields: &mut Fields,
        currency: Currency,
        scope: Scope,
    ) -> Option<Result<Cover, Error>> {
        let these = match self {
            Self::Nothing => return Some(Ok(Cover::Nothing)),
            Self::OldestDue => return Some(Ok(Cover::OldestDue)),
            Self::These(these) => these,
        };
        let amounts: Vec<_> = these
            .into_iter()
            .enumerate()
            .map(|(place, (id, amount))| {
                let path = format!("allocations[{place}].amount");
                Some((id, fields.take(&path, amount.or_in(currency))?))
            })
            .collect();
        let amounts: Option<Vec<_>> = amounts.into_iter().collect();
        let minor = |(place, (id, amount))| {
            let minor = minor_in(amount, currency);
            Ok((id, minor.map_err(|error| about_share(error, place, "amount", id))?))
        };
        let shares: Result<Vec<_>, Error> = amounts?.into_iter().enumerate().map(minor).collect();
        Some(shares.map(|shares| Cover::These { shares, scope }))
    }
}

fn parse_allocations(
    fields: &mut Fields,
    allocations: &[pb::PaymentAllocation],
    of: &Result<Option<Currency>, Flaw>,
) -> Option<Vec<(i64, Amount)>> {
    let mut named = BTreeSet::new();
    let mut parsed = Vec::new();
    for (place, allocation) in allocations.iter().enumerate() {
        let path = |field: &str| format!("allocations[{place}].{field}");
        let instalment_id = id(allocation.instalment_id).and_then(|id| {
            let again = || Flaw::bad("must name each instalment once");
            named.insert(id).then_some(id).ok_or_else(again)
        });
        let instalment_id = fields.take(&path("instalment_id"), instalment_id);
        let amount = Amount::required(allocation.amount.as_ref());
        let amount = fields.amount_beside(&path("amount"), amount, of, None);
        parsed.push(instalment_id.zip(amount));
    }
    parsed.into_iter().collect()
}

/// Minor units of an amount that is about a payment in this currency.
fn minor_in(amount: Money, currency: Currency) -> Result<i64, Error> {
    if amount.currency() == currency {
        return Ok(amount.minor());
    }
    Err(Error::Refused {
        reason: Reason::CurrencyMismatch,
        sentence: "The amount is in another currency than the payment.",
    })
}

/// How much of a payment will have been given back when so much more is; all of it where nothing
/// is said.
pub fn refunded_after(payment: &Payment, amount: Option<Amount>) -> Result<i64, Error> {
    let Some(amount) = amount else { return Ok(payment.facts.amount) };
    let currency = payment.currency()?;
    let mut fields = Fields::default();
    let amount = fields.take("amount", amount.or_in(currency));
    let (amount,) = fields.all((amount,))?;
    Ok(payment.facts.refunded + minor_in(amount, currency)?)
}

/// What an update says, without a mask, of what stays as it was recorded.
#[derive(Default)]
pub struct Same {
    /// 0 where nothing is said.
    client_id: i64,
    amount: Option<Amount>,
    status: Option<Status>,
}

impl Same {
    /// What is no good by itself is noted, and then says nothing.
    pub fn parse(fields: &mut Fields, request: &pb::UpdatePaymentRequest) -> Self {
        // A mask names what is meant: nothing of this, as it may not.
        let has_mask = request.update_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
        let Some(payment) = request.payment.as_ref().filter(|_| !has_mask) else {
            return Self::default();
        };
        let amount = fields.take("payment.amount", Amount::optional(payment.amount.as_ref()));
        let status = fields.take("payment.status", parse_optional_status(payment.status));
        Self { client_id: payment.client_id, amount: amount.flatten(), status: status.flatten() }
    }

    /// Refuses anything else than what is there.
    pub fn check(&self, fields: &mut Fields, payment: &Payment) -> Result<(), Error> {
        let currency = payment.currency()?;
        let is = Money::from_minor(payment.facts.amount, currency);
        let said = self.amount.as_ref().map_or(Ok(is), |amount| amount.or_in(currency));
        let client_id = (self.client_id != 0).then_some(self.client_id);
        fields.stays("payment.client_id", client_id, &payment.client_id);
        let said = fields.take("payment.amount", said);
        fields.stays("payment.amount", said, &is);
        fields.stays("payment.status", self.status, &payment.facts.status());
        Ok(())
    }
}

/// What an update means to change: the fields it takes, and their new values.
pub struct Change {
    paid_at: Option<Option<DateTime<Utc>>>,
    external_reference: Option<Text<255>>,
    notes: Option<Notes>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] = &["paid_at", "external_reference", "notes"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdatePaymentRequest) -> Option<Self> {
        let nothing = pb::Payment::default();
        let payment = request.payment.as_ref().unwrap_or(&nothing);
        let mut update = Update::of(fields, "payment", request.update_mask.as_ref(), Self::PATHS);
        let paid_at = update.field("paid_at", &payment.paid_at, |time| parse_paid_at(*time));
        let external_reference =
            update.field("external_reference", payment.external_reference.as_str(), Text::parse);
        let notes = update.field("notes", payment.notes.as_str(), Notes::parse);
        Some(Self { paid_at: paid_at?, external_reference: external_reference?, notes: notes? })
    }

    /// The payment as it is after the change.
    pub fn apply(self, before: Payment, now: DateTime<Utc>) -> Payment {
        Payment {
            paid_at: self.paid_at.map_or(before.paid_at, |paid_at| paid_at.unwrap_or(now)),
            external_reference: self
                .external_reference
                .map_or(before.external_reference, Text::into_string),
            notes: self.notes.map_or(before.notes, Notes::into_string),
            ..before
        }
    }
}

/// Which payments a list is of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub client_id: Option<i64>,
    pub status: Option<Status>,
    pub currency: Option<Currency>,
    pub paid_from: Option<DateTime<Utc>>,
    pub paid_until: Option<DateTime<Utc>>,
    pub include_voided: bool,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListPaymentsRequest) -> Option<Self> {
        let status = fields.take("status", parse_optional_status(request.status));
        let currency = fields.take("currency", Currency::optional(&request.currency));
        let paid_from = fields.take("paid_from", clock::parse_optional(request.paid_from));
        let paid_until = fields.take("paid_until", clock::parse_optional(request.paid_until));
        let (from, until) = (paid_from.flatten(), paid_until.flatten());
        fields.in_order(("paid_from", from.as_ref()), ("paid_until", until.as_ref()));
        Some(Self {
            client_id: some_id(request.client_id),
            status: status?,
            currency: currency?,
            paid_from: paid_from?,
            paid_until: paid_until?,
            include_voided: request.include_voided,
        })
    }

    /// Every combination of what can be said: for those who check statements.
    pub fn variants() -> Vec<Self> {
        let mut variants = Vec::new();
        for bits in 0..64_u8 {
            let has = |bit: u8| bits & (1 << bit) != 0;
            variants.push(Self {
                client_id: has(0).then_some(1),
                status: has(1).then_some(Status::Paid),
                currency: has(2).then_some(Currency::USD),
                paid_from: has(3).then_some(DateTime::UNIX_EPOCH),
                paid_until: has(4).then_some(DateTime::UNIX_EPOCH),
                include_voided: has(5),
            });
        }
        variants
    }
}

/// Which payments statistics are of.
pub fn parse_of(fields: &mut Fields, request: &pb::GetPaymentStatisticsRequest) -> Option<Of> {
    let currency = fields.take("currency", Currency::optional(&request.currency));
    Some(Of { client_id: some_id(request.client_id), currency: currency? })
}

/// In a filter, 0 is whoever it is.
fn some_id(id: i64) -> Option<i64> {
    (id != 0).then_some(id)
}

/// The orders that a list can be asked for. What was paid last comes first unless the caller
/// says otherwise.
pub const ORDERS: &[Order<Payment>] = &[
    Order { name: "paid_at", column: "paid_at", key: KeyOf::Instant(|payment| payment.paid_at) },
    Order {
        name: "create_time",
        column: "create_time",
        key: KeyOf::Instant(|payment| payment.create_time),
    },
];
pub const DEFAULT_ORDER: &str = "paid_at desc";

impl From<Payment> for pb::Payment {
    fn from(payment: Payment) -> Self {
        let facts = &payment.facts;
        let money = |minor: i64| shown_money(minor.into(), &payment.currency);
        let allocation = |(id, amount): (&i64, &i64)| pb::PaymentAllocation {
            instalment_id: *id,
            amount: Some(money(*amount)),
        };
        Self {
            id: payment.id,
            client_id: payment.client_id,
            amount: Some(money(facts.amount)),
            status: shown_status(facts.status()).into(),
            refunded_amount: Some(money(facts.refunded)),
            credit_amount: Some(money(facts.credit())),
            allocations: facts.allocations.iter().map(allocation).collect(),
            dispute: shown_outcome(facts.dispute).map(|outcome| pb::PaymentDispute {
                outcome: outcome.into(),
                reason: payment.dispute_reason,
                time: payment.dispute_time.map(clock::timestamp),
            }),
            paid_at: Some(clock::timestamp(payment.paid_at)),
            external_reference: payment.external_reference,
            notes: payment.notes,
            void_time: payment.void_time.map(clock::timestamp),
            void_reason: payment.void_reason,
            stripe_charge_id: payment.stripe_charge_id.unwrap_or_default(),
            create_time: Some(clock::timestamp(payment.create_time)),
            update_time: Some(clock::timestamp(payment.update_time)),
            etag: etag::of(payment.version),
        }
    }
}

/// Statistics out of totals, which are sorted by currency.
pub fn statistics(totals: &[Total]) -> pb::GetPaymentStatisticsResponse {
    let count = |status: Status| {
        let of_status = totals.iter().filter(|total| total.status == status.text());
        of_status.map(|total| total.payments).sum()
    };
    let by_currency = || totals.chunk_by(|one, other| one.currency == other.currency);
    let all = |totals: &[Total]| {
        shown_money(totals.iter().map(|total| total.amount).sum(), &totals[0].currency)
    };
    pb::GetPaymentStatisticsResponse {
        total_payments: totals.iter().map(|total| total.payments).sum(),
        total_amounts: by_currency().map(all).collect(),
        paid: count(Status::Paid),
        failed: count(Status::Failed),
        refunded: count(Status::Refunded),
        disputed: count(Status::Disputed),
        totals: by_currency().map(shown_totals).collect(),
    }
}

/// The totals of one currency.
fn shown_totals(totals: &[Total]) -> pb::PaymentTotals {
    let sum = |of: &dyn Fn(&Total) -> i128| totals.iter().map(of).sum::<i128>();
    let is = |total: &Total, status: Status| total.status == status.text();
    let gross = sum(&|total| if is(total, Status::Failed) { 0 } else { total.amount });
    let refunded = sum(&|total| total.refunded);
    let disputed =
        sum(&|total| if is(total, Status::Disputed) { total.amount - total.refunded } else { 0 });
    let money = |minor| Some(shown_money(minor, &totals[0].currency));
    pb::PaymentTotals {
        currency_code: totals[0].currency.clone(),
        gross: money(gross),
        refunded: money(refunded),
        disputed: money(disputed),
        net: money(gross - refunded - disputed),
    }
}

const STATUSES: &[(PaymentStatus, Status)] = &[
    (PaymentStatus::Paid, Status::Paid),
    (PaymentStatus::Failed, Status::Failed),
    (PaymentStatus::Refunded, Status::Refunded),
    (PaymentStatus::Disputed, Status::Disputed),
];

fn shown_status(status: Status) -> PaymentStatus {
    STATUSES
        .iter()
        .find(|(_, known)| *known == status)
        .map_or(PaymentStatus::Unspecified, |(shown, _)| *shown)
}

fn parse_optional_status(status: i32) -> Result<Option<Status>, Flaw> {
    if status == 0 {
        return Ok(None);
    }
    let known = STATUSES.iter().find(|(shown, _)| i32::from(*shown) == status);
    known.map(|(_, status)| Some(*status)).ok_or(Flaw::bad("must be a known status"))
}

/// A payment begins as paid or failed; the rest happens to it.
fn parse_has_failed(status: i32) -> Result<bool, Flaw> {
    match parse_optional_status(status)? {
        None | Some(Status::Paid) => Ok(false),
        Some(Status::Failed) => Ok(true),
        Some(_) => Err(Flaw::bad("must be paid or failed")),
    }
}

fn shown_outcome(dispute: Dispute) -> Option<DisputeOutcome> {
    match dispute {
        Dispute::Never => None,
        Dispute::Open => Some(DisputeOutcome::Open),
        Dispute::Won => Some(DisputeOutcome::Won),
        Dispute::Lost => Some(DisputeOutcome::Lost),
    }
}

/// Whether a dispute was won.
pub fn parse_is_won(outcome: i32) -> Result<bool, Flaw> {
    match DisputeOutcome::try_from(outcome) {
        Ok(DisputeOutcome::Unspecified) => Err(Flaw::Missing),
        Ok(DisputeOutcome::Won) => Ok(true),
        Ok(DisputeOutcome::Lost) => Ok(false),
        _ => Err(Flaw::bad("must be won or lost")),
    }
}

/// As exact as it is stored, and not in the future but for clocks that differ.
fn parse_paid_at(time: Option<prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>, Flaw> {
    let Some(time) = clock::parse_optional_dated(time)? else { return Ok(None) };
    if time > clock::now() + TimeDelta::days(1) {
        return Err(Flaw::bad("must not be more than a day ahead"));
    }
    Ok(DateTime::from_timestamp_micros(time.timestamp_micros()))
}
