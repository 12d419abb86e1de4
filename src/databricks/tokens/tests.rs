use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore};

use super::super::clock::tests::ManualClock;
use super::super::error::{ApiError, NoToken};
use super::*;

/// Issues `token-1`, `token-2`, … as told, each time when it is let.
struct Mint {
    issued: AtomicUsize,
    forgotten: AtomicUsize,
    lives: Mutex<Lives>,
    fails: Mutex<Option<Error>>,
    gate: Semaphore,
    done: Notify,
}

/// Lets tests look at the mint they gave away.
struct Handle(Arc<Mint>);

impl Issuer for Handle {
    fn issue(&self, _: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let n = self.0.issued.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.gate.acquire().await.unwrap().forget();
            self.0.done.notify_one();
            match self.0.fails.lock().unwrap().clone() {
                Some(error) => Err(error),
                None => Ok(Issued { token: format!("token-{n}").into(), lives: *self.0.lives.lock().unwrap() }),
            }
        })
    }

    fn forget(&self) {
        self.0.forgotten.fetch_add(1, Ordering::SeqCst);
    }
}

struct Bench {
    mint: Arc<Mint>,
    clock: ManualClock,
    tokens: Arc<Tokens>,
}

impl Bench {
    fn new(ttl: u64) -> Self {
        let mint = Arc::new(Mint {
            issued: AtomicUsize::new(0),
            forgotten: AtomicUsize::new(0),
            lives: Mutex::new(Lives::For(Duration::from_secs(ttl))),
            fails: Mutex::default(),
            gate: Semaphore::new(1000),
            done: Notify::new(),
        });
        let clock = ManualClock::default();
        let tokens = Tokens::new(Box::new(Handle(mint.clone())), clock.clock());
        Self { mint, clock, tokens }
    }

    async fn get(&self) -> Result<String, Error> {
        let token = self.tokens.get(Deadline::after(Duration::from_mins(1))).await?;
        Ok(token.authorization().to_str().unwrap().to_owned())
    }

    fn pass(&self, seconds: u64) {
        self.clock.turn(Duration::from_secs(seconds));
    }

    fn fails(&self, error: Option<Error>) {
        *self.mint.fails.lock().unwrap() = error;
    }

    fn issued(&self) -> usize {
        self.mint.issued.load(Ordering::SeqCst)
    }

    /// Asks until the background renewal shows.
    async fn until(&self, token: &str) {
        while self.get().await.unwrap() != token {
            tokio::task::yield_now().await;
        }
    }
}

