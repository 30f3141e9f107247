//! What can happen to a payment, and what does it do to the money in it?
//!
//! Facts in, facts out: nothing here knows of a database or a message. What is allocated
//! differently afterwards is read off two sets of facts by [`Facts::entries_since`].

use std::collections::BTreeMap;

use proto::common::v1::ErrorReason as Reason;
use service_kit::error::Error;

/// Amounts in minor units, by instalment.
pub type ByInstalment = BTreeMap<i64, i64>;

/// How things stand with a payment, in the order in which most of them go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Failed,
    Paid,
    Disputed,
    Refunded,
}

impl Status {
    /// As it stands in the column, and was spelled by the old API.
    pub fn text(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Paid => "paid",
            Self::Disputed => "disputed",
            Self::Refunded => "refunded",
        }
    }
}

/// How the last dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispute {
    Never,
    Open,
    Won,
    Lost,
}

/// What a person can do to a payment once it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Allocate,
    Refund,
    Dispute,
    Resolve,
    Fail,
    Void,
}

/// What is known of a payment: all else follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub amount: i64,
    pub refunded: i64,
    pub has_failed: bool,
    pub dispute: Dispute,
    pub is_void: bool,
    /// What it covers now; each above zero.
    pub allocations: ByInstalment,
}

impl Facts {
    /// Of a payment that covers nothing yet.
    pub fn new(amount: i64, has_failed: bool) -> Self {
        Self {
            amount,
            refunded: 0,
            has_failed,
            dispute: Dispute::Never,
            is_void: false,
            allocations: ByInstalment::new(),
        }
    }

    /// The column `status` is generated in the same way.
    pub fn status(&self) -> Status {
        match self.dispute {
            _ if self.has_failed => Status::Failed,
            _ if self.refunded == self.amount => Status::Refunded,
            Dispute::Open | Dispute::Lost => Status::Disputed,
            Dispute::Never | Dispute::Won => Status::Paid,
        }
    }

    pub fn allocated(&self) -> i64 {
        self.allocations.values().sum()
    }

    /// What of it was not given back.
    pub fn kept(&self) -> i64 {
        self.amount - self.refunded
    }

    /// What of it can be allocated.
    pub fn credit(&self) -> i64 {
        let counts = self.status() == Status::Paid && !self.is_void;
        if counts { self.kept() - self.allocated() } else { 0 }
    }

    /// The state machine, as it binds people. Stripe is not asked whether it may: it says what
    /// happened.
    pub fn allows(&self, step: Step) -> Result<(), Error> {
        let (status, untouched) = (self.status(), self.refunded == 0);
        let fits = match step {
            Step::Allocate | Step::Refund | Step::Dispute => status == Status::Paid,
            Step::Resolve => status == Status::Disputed && self.dispute == Dispute::Open,
            Step::Fail => status == Status::Paid && untouched,
            Step::Void => matches!(status, Status::Paid | Status::Failed) && untouched,
        };
        if fits && !self.is_void { Ok(()) } else { Err(wrong_status()) }
    }

    /// Covers more, out of credit.
    pub fn allocate(&self, more: &ByInstalment) -> Result<Self, Error> {
        let sum: i128 = more.values().copied().map(i128::from).sum();
        if sum > i128::from(self.credit()) {
            return Err(above_credit());
        }
        Ok(self.with_more(more))
    }

    /// Gives back until `total` is given back, or leaves it at what was. Takes credit first,
    /// then from the instalments in the order given; those that it leaves out come last.
    pub fn refund_to(&self, total: i64, latest_due_first: &[i64]) -> Result<Self, Error> {
        if self.is_void || self.has_failed {
            return Err(wrong_status());
        }
        if total > self.amount {
            return Err(above_refundable());
        }
        let mut after = Self { refunded: total.max(self.refunded), ..self.clone() };
        let mut excess = after.allocated() - after.kept();
        for id in latest_due_first.iter().chain(self.allocations.keys()) {
            let Some(covered) = after.allocations.get_mut(id) else { continue };
            let taken = excess.clamp(0, *covered);
            *covered -= taken;
            excess -= taken;
        }
        after.allocations.retain(|_, amount| *amount > 0);
        Ok(after)
    }

    /// It did not come in after all.
    pub fn fail(&self) -> Result<Self, Error> {
        if self.is_void || self.refunded > 0 {
            return Err(wrong_status());
        }
        Ok(Self { has_failed: true, ..self.released() })
    }

