//! A crash or a lost answer never starts a second run.

use std::time::Duration;

use crate::api::conditions::Reason;
use crate::api::status::AttemptRecord;
use crate::databricks::error::{ApiError, CredentialsError, Error};
use crate::databricks::ids::{JobId, RunId};
use crate::lifecycle::TakeOver;
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason, FoundRun, MetadataChange, Outcome, RunTarget, Step};
use crate::lifecycle::world::{POST, Rest, WAITED_OUT, World, no_answer, not_connected, refused, unavailable};

fn body_and_token(effect: &Effect) -> (&str, &str) {
    match effect {
        Effect::Submit { body, token, .. } => (body, token.as_str()),
        other => panic!("{other:?}"),
    }
}

fn throttled(http_status: u16) -> Error {
    Error::Throttled { retry_after: None, api: ApiError { http_status, ..ApiError::default() } }
}

/// A world whose process has died after a request whose answer it never saw.
fn died_after_the_request() -> (World, Effect) {
    let mut world = World::of_a_job();
    let sent = world.asks();
    world.crashes();
    (world, sent)
}

/// The same, taken over by the next process.
fn taken_over() -> World {
    let (mut world, _) = died_after_the_request();
    world.settles();
    world.passes(POST * 3);
    world.settles();
    world.passes(WAITED_OUT);
    world
}

fn look_up(world: &mut World, found: Vec<FoundRun>) {
    let effect = world.asks();
    assert!(matches!(effect, Effect::FindRun { .. }), "{effect:?}");
    world.answers(&effect, Outcome::Runs(Ok(found)));
}

