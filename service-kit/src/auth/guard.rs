//! Would whoever opened a stream still be let in?

use std::{future::pending, sync::Arc, time::Duration};

use futures::stream::{BoxStream, Stream, StreamExt, try_unfold};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::{Credential, Gate};
use crate::{caller::Caller, error::Error, policy::Rule};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(5);

/// What a caller was let in by, so that it can be asked again.
#[derive(Clone)]
pub struct Guard {
    gate: Arc<Gate>,
    rule: Rule,
    credential: Arc<Credential>,
    asked: Instant,
    /// Of what may have changed since it was asked.
    news: Option<watch::Receiver<()>>,
    /// Whether there was somebody then who would tell.
    held: bool,
}

impl Guard {
    /// Of a caller whom the gate is about to ask about.
    pub(super) fn new(gate: Arc<Gate>, rule: Rule, credential: Credential) -> Self {
        let (credential, asked) = (Arc::new(credential), Instant::now());
        let news = gate.authenticator.news();
        Self { gate, rule, credential, asked, news, held: false }
    }

    /// The caller as of now, if they are let in.
    pub(super) async fn ask(&mut self) -> Result<Caller, Error> {
        self.asked = Instant::now();
        // Before it is asked: what happens meanwhile is a reason to ask again.
        if let Some(news) = &mut self.news {
            news.mark_unchanged();
        }
        let caller = self.gate.identify(self.rule, &self.credential).await?;
        self.held |= self.gate.authenticator.holds();
        Ok(caller)
    }

    /// The caller as they are by now, where it is time to ask: for a stream that works in steps,
    /// between two of them.
    ///
    /// # Errors
    /// Where they would not be let in any more, or nobody would tell if it were so: a stream that
    /// relied on being told ends with that.
    pub async fn again(&mut self) -> Result<Option<Caller>, Error> {
        if self.held && !self.gate.authenticator.holds() {
            return Err(Error::identity_unavailable());
        }
        let has_news = self.news.as_ref().is_some_and(|news| news.has_changed().unwrap_or(false));
        if !has_news && self.due() > Instant::now() {
            return Ok(None);
        }
        self.ask().await.map(Some)
    }

    /// Completes when it is time to ask [`again`](Self::again).
    pub async fn is_due(&mut self) {
        let due = sleep_until(self.due());
        let news = async {
            let Some(news) = &mut self.news else { return pending().await };
            if news.changed().await.is_err() {
                // Nobody is left who would tell any.
                return pending().await;
            }
            news.mark_changed();
        };
        tokio::select! {
            () = due => {}
            () = news => {}
        }
    }

    fn due(&self) -> Instant {
        self.asked + EVERY
    }

    /// The same stream, for as long as its caller would be let in anew and `still` agrees to what
    /// they are by now. Then it ends with the refusal, also where nobody can tell at the moment:
    /// nothing is sent after an answer is due that has not come.
    pub fn over<T: Send + 'static>(
        self,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
        still: impl Fn(&Caller) -> Result<(), Error> + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<T, Status>> {
        let guarded = Guarded { guard: self, stream: stream.boxed(), still };
        try_unfold(guarded, |mut guarded| async move {
            let next = guarded.next().await?;
            Ok(next.map(|item| (item, guarded)))
        })
        .boxed()
    }
}

struct Guarded<T, F> {
    guard: Guard,
    stream: BoxStream<'static, Result<T, Status>>,
    still: F,
}