    /// It came in after all.
    pub fn succeed(&self) -> Result<Self, Error> {
        if self.is_void {
            return Err(wrong_status());
        }
        Ok(Self { has_failed: false, ..self.clone() })
    }

    /// It was another amount than we knew.
    pub fn correct(&self, amount: i64) -> Result<Self, Error> {
        if self.is_void || amount < self.refunded + self.allocated() {
            return Err(wrong_status());
        }
        Ok(Self { amount, ..self.clone() })
    }

    /// It was never meant to be there.
    pub fn void(&self) -> Result<Self, Error> {
        if self.is_void || self.refunded > 0 {
            return Err(wrong_status());
        }
        Ok(Self { is_void: true, ..self.released() })
    }

    /// A dispute is open, or lost: what it covered is released.
    pub fn dispute(&self) -> Result<Self, Error> {
        self.after_dispute(Dispute::Open).map(|after| after.released())
    }

    /// The dispute is lost, whether or not we knew of it.
    pub fn lose(&self) -> Result<Self, Error> {
        self.after_dispute(Dispute::Lost).map(|after| after.released())
    }

    /// The dispute is won: what it released is covered again in the order given, each as far as
    /// it is still open and as there is credit.
    pub fn win(&self, released: impl IntoIterator<Item = (i64, i64)>) -> Result<Self, Error> {
        let after = self.after_dispute(Dispute::Won)?;
        Ok(after.with_more(&spread(after.credit(), released)))
    }

    /// What must be entered for each instalment to get from there to here: above zero for what
    /// is covered now, below for what no longer is.
    pub fn entries_since(&self, before: &Self) -> ByInstalment {
        let mut entries = self.allocations.clone();
        for (id, amount) in &before.allocations {
            *entries.entry(*id).or_default() -= amount;
        }
        entries.retain(|_, amount| *amount != 0);
        entries
    }

    fn after_dispute(&self, dispute: Dispute) -> Result<Self, Error> {
        if self.is_void || self.has_failed {
            return Err(wrong_status());
        }
        Ok(Self { dispute, ..self.clone() })
    }

    fn released(&self) -> Self {
        Self { allocations: ByInstalment::new(), ..self.clone() }
    }

    fn with_more(&self, more: &ByInstalment) -> Self {
        let mut after = self.clone();
        for (id, amount) in more {
            *after.allocations.entry(*id).or_default() += amount;
        }
        after
    }
}

/// Spreads credit over instalments, each with what it can take: the first ones take theirs
/// before the others.
pub fn spread(mut credit: i64, takers: impl IntoIterator<Item = (i64, i64)>) -> ByInstalment {
    let mut shares = ByInstalment::new();
    for (id, open) in takers {
        let share = open.clamp(0, credit);
        credit -= share;
        if share > 0 {
            *shares.entry(id).or_default() += share;
        }
    }
    shares
}

fn wrong_status() -> Error {
    Error::Refused {
        reason: Reason::PaymentStatus,
        sentence: "The payment's status does not allow this.",
    }
}

fn above_credit() -> Error {
    Error::Refused {
        reason: Reason::AboveCredit,
        sentence: "This is more than what is left of the payment.",
    }
}