#[test]
fn finalizer_and_mark_come_first_then_the_intent_then_the_request() {
    let mut world = World::of_a_job();
    let hold = world.decides();
    assert_eq!(hold, Step::Mark(MetadataChange::Hold { serial: 1 }));
    world.write(hold);
    let intent = world.decides();
    world.write(intent);
    assert_eq!(world.start_mark.as_deref(), Some("6f1c2a9e/1"));
    assert_eq!(world.status.intent.as_ref().unwrap().body, r#"{"job_id":5}"#);
    assert!(matches!(world.decides(), Step::Remote(Effect::Submit { serial: 1, .. })));
}

#[test]
fn the_run_id_is_recorded_and_the_request_dropped() {
    let world = World::live(7);
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
    assert_eq!(world.status.intent, None);
    assert_eq!(world.told(), [EventReason::RunSubmitted]);
}

#[test]
fn an_answer_that_leaves_doubt_repeats_the_same_request_after_ten_seconds() {
    let doubtful: [Error; 8] = [
        no_answer(),
        unavailable(),
        throttled(429),
        throttled(400),
        Error::Unauthenticated(ApiError::default()),
        Error::Forbidden(ApiError::default()),
        Error::NoSuchRoute(ApiError::default()),
        Error::WrongHost("html".into()),
    ];
    for error in doubtful {
        let mut world = World::of_a_job();
        let first = world.submits(Err(error.clone()));
        assert_eq!(world.settles(), Some(Duration::from_secs(10)), "{error:?}");
        world.passes(Duration::from_secs(10));
        assert_eq!(world.asks(), first, "{error:?}");
    }
}

#[test]
fn a_failure_that_repeats_itself_is_written_once() {
    let mut world = World::of_a_job();
    world.submits(Err(unavailable()));
    world.settles();
    let writes = world.writes;
    world.passes(Duration::from_secs(10));
    let mut other_request = ApiError { http_status: 503, ..ApiError::default() };
    other_request.request_id = Some("r-2".into());
    world.submits(Err(Error::Unavailable(other_request)));
    world.settles();
    assert_eq!(world.writes, writes, "the id of a request is no news");
}

#[test]
fn our_own_rate_limit_is_no_failure() {
    let mut world = World::of_a_job();
    let wait = Duration::from_secs(3);
    world.submits(Err(Error::NotNow(wait)));
    assert_eq!(world.settles(), Some(wait));
    assert_eq!(world.reason(), Reason::Pending.as_str());
}

#[test]
fn a_secret_that_appears_is_found_within_thirty_seconds() {
    let mut world = World::of_a_job();
    for _ in 0..9 {
        world.submits(Err(Error::Credentials(CredentialsError::NotFound("Secret `db` is not there".into()))));
        let wait = world.settles().unwrap();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(world.reason(), Reason::CredentialsNotFound.as_str());
        world.passes(wait);
    }
}

#[test]
fn an_edit_while_the_start_is_open_changes_nothing_about_the_request() {
    let mut world = World::of_a_job();
    let first = world.submits(Err(no_answer()));
    world.asks_for_day("2");
    world.settles();
    world.passes(Duration::from_secs(10));
    assert_eq!(world.asks(), first);
}

#[test]
fn a_crash_after_the_request_repeats_it_with_the_same_token_and_the_run_is_found() {
    let (mut world, sent) = died_after_the_request();
    world.asks_for_day("2");
    world.settles();
    world.passes(POST * 3);
    world.settles();
    world.passes(WAITED_OUT);
    let repeated = world.starts(7);
    assert_eq!(body_and_token(&repeated), body_and_token(&sent));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    let next = world.asks();
    assert!(matches!(next, Effect::Submit { serial: 2, .. }), "the edit starts one more: {next:?}");
    assert_ne!(body_and_token(&next).1, body_and_token(&sent).1);
}

#[test]
fn another_s_start_is_taken_over_after_three_deadlines_and_sent_after_one_more() {
    let (mut world, _) = died_after_the_request();
    assert_eq!(world.settles(), Some(POST * 3));
    world.passes(POST * 3);
    assert_eq!(world.settles(), Some(WAITED_OUT), "it has written itself in as holder");
    assert_eq!(world.status.intent.as_ref().unwrap().holder, "one+");
    world.passes(WAITED_OUT);
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_leader_takes_another_s_start_over_at_once_and_sends_it_when_the_other_s_last_request_has_ended() {
    let (mut world, _) = died_after_the_request();
    world.settings.take_over = TakeOver::AsLeader;
    assert_eq!(world.settles(), Some(WAITED_OUT), "it has written itself in as holder");
    assert_eq!(world.status.intent.as_ref().unwrap().holder, "one+");
    world.passes(WAITED_OUT);
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_holder_that_changes_is_given_its_time_again() {
    let (mut world, _) = died_after_the_request();
    world.settles();
    world.passes(POST * 2);
    world.status.intent.as_mut().unwrap().holder = "two".to_owned();
    assert_eq!(world.settles(), Some(POST * 3));
}

#[test]
fn a_process_that_was_taken_over_sends_nothing_more() {
    let mut world = World::of_a_job();
    world.asks();
    world.status.intent.as_mut().unwrap().holder = "two".to_owned();
    assert_eq!(world.settles(), Some(POST * 3));
}

#[test]
fn an_intent_that_this_memory_has_not_written_may_have_been_sent() {
    let mut world = World::of_a_job();
    world.asks();
    world.memory = crate::lifecycle::Memory::default();
    assert_eq!(world.settles(), Some(WAITED_OUT), "our own name is in it, but what was sent is forgotten");
    world.passes(WAITED_OUT);
    world.submits(Err(refused()));
    assert!(matches!(world.asks(), Effect::FindRun { .. }));
}

#[test]
fn a_run_id_that_could_not_be_written_is_written_at_the_next_look() {
    let mut world = World::of_a_job();
    world.starts(7);
    assert!(matches!(world.decides(), Step::Record(_)), "this write meets a conflict");
    world.asks_for_day("2");
    world.settles();
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
}

#[test]
fn a_run_that_came_too_late_is_cancelled() {
    let mut world = World::of_a_job();
    world.starts(7);
    let intent = world.status.intent.take().unwrap();
    assert_eq!(intent.serial, 1);
    world.status.run_id = Some("8".to_owned());
    let effect = world.asks();
    assert!(matches!(effect, Effect::Cancel { run: RunId(7), .. }), "{effect:?}");
    world.answers(&effect, Outcome::Canceled(Ok(())));
    world.settles();
    assert_eq!(world.memory.superfluous, None);
}

#[test]
fn a_run_that_is_among_the_attempts_by_now_is_nobody_too_many() {
    let mut world = World::of_a_job();
    world.starts(7);
    let past = |run: &str| AttemptRecord { run_id: Some(run.to_owned()), ..AttemptRecord::default() };
    (world.status.intent, world.status.run_id) = (None, Some("8".to_owned()));
    let memory = world.memory.clone();
    for (attempts, superfluous) in [(vec![past("6"), past("7")], false), (vec![past("6")], true)] {
        (world.memory, world.status.attempts) = (memory.clone(), attempts);
        world.decides();
        assert_eq!(world.memory.superfluous.is_some(), superfluous);
    }
}

#[test]
fn what_a_vanished_object_leaves_behind_is_the_run_it_has_not_written_or_the_one_too_many() {
    let mut world = World::of_a_job();
    assert_eq!(world.memory.left_behind(), None);
    world.starts(7);
    assert_eq!(world.memory.left_behind(), Some((pin(), RunId(7))));
    world.status.intent = None;
    world.status.run_id = Some("8".to_owned());
    world.decides();
    assert_eq!(world.memory.left_behind(), Some((pin(), RunId(7))), "it has another by now");
    let mut written = World::of_a_job();
    written.starts(7);
    written.settles();
    assert_eq!(written.memory.left_behind(), None, "its status tells");
}

#[test]
fn a_superfluous_run_is_cancelled_again_until_databricks_has_heard_it() {
    let mut world = World::of_a_job();
    world.starts(7);
    world.status.intent = None;
    world.status.run_id = Some("8".to_owned());
    world.cancels(Err(unavailable()));
    assert_eq!(world.settles(), Some(Duration::from_secs(10)));
    world.passes(Duration::from_secs(10));
    world.cancels(Err(crate::lifecycle::world::not_found()));
    assert_eq!(world.settles(), Some(Duration::from_mins(5)), "what does not exist needs no cancelling");
}

#[test]
fn an_old_view_of_the_object_makes_no_run_superfluous() {
    let mut world = World::of_a_job();
    world.starts(7);
    let newest = std::mem::take(&mut world.status);
    let _ = world.decides();
    world.status = newest;
    world.settles();
    assert_eq!(world.memory.superfluous, None);
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
}

#[test]
fn a_refusal_ends_the_request_when_nothing_was_executed_before() {
    for earlier in [None, Some(not_connected()), Some(throttled(429)), Some(Error::Forbidden(ApiError::default()))] {
        let mut world = World::of_a_job();
        if let Some(earlier) = earlier {
            world.submits(Err(earlier));
            let wait = world.settles().unwrap();
            world.passes(wait);
        }
        world.submits(Err(refused()));
        assert_eq!(world.settles(), None);
        assert_eq!((world.state(), world.reason()), ("Rejected", Reason::SubmitRejected.as_str()));
        assert!(world.message().contains("bad parameter"), "{}", world.message());
        assert!(!world.held);
    }
}

#[test]
fn a_refusal_after_doubt_is_looked_into_for_ten_minutes_and_a_match_is_never_followed() {
    for earlier in [no_answer(), unavailable(), throttled(400)] {
        let mut world = World::of_a_job();
        world.submits(Err(earlier));
        let wait = world.settles().unwrap();
        world.passes(wait);
        world.submits(Err(refused()));
        look_up(&mut world, vec![FoundRun { run: RunId(99), ended: false }]);
        assert_eq!(world.reason(), Reason::SubmitUnresolved.as_str());
        for _ in 0..10 {
            let wait = world.settles().unwrap();
            world.passes(wait);
            if let Rest::Remote(effect @ Effect::FindRun { .. }) = world.rests() {
                world.answers(&effect, Outcome::Runs(Ok(vec![FoundRun { run: RunId(99), ended: true }])));
            }
        }
        assert_eq!(world.settles(), None);
        assert_eq!((world.state(), world.reason()), ("Rejected", Reason::SubmitUnresolved.as_str()));
        assert!(world.message().contains("99"), "{}", world.message());
        assert_eq!(world.status.run_id, None);
    }
}

#[test]
fn doubt_outlives_a_crash() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.submits(Err(refused()));
    world.asks();
    world.crashes();
    look_up(&mut world, Vec::new());
    world.passes(Duration::from_mins(10));
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::SubmitUnresolved.as_str());
}

#[test]
fn the_look_up_is_for_the_job_from_two_minutes_before_the_intent_on() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    let created = world.status.intent.as_ref().unwrap().created_at.clone().unwrap().0.as_millisecond();
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.submits(Err(refused()));
    let Effect::FindRun { target, since, .. } = world.asks() else { panic!() };
    assert_eq!((target, since), (RunTarget::Job(JobId(5)), created - 120_000));
}

