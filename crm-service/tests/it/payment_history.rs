//! Hundreds of calls in no order, against a model that does the same the slow way.

use std::collections::{BTreeMap, BTreeSet};

use proto::crm::v1::{
    self as pb, DisputeOutcome,
    PaymentStatus::{self, Disputed, Failed, Paid, Refunded},
};
use service_kit::{fields::shown_money, testing::refusal::Refusal};
use tonic::Code;

use crate::till::{Answer, Till, money, shares};

/// Always the same numbers.
struct Dice(u64);

impl Dice {
    /// One of so many.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn cents(&mut self, most: usize) -> i64 {
        i64::try_from(1 + self.roll(most)).unwrap()
    }
}

#[derive(Debug, Default)]
struct Due {
    amount: i64,
    day: String,
    is_closed: bool,
    is_in_francs: bool,
}

/// A payment, cent by cent: each went to an instalment, or to nothing yet.
#[derive(Debug, Default)]
struct Payment {
    amount: i64,
    refunded: i64,
    failed: bool,
    void: bool,
    disputed: bool,
    lost: bool,
    won: bool,
    covers: BTreeMap<i64, i64>,
    /// What the last dispute released.
    released: BTreeMap<i64, i64>,
}

impl Payment {
    fn status(&self) -> PaymentStatus {
        if self.failed {
            Failed
        } else if self.refunded == self.amount {
            Refunded
        } else if self.disputed || self.lost {
            Disputed
        } else {
            Paid
        }
    }

    fn is_paid(&self) -> bool {
        self.status() == Paid && !self.void
    }

    fn credit(&self) -> i64 {
        let used: i64 = self.covers.values().sum();
        if self.is_paid() { self.amount - self.refunded - used } else { 0 }
    }
}

#[derive(Debug, Default)]
struct Model {
    dues: BTreeMap<i64, Due>,
    payments: BTreeMap<i64, Payment>,
}

/// Nothing, or the reason of the refusal.
type Verdict = Result<(), &'static str>;

impl Model {
    fn covered(&self, due: i64) -> i64 {
        self.payments.values().filter_map(|payment| payment.covers.get(&due)).sum()
    }

    fn open(&self, due: i64) -> i64 {
        let it = &self.dues[&due];
        let left = it.amount - self.covered(due);
        if it.is_closed { 0 } else { left }
    }

    /// Those that a payment may be spread over, in the order in which they are due.
    fn in_order(&self) -> Vec<i64> {
        let mut order: Vec<_> = self.dues.keys().copied().collect();
        order.sort_by_key(|id| (&self.dues[id].day, *id));
        order
    }

    /// In the order in which they are sent.
    fn check_shares(&self, wanted: &BTreeMap<i64, i64>, credit: i64) -> Verdict {
        for (&id, amount) in wanted {
            let due = &self.dues[&id];
            if due.is_in_francs {
                return Err("CURRENCY_MISMATCH");
            }
            if self.covered(id) == due.amount {
                return Err("INSTALMENT_PAID");
            }
            if due.is_closed {
                return Err("INSTALMENT_CLOSED");
            }
            if *amount > self.open(id) {
                return Err("ABOVE_OPEN");
            }
        }
        if wanted.values().sum::<i64>() > credit { Err("ABOVE_CREDIT") } else { Ok(()) }
    }

    /// Cent by cent to whoever is due first.
    fn oldest(&self, mut credit: i64) -> BTreeMap<i64, i64> {
        let mut shares = BTreeMap::new();
        for id in self.in_order() {
            if self.dues[&id].is_in_francs {
                continue;
            }
            for _ in 0..self.open(id) {
                if credit > 0 {
                    credit -= 1;
                    *shares.entry(id).or_default() += 1;
                }
            }
        }
        shares
    }