fn above_refundable() -> Error {
    Error::Refused {
        reason: Reason::AboveRefundable,
        sentence: "This is more than what is left to be refunded.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covering(amount: i64, allocations: &[(i64, i64)]) -> Facts {
        Facts { allocations: allocations.iter().copied().collect(), ..Facts::new(amount, false) }
    }

    fn entries(pairs: &[(i64, i64)]) -> ByInstalment {
        pairs.iter().copied().collect()
    }

    fn reason<T: std::fmt::Debug>(refused: Result<T, Error>) -> Reason {
        refused.expect_err("this must be refused").reason()
    }

    #[test]
    fn a_part_given_back_takes_credit_first_and_then_what_is_due_last() {
        let before = covering(100, &[(1, 30), (2, 40)]);
        let after = before.refund_to(30, &[2, 1]).unwrap();
        assert_eq!(after.entries_since(&before), entries(&[]));
        let after = before.refund_to(50, &[2, 1]).unwrap();
        assert_eq!(after.entries_since(&before), entries(&[(2, -20)]));
        let after = before.refund_to(75, &[2, 1]).unwrap();
        assert_eq!(after.entries_since(&before), entries(&[(1, -5), (2, -40)]));
        let all = before.refund_to(100, &[2, 1]).unwrap();
        assert_eq!(all.entries_since(&before), entries(&[(1, -30), (2, -40)]));
        assert_eq!((all.status(), all.credit()), (Status::Refunded, 0));
        assert_eq!(reason(before.refund_to(101, &[])), Reason::AboveRefundable);
    }

    #[test]
    fn what_is_won_is_covered_again_as_far_as_it_is_open() {
        let before = covering(100, &[(1, 60), (2, 30)]);
        let disputed = before.dispute().unwrap();
        assert_eq!(disputed.entries_since(&before), entries(&[(1, -60), (2, -30)]));
        assert_eq!((disputed.status(), disputed.credit()), (Status::Disputed, 0));
        // Of the first, somebody else covered 20 meanwhile.
        let won = disputed.win([(1, 40), (2, 30)]).unwrap();
        assert_eq!(won.entries_since(&disputed), entries(&[(1, 40), (2, 30)]));
        assert_eq!((won.status(), won.credit()), (Status::Paid, 30));
        let lost = disputed.lose().unwrap();
        assert_eq!((lost.status(), lost.allocated(), lost.credit()), (Status::Disputed, 0, 0));
        // Something was given back meanwhile: it is not covered with.
        let won = disputed.refund_to(70, &[]).unwrap().win([(1, 60), (2, 30)]).unwrap();
        assert_eq!(won.allocations, entries(&[(1, 30)]));
    }

    #[test]
    fn all_given_back_is_refunded_whatever_was_disputed() {
        let facts = covering(100, &[]).dispute().unwrap().refund_to(100, &[]).unwrap();
        assert_eq!((facts.status(), facts.dispute), (Status::Refunded, Dispute::Open));
        let won = facts.win([(1, 100)]).unwrap();
        assert_eq!((won.status(), won.allocated()), (Status::Refunded, 0));
    }

    /// Security checklist 56: exactly these steps, and no other.
    #[test]
    fn the_state_machine_allows_what_the_contract_says() {
        use Step::{Allocate, Dispute, Fail, Refund, Resolve, Void};
        let paid = covering(100, &[(1, 100)]);
        let part = paid.refund_to(40, &[1]).unwrap();
        let disputed = paid.dispute().unwrap();
        for (what, facts, allowed) in [
            ("paid", paid.clone(), &[Allocate, Refund, Dispute, Fail, Void] as &[Step]),
            ("partly refunded", part.clone(), &[Allocate, Refund, Dispute]),
            ("refunded", paid.refund_to(100, &[]).unwrap(), &[]),
            ("failed", paid.fail().unwrap(), &[Void]),
            ("disputed", disputed.clone(), &[Resolve]),
            ("partly refunded and disputed", part.dispute().unwrap(), &[Resolve]),
            ("lost", disputed.lose().unwrap(), &[]),
            ("won", disputed.win([]).unwrap(), &[Allocate, Refund, Dispute, Fail, Void]),
            (
                "partly refunded and won",
                part.dispute().unwrap().win([]).unwrap(),
                &[Allocate, Refund, Dispute],
            ),
            ("void", paid.void().unwrap(), &[]),
            ("failed and void", paid.fail().unwrap().void().unwrap(), &[]),
        ] {
            for step in [Allocate, Refund, Dispute, Resolve, Fail, Void] {
                let answer = facts.allows(step);
                assert_eq!(answer.is_ok(), allowed.contains(&step), "{what}: {step:?}");
                if let Err(refused) = answer {
                    assert_eq!(refused.reason(), Reason::PaymentStatus);
                }
            }
        }
    }

    /// Anything that may be said of a payment, by people or by Stripe, in whatever order.
    #[derive(Debug, Clone)]
    enum Said {
        Allocated(ByInstalment),
        RefundedTo(i64, Vec<i64>),
        Failed,
        Succeeded,
        Corrected(i64),
        Void,
        Disputed,
        Lost,
        Won(Vec<(i64, i64)>),
    }

    impl Said {
        fn of(&self, facts: &Facts) -> Result<Facts, Error> {
            match self {
                Self::Allocated(more) => facts.allocate(more),
                Self::RefundedTo(total, order) => facts.refund_to(*total, order),
                Self::Failed => facts.fail(),
                Self::Succeeded => facts.succeed(),
                Self::Corrected(amount) => facts.correct(*amount),
                Self::Void => facts.void(),
                Self::Disputed => facts.dispute(),
                Self::Lost => facts.lose(),
                Self::Won(released) => facts.win(released.iter().copied()),
            }
        }
    }

    fn said() -> impl Strategy<Value = Said> {
        let share = || (1..6_i64, 1..400_i64);
        prop_oneof![
            4 => prop::collection::btree_map(1..6_i64, 1..400_i64, 1..4).prop_map(Said::Allocated),
            4 => (0..1200_i64, prop::collection::vec(1..6_i64, 0..5))
                .prop_map(|(total, order)| Said::RefundedTo(total, order)),
            1 => Just(Said::Failed),
            1 => Just(Said::Succeeded),
            1 => (1..1200_i64).prop_map(Said::Corrected),
            1 => Just(Said::Void),
            3 => Just(Said::Disputed),
            1 => Just(Said::Lost),
            3 => prop::collection::vec(share(), 0..4).prop_map(Said::Won),
        ]
    }

    /// What every payment keeps to; the first lines are CHECKs of the table too.
    fn check(facts: &Facts) {
        assert!((0..=facts.amount).contains(&facts.refunded), "{facts:?}");
        assert!(facts.refunded + facts.allocated() <= facts.amount, "{facts:?}");
        assert!(!facts.has_failed || facts.refunded == 0 && facts.allocated() == 0, "{facts:?}");
        assert!(!facts.is_void || facts.refunded == 0 && facts.allocated() == 0, "{facts:?}");
        let is_in_doubt = matches!(facts.dispute, Dispute::Open | Dispute::Lost);
        assert!(!is_in_doubt || facts.allocated() == 0, "{facts:?}");
        assert!(facts.allocations.values().all(|amount| *amount > 0), "{facts:?}");
        let counts = facts.status() == Status::Paid && !facts.is_void;
        assert!(counts || facts.allocated() == 0 && facts.credit() == 0, "{facts:?}");
        let sum = facts.refunded + facts.allocated() + facts.credit();
        assert!(!counts || sum == facts.amount, "{facts:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_ever_below_zero_or_beyond_what_was_paid(
            amount in 1..1000_i64,
            has_failed in prop::bool::weighted(0.2),
            all in prop::collection::vec(said(), 0..40),
        ) {
            let mut facts = Facts::new(amount, has_failed);
            for said in all {
                let Ok(after) = said.of(&facts) else { continue };
                check(&after);
                let entries = after.entries_since(&facts);
                let mut summed = facts.allocations.clone();
                for (id, amount) in &entries {
                    prop_assert_ne!(*amount, 0);
                    *summed.entry(*id).or_default() += amount;
                }
                summed.retain(|_, amount| *amount != 0);
                prop_assert_eq!(&summed, &after.allocations);
                facts = after;
            }
        }

        /// What was given back in the end does not depend on the order in which one learns of it.
        #[test]
        fn refunds_come_to_the_same_in_any_order(
            shares in prop::collection::btree_map(1..6_i64, 1..200_i64, 0..5),
            credit in 1..200_i64,
            one in 0..1000_i64,
            other in 0..1000_i64,
        ) {
            let amount = shares.values().sum::<i64>() + credit;
            let order: Vec<i64> = shares.keys().rev().copied().collect();
            let paid = Facts { allocations: shares, ..Facts::new(amount, false) };
            let (one, other) = (one.min(amount), other.min(amount));
            let to = |facts: &Facts, total| facts.refund_to(total, &order).unwrap();
            let both = to(&to(&paid, one), other);
            prop_assert_eq!(&both, &to(&to(&paid, other), one));
            prop_assert_eq!(&both, &to(&paid, one.max(other)));
            // Nor whether one learns of a dispute before or after it.
            let disputed = |facts: &Facts| facts.dispute().unwrap();
            prop_assert_eq!(to(&disputed(&paid), one), disputed(&to(&paid, one)));
        }

        #[test]
        fn credit_is_spread_in_order_and_never_beyond_what_is_open(
            credit in 0..1000_i64,
            open in prop::collection::vec(0..300_i64, 0..8),
        ) {
            let takers = (1_i64..).zip(open.iter().copied());
            let shares = spread(credit, takers);
            let sum: i64 = shares.values().sum();
            prop_assert_eq!(sum, credit.min(open.iter().sum()));
            let mut left = credit;
            for (id, open) in (1_i64..).zip(open) {
                prop_assert_eq!(shares.get(&id).copied().unwrap_or_default(), open.min(left));
                left -= open.min(left);
            }
        }
    }
}