#[test]
fn a_success_without_run_id_is_a_continuous_job_and_not_repeated() {
    let mut world = World::of_a_job();
    world.submits(Ok(None));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Rejected", Reason::ContinuousJob.as_str()));
}

#[test]
fn an_intent_older_than_an_hour_is_looked_up_and_an_ended_match_forbids_sending_it() {
    let mut world = taken_over();
    world.passes(Duration::from_hours(1));
    look_up(&mut world, vec![FoundRun { run: RunId(99), ended: true }]);
    world.settles();
    assert_eq!(world.reason(), Reason::SubmitUnresolved.as_str());
}

#[test]
fn an_intent_older_than_an_hour_is_sent_when_no_match_has_ended() {
    for found in [vec![], vec![FoundRun { run: RunId(99), ended: false }]] {
        let mut world = taken_over();
        world.passes(Duration::from_hours(1));
        look_up(&mut world, found);
        assert!(matches!(world.asks(), Effect::Submit { .. }));
    }
}

#[test]
fn what_was_surely_never_sent_is_not_looked_up() {
    let mut world = World::of_a_job();
    world.submits(Err(not_connected()));
    world.settles();
    world.passes(Duration::from_hours(2));
    assert!(matches!(world.asks(), Effect::Submit { .. }), "a run that looks like it is somebody else's");
}