    fn cover(&mut self, id: i64, shares: &BTreeMap<i64, i64>) {
        let covers = &mut self.payments.get_mut(&id).unwrap().covers;
        for (due, amount) in shares {
            *covers.entry(*due).or_default() += amount;
        }
    }

    fn refund(&mut self, id: i64, amount: Option<i64>) -> Verdict {
        let mut order = self.in_order();
        order.reverse();
        let payment = self.payments.get_mut(&id).unwrap();
        if !payment.is_paid() {
            return Err("PAYMENT_STATUS");
        }
        let amount = amount.unwrap_or(payment.amount - payment.refunded);
        if amount > payment.amount - payment.refunded {
            return Err("ABOVE_REFUNDABLE");
        }
        let mut beyond = amount - payment.credit();
        payment.refunded += amount;
        for due in order {
            while beyond > 0 && payment.covers.get(&due).is_some_and(|cents| *cents > 0) {
                *payment.covers.get_mut(&due).unwrap() -= 1;
                beyond -= 1;
            }
        }
        payment.covers.retain(|_, cents| *cents > 0);
        Ok(())
    }

    fn win(&mut self, id: i64) {
        let released = std::mem::take(&mut self.payments.get_mut(&id).unwrap().released);
        let payment = self.payments.get_mut(&id).unwrap();
        (payment.disputed, payment.won) = (false, true);
        let mut credit = payment.credit();
        for due in self.in_order() {
            let cents = released.get(&due).copied().unwrap_or_default();
            let again = cents.min(self.open(due)).min(credit);
            credit -= again;
            if again > 0 {
                self.cover(id, &BTreeMap::from([(due, again)]));
            }
        }
    }
}

/// One call, and what the model says to it.
async fn step(till: &Till, model: &mut Model, dice: &mut Dice) -> (String, Answer, Verdict) {
    let ids: Vec<i64> = model.payments.keys().copied().collect();
    if ids.is_empty() || dice.roll(4) == 0 {
        return create(till, model, dice).await;
    }
    let id = ids[dice.roll(ids.len())];
    let is_paid = model.payments[&id].is_paid();
    let untouched = model.payments[&id].refunded == 0;
    let wrong = |fits: bool| if fits { Ok(()) } else { Err("PAYMENT_STATUS") };
    match dice.roll(9) {
        0 => {
            let wanted = some_shares(model, dice);
            let verdict = wrong(is_paid)
                .and_then(|()| model.check_shares(&wanted, model.payments[&id].credit()));
            let answer = till.cover(id, &as_text(&wanted)).await;
            if verdict.is_ok() {
                model.cover(id, &wanted);
            }
            (format!("cover {id} {wanted:?}"), answer, verdict)
        }
        1 => {
            let answer = till.cover_oldest(id).await;
            if is_paid {
                let shares = model.oldest(model.payments[&id].credit());
                model.cover(id, &shares);
            }
            (format!("cover the oldest with {id}"), answer, wrong(is_paid))
        }
        2 | 3 => {
            let amount = (dice.roll(3) > 0).then(|| dice.cents(600));
            let text = amount.map(euros).unwrap_or_default();
            let answer = till.refund(id, &text).await;
            (format!("refund {id} {amount:?}"), answer, model.refund(id, amount))
        }
        4 => {
            let answer = till.dispute(id).await;
            let payment = model.payments.get_mut(&id).unwrap();
            if is_paid {
                (payment.disputed, payment.won) = (true, false);
                payment.released = std::mem::take(&mut payment.covers);
            }
            (format!("dispute {id}"), answer, wrong(is_paid))
        }
        5 => {
            let is_open = model.payments[&id].disputed && model.payments[&id].status() == Disputed;
            if dice.roll(3) > 0 {
                let answer = till.resolve(id, DisputeOutcome::Won).await;
                if is_open {
                    model.win(id);
                }
                return (format!("win {id}"), answer, wrong(is_open));
            }
            let answer = till.resolve(id, DisputeOutcome::Lost).await;
            let payment = model.payments.get_mut(&id).unwrap();
            if is_open {
                (payment.disputed, payment.lost) = (false, true);
            }
            (format!("lose {id}"), answer, wrong(is_open))
        }
        6 => {
            let answer = till.fail(id).await;
            let payment = model.payments.get_mut(&id).unwrap();
            if is_paid && untouched {
                payment.failed = true;
                payment.covers.clear();
            }
            (format!("fail {id}"), answer, wrong(is_paid && untouched))
        }
        7 => {
            let answer = till.void(id).await;
            let payment = model.payments.get_mut(&id).unwrap();
            let fits = !payment.void && untouched && matches!(payment.status(), Paid | Failed);
            if fits {
                payment.void = true;
                payment.covers.clear();
            }
            (format!("void {id}"), answer, wrong(fits))
        }
        _ => {
            let notes = dice.roll(1000).to_string();
            let update = pb::Payment { id, notes, ..Default::default() };
            (format!("update {id}"), till.update(update, &[]).await, Ok(()))
        }
    }
}