impl<T, F: Fn(&Caller) -> Result<(), Error>> Guarded<T, F> {
    async fn next(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(caller) = self.guard.again().await? {
                (self.still)(&caller)?;
            }
            tokio::select! {
                // What would end it goes before what it has to say.
                biased;
                () = self.guard.is_due() => {}
                item = self.stream.next() => return item.transpose(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use futures::stream::{pending, repeat};
    use proto::{
        common::v1::{ErrorReason as Reason, Role},
        identity::v1::EmployeeClientVisibility,
    };
    use tokio::time::sleep;

    use super::*;
    use crate::{
        auth::{Authenticator, ServiceSecrets},
        caller::{Actor, Facts, Tz},
        config::Reflection,
        error::reason_text,
        fields::Currency,
        policy::{Access, Policy, rule},
    };

    const RULE: Rule = rule("/a.Service/Watch", Access::AtLeast(Role::Admin));

    /// Says what it was told to say, and how often it was asked; and lets know when it would say
    /// something else, where it does.
    struct Scripted {
        said: Mutex<(Result<Role, Reason>, u32)>,
        news: Option<watch::Sender<()>>,
        holds: AtomicBool,
    }

    #[tonic::async_trait]
    impl Authenticator for Scripted {
        async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
            assert_eq!(credential.expose(), "hers");
            let mut script = self.said.lock().unwrap();
            script.1 += 1;
            Ok(Facts {
                account_id: 7,
                actor: Actor::Employee(1),
                role: script.0.map_err(Error::Unauthenticated)?,
                permissions: Vec::new(),
                default_currency: Currency::USD,
                time_zone: Tz::UTC,
                visibility: EmployeeClientVisibility::default(),
                session_id: None,
                account_closed: false,
            })
        }

        fn news(&self) -> Option<watch::Receiver<()>> {
            self.news.as_ref().map(watch::Sender::subscribe)
        }

        fn holds(&self) -> bool {
            self.holds.load(Ordering::Relaxed)
        }
    }

    fn scripted() -> (Arc<Scripted>, Guard) {
        guarded(None)
    }

    /// By one who lets know.
    async fn told() -> (Arc<Scripted>, Guard) {
        let (script, mut guard) = guarded(Some(watch::Sender::new(())));
        guard.ask().await.unwrap();
        (script, guard)
    }

    fn guarded(news: Option<watch::Sender<()>>) -> (Arc<Scripted>, Guard) {
        let (said, holds) = (Mutex::new((Ok(Role::Admin), 0)), AtomicBool::new(news.is_some()));
        let script = Arc::new(Scripted { said, news, holds });
        let gate = Gate {
            policy: Policy::new(&[RULE]),
            authenticator: script.clone(),
            service_secrets: ServiceSecrets::default(),
            reflection: Reflection::Off,
        };
        (script, Guard::new(Arc::new(gate), RULE, Credential::new("hers")))
    }

    fn reason(status: &Status) -> &str {
        status.metadata().get("error-reason").unwrap().to_str().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_goes_on_while_its_caller_would_be_let_in_and_ends_within_five_seconds() {
        let changes: [(Result<Role, Reason>, Reason); 2] = [
            (Err(Reason::TokenRevoked), Reason::TokenRevoked),
            // What the row of the policy asks for counts too.
            (Ok(Role::Employee), Reason::RoleRequired),
        ];
        for (change, refusal) in changes {
            let (script, guard) = scripted();
            let mut silent = guard.over(pending::<Result<(), Status>>(), |_| Ok(()));
            let goes_on = tokio::time::timeout(Duration::from_secs(3600), silent.next()).await;
            assert!(goes_on.is_err());
            assert_eq!(script.said.lock().unwrap().1, 3600 / 5);
            script.said.lock().unwrap().0 = change;
            let began = Instant::now();
            let last = silent.next().await.unwrap().unwrap_err();
            assert_eq!(reason(&last), reason_text(refusal));
            assert!(began.elapsed() <= EVERY);
            assert!(silent.next().await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_once_an_answer_is_due() {
        let (script, guard) = scripted();
        let mut busy = guard.over(repeat(()).map(Ok::<_, Status>), |_| Ok(()));
        for _ in 0..3 {
            busy.next().await.unwrap().unwrap();
        }
        assert_eq!(script.said.lock().unwrap().1, 0);
        script.said.lock().unwrap().0 = Err(Reason::TokenInvalid);
        sleep(EVERY).await;
        assert!(busy.next().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn where_something_changed_it_is_asked_at_once() {
        let (script, guard) = told().await;
        let mut silent = guard.over(pending::<Result<(), Status>>(), |_| Ok(()));
        let tell = || script.news.as_ref().unwrap().send_replace(());
        for asked in 2..5 {
            tell();
            assert!(tokio::time::timeout(EVERY / 2, silent.next()).await.is_err(), "it goes on");
            assert_eq!(script.said.lock().unwrap().1, asked);
        }
        script.said.lock().unwrap().0 = Err(Reason::TokenRevoked);
        tell();
        let began = Instant::now();
        assert_eq!(reason(&silent.next().await.unwrap().unwrap_err()), "TOKEN_REVOKED");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_any_more_once_nobody_would_tell_what_changes() {
        let (script, guard) = told().await;
        let mut busy = guard.over(repeat(()).map(Ok::<_, Status>), |_| Ok(()));
        busy.next().await.unwrap().unwrap();
        script.holds.store(false, Ordering::Relaxed);
        let last = busy.next().await.unwrap().unwrap_err();
        assert_eq!(reason(&last), "IDENTITY_UNAVAILABLE");
        assert_eq!(script.said.lock().unwrap().1, 1, "it is not asked");
        // A stream that began without goes on without, and is looked at now and then.
        let (script, mut guard) = told().await;
        script.holds.store(false, Ordering::Relaxed);
        guard.held = false;
        assert!(guard.again().await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_caller_is_by_now_may_be_a_reason_to_end() {
        let (_script, guard) = scripted();
        let still = |caller: &Caller| {
            assert_eq!(caller.account_id(), 7);
            Err(Error::CursorExpired)
        };
        let mut silent = guard.over(pending::<Result<(), Status>>(), still);
        let last = silent.next().await.unwrap().unwrap_err();
        assert_eq!(reason(&last), "CURSOR_EXPIRED");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_by_itself_ends() {
        let (_script, guard) = scripted();
        let mut short = guard.over(futures::stream::iter([Ok::<_, Status>(1)]), |_| Ok(()));
        assert_eq!(short.next().await.unwrap().unwrap(), 1);
        assert!(short.next().await.is_none());
    }
}