#[test]
fn an_intent_older_than_a_day_is_never_sent() {
    let mut world = taken_over();
    world.passes(Duration::from_hours(24));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Rejected", Reason::IntentExpired.as_str()));
}

#[test]
fn a_finalizer_that_was_taken_off_is_put_back_before_anything_is_sent() {
    let mut world = World::of_a_job();
    world.asks();
    world.held = false;
    assert_eq!(world.decides(), Step::Mark(MetadataChange::Hold { serial: 1 }));
    let mut world = World::live(7);
    (world.held, world.start_mark) = (false, None);
    assert_eq!(world.decides(), Step::Mark(MetadataChange::Hold { serial: 1 }));
}

#[test]
fn the_next_request_begins_only_when_the_run_is_read_as_ended() {
    let mut world = World::live(7);
    world.asks_for_day("2");
    world.polls(run(7).is("TERMINATING"));
    world.settles();
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
    world.passes(Duration::from_hours(10));
    world.settles();
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert!(matches!(world.asks(), Effect::Submit { serial: 2, .. }));
}

#[test]
fn a_job_s_name_is_resolved_before_the_intent_and_stands_in_it_as_an_id() {
    let mut world =
        World::with_spec(&serde_json::json!({"workspaceRef": {"name": "prod"}, "jobName": "nightly", "runNow": {}}));
    let find = world.asks();
    assert!(matches!(find, Effect::FindJob { .. }), "{find:?}");
    assert_eq!(world.writes, 0);
    world.answers(&find, Outcome::Job(Ok(crate::lifecycle::step::JobMatch::One(JobId(1 << 60)))));
    let sent = world.asks();
    assert_eq!(body_and_token(&sent).0, r#"{"job_id":1152921504606846976}"#);
}