async fn create(till: &Till, model: &mut Model, dice: &mut Dice) -> (String, Answer, Verdict) {
    let amount = dice.cents(1500);
    let mut request = till.paying(&euros(amount));
    let mut wanted = BTreeMap::new();
    let failed = dice.roll(8) == 0;
    let way = if failed { 3 } else { dice.roll(3) };
    match way {
        0 => wanted = some_shares(model, dice),
        1 => request.auto_allocate = true,
        _ => {}
    }
    request.allocations = shares(&as_text(&wanted));
    if failed {
        request.payment.as_mut().unwrap().status = Failed.into();
    }
    let verdict = model.check_shares(&wanted, amount);
    let said = format!("create {amount}, failed {failed}, way {way}, {wanted:?}");
    let answer = till.create(request).await;
    if let (Ok(made), Ok(())) = (&answer, verdict) {
        if way == 1 {
            wanted = model.oldest(amount);
        }
        model.payments.insert(made.id, Payment { amount, failed, ..Default::default() });
        model.cover(made.id, &wanted);
    }
    (said, answer, verdict)
}

fn some_shares(model: &Model, dice: &mut Dice) -> BTreeMap<i64, i64> {
    let dues: Vec<i64> = model.dues.keys().copied().collect();
    (0..=dice.roll(2)).map(|_| (dues[dice.roll(dues.len())], dice.cents(400))).collect()
}

fn euros(cents: i64) -> String {
    shown_money(cents.into(), "EUR").amount
}

fn as_text(shares: &BTreeMap<i64, i64>) -> Vec<(i64, &'static str)> {
    shares.iter().map(|(id, cents)| (*id, &*euros(*cents).leak())).collect()
}

/// A payment is what the model says.
fn check(payment: &pb::Payment, model: &Payment) {
    let shown = |cents: i64| money("EUR", &euros(cents));
    assert_eq!(payment.status(), model.status());
    assert_eq!(payment.amount, shown(model.amount));
    assert_eq!(payment.refunded_amount, shown(model.refunded));
    assert_eq!(payment.credit_amount, shown(model.credit()));
    assert_eq!(payment.void_time.is_some(), model.void);
    let outcome = payment.dispute.as_ref().map(pb::PaymentDispute::outcome);
    let expected = match (model.disputed, model.lost, model.won) {
        (true, _, _) => Some(DisputeOutcome::Open),
        (_, true, _) => Some(DisputeOutcome::Lost),
        (_, _, true) => Some(DisputeOutcome::Won),
        _ => None,
    };
    assert_eq!(outcome, expected);
    let covers = payment.allocations.iter().map(|it| (it.instalment_id, it.amount.clone()));
    assert!(covers.eq(model.covers.iter().map(|(id, cents)| (*id, shown(*cents)))));
}