fn outage() -> Error {
    Error::Unavailable(ApiError { http_status: 503, ..ApiError::default() })
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_wait_for_it() {
    let bench = Bench::new(3600);
    let all = futures::future::join_all((0..50).map(|_| bench.get())).await;
    assert!(all.iter().all(|token| token.as_deref() == Ok("Bearer token-1")), "{all:?}");
    assert_eq!(bench.issued(), 1);
}

#[tokio::test]
async fn a_failed_fetch_answers_all_who_wait_and_is_not_repeated_for_a_while() {
    let bench = Bench::new(3600);
    bench.fails(Some(Error::Credentials(CredentialsError::NotFound("no Secret".into()))));
    for answer in futures::future::join_all((0..50).map(|_| bench.get())).await {
        assert_eq!(answer.unwrap_err().reason(), "CredentialsNotFound");
    }
    assert_eq!(bench.issued(), 1);
    bench.fails(None);
    bench.pass(9);
    assert!(bench.get().await.is_err());
    bench.pass(1);
    assert_eq!(bench.get().await.unwrap(), "Bearer token-2");
}

#[tokio::test]
async fn whatever_goes_wrong_with_a_token_the_call_was_not_sent() {
    for error in [
        outage(),
        Error::WrongHost("x".into()),
        Error::Transport(TransportError::NoAnswer("x".into())),
        Error::Unauthenticated(ApiError::default()),
    ] {
        let bench = Bench::new(3600);
        bench.fails(Some(error.clone()));
        let got = bench.get().await.unwrap_err();
        assert_eq!(got.executed(), super::super::error::Executed::No, "{error:?}");
        assert_eq!(got.reason(), error.reason());
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_the_background_while_the_old_one_serves() {
    let bench = Bench::new(3600);
    bench.get().await.unwrap();
    bench.pass(2400);
    assert_eq!(bench.get().await.unwrap(), "Bearer token-1");
    bench.until("Bearer token-2").await;
    assert_eq!(bench.issued(), 2);
}

#[tokio::test]
async fn a_failed_renewal_is_tried_again_after_a_minute_while_the_old_one_serves() {
    let bench = Bench::new(3600);
    bench.get().await.unwrap();
    bench.pass(2400);
    bench.fails(Some(outage()));
    assert_eq!(bench.get().await.unwrap(), "Bearer token-1");
    bench.mint.done.notified().await;
    bench.mint.done.notified().await;
    bench.fails(None);
    // The failure is noted a moment after the mint has answered.
    while matches!(bench.tokens.look(), Look::UseAndRenew(_)) {
        tokio::task::yield_now().await;
    }
    bench.pass(59);
    assert_eq!((bench.get().await.unwrap().as_str(), bench.issued()), ("Bearer token-1", 2));
    bench.pass(1);
    bench.until("Bearer token-3").await;
}

#[tokio::test]
async fn a_token_is_never_used_within_40_seconds_of_its_end() {
    let bench = Bench::new(3600);
    bench.get().await.unwrap();
    bench.pass(3560);
    assert_eq!(bench.get().await.unwrap(), "Bearer token-2");
}

#[tokio::test]
async fn a_refused_token_is_dropped_once_however_many_calls_it_failed() {
    let bench = Bench::new(3600);
    let first = bench.tokens.get(Deadline::after(Duration::from_mins(1))).await.unwrap();
    bench.tokens.reject(&first);
    assert_eq!(bench.get().await.unwrap(), "Bearer token-2");
    bench.tokens.reject(&first);
    assert_eq!(bench.get().await.unwrap(), "Bearer token-2");
    assert_eq!(bench.mint.forgotten.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_the_fetch_to_the_next() {
    let bench = Bench::new(3600);
    bench.mint.gate.forget_permits(1000);
    let impatient = bench.tokens.clone();
    let gave_up = impatient.get(Deadline::after(Duration::ZERO)).await;
    assert!(matches!(gave_up.err(), Some(Error::NoToken(_))));
    bench.mint.gate.add_permits(1000);
    bench.pass(2);
    assert!(bench.get().await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_nearly_over_is_refused_with_a_reason() {
    let error = Bench::new(35).get().await.unwrap_err();
    assert!(error.to_string().contains("ends in 35 s"), "{error}");
}

#[tokio::test]
async fn tokens_of_two_minutes_carry_a_run_of_six_without_a_failed_call_and_with_one_request_each() {
    let bench = Bench::new(120);
    let mut seen = Vec::new();
    for _ in 0..72 {
        let all = futures::future::join_all((0..200).map(|_| bench.get())).await;
        let token = all[0].clone().unwrap();
        assert!(all.iter().all(|got| got.as_ref() == Ok(&token)), "{all:?}");
        if matches!(bench.tokens.look(), Look::UseAndRenew(_)) {
            // One renewal is under way; what it gives serves the next calls.
            while matches!(bench.tokens.look(), Look::UseAndRenew(_)) {
                tokio::task::yield_now().await;
            }
        }
        if seen.last() != Some(&token) {
            seen.push(token);
        }
        bench.pass(5);
    }
    // Renewed every 40 seconds: 80 are usable, and half of them is the time to begin.
    assert_eq!(bench.issued(), 9, "{seen:?}");
}

#[tokio::test]
async fn a_login_host_that_asks_for_time_is_left_alone_for_as_long_but_no_longer_than_a_minute() {
    for (asked, wait) in [(1, 2), (30, 30), (3600, 60)] {
        let bench = Bench::new(3600);
        let retry_after = Some(Duration::from_secs(asked));
        let api = ApiError { http_status: 429, ..ApiError::default() };
        let cause = Error::Throttled { retry_after, api };
        bench.fails(Some(Error::NoToken(Box::new(NoToken { cause, from: Some("x".to_owned()), remedy: None }))));
        assert_eq!(bench.get().await.unwrap_err().reason(), "Throttled");
        bench.fails(None);
        bench.pass(wait - 1);
        assert!(bench.get().await.is_err(), "asked for {asked} s");
        bench.pass(1);
        assert!(bench.get().await.is_ok(), "asked for {asked} s");
    }
}