async fn check_everything(till: &Till, model: &Model) {
    for (id, payment) in &model.payments {
        check(&till.get(*id).await, payment);
    }
    for (id, due) in &model.dues {
        let status = match model.covered(*id) {
            cents if cents == due.amount => "paid",
            _ if due.is_closed => "closed",
            _ => "open",
        };
        assert_eq!(till.instalment(*id).await, (model.covered(*id), status.to_owned()), "{id}");
    }
    let counted = || model.payments.values().filter(|payment| !payment.void);
    let of = |status| counted().filter(move |payment| payment.status() == status);
    let count = |status| i64::try_from(of(status).count()).unwrap();
    let cents = |amount: i64| money("EUR", &euros(amount));
    let gross = counted().filter(|it| !it.failed).map(|it| it.amount).sum::<i64>();
    let refunded = counted().map(|it| it.refunded).sum::<i64>();
    let disputed = of(Disputed).map(|it| it.amount - it.refunded).sum::<i64>();
    let expected = pb::GetPaymentStatisticsResponse {
        total_payments: i64::try_from(counted().count()).unwrap(),
        total_amounts: Vec::from_iter(cents(counted().map(|it| it.amount).sum())),
        paid: count(Paid),
        failed: count(Failed),
        refunded: count(Refunded),
        disputed: count(Disputed),
        totals: vec![pb::PaymentTotals {
            currency_code: "EUR".into(),
            gross: cents(gross),
            refunded: cents(refunded),
            disputed: cents(disputed),
            net: cents(gross - refunded - disputed),
        }],
    };
    assert_eq!(till.statistics().await, expected);
    till.recount().await;
}

#[tokio::test]
async fn whatever_is_done_in_whatever_order_every_sum_is_right() {
    let till = Till::open().await;
    let mut model = Model::default();
    for (number, day) in [
        "2025-03-31",
        "2025-01-31",
        "2025-02-28",
        "2025-01-31",
        "2024-01-01",
        "2024-01-02",
        "2026-01-01",
    ]
    .into_iter()
    .enumerate()
    {
        let amount = [2000, 900, 400, 1500, 700, 700, 6000][number];
        let id = till.due(amount, day).await;
        let (is_closed, is_in_francs) = (number == 4, number == 5);
        model.dues.insert(id, Due { amount, day: day.into(), is_closed, is_in_francs });
        till.crm
            .database
            .execute(&format!(
                "UPDATE crm.instalments SET state = 'closed' WHERE id = {id} AND {is_closed};
                 UPDATE crm.instalments SET currency = 'CHF' WHERE id = {id} AND {is_in_francs}"
            ))
            .await;
    }
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut refusals = BTreeSet::new();
    for number in 0..500 {
        let (said, answer, verdict) = step(&till, &mut model, &mut dice).await;
        match (answer, verdict) {
            (Ok(payment), Ok(())) => check(&payment, &model.payments[&payment.id]),
            (Err(status), Err(reason)) => {
                let refused = Refusal::of(&status);
                assert_eq!(refused.said(), (Code::FailedPrecondition, reason), "{number}: {said}");
                refusals.insert(reason);
            }
            (answer, verdict) => panic!("{number}: {said}: {answer:?}, but {verdict:?}"),
        }
        if number % 50 == 49 {
            check_everything(&till, &model).await;
        }
    }
    // It went everywhere.
    let reasons = [
        "ABOVE_CREDIT",
        "ABOVE_OPEN",
        "ABOVE_REFUNDABLE",
        "CURRENCY_MISMATCH",
        "INSTALMENT_CLOSED",
        "INSTALMENT_PAID",
        "PAYMENT_STATUS",
    ];
    assert_eq!(refusals, BTreeSet::from(reasons));
    for status in [Paid, Failed, Refunded, Disputed] {
        assert!(
            model.payments.values().filter(|it| it.status() == status).count() > 3,
            "{status:?}"
        );
    }
}
