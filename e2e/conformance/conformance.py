"""The official Databricks SDK against the fake workspace.

The SDK is the witness: what it sends the fake must understand, and what the fake answers must mean to it what a real
workspace's answer means. `e2e/tests/conformance.rs` starts a workspace and runs this with the environment below.

  FAKE_HOST, FAKE_TOKEN, FAKE_CLIENT_ID, FAKE_CLIENT_SECRET, and REQUESTS_CA_BUNDLE for its certificate authority
"""

import dataclasses
import os
import sys
import time
import traceback
from datetime import timedelta

from databricks.sdk import WorkspaceClient
from databricks.sdk import errors
from databricks.sdk.service import jobs

HOST = os.environ["FAKE_HOST"]
PATIENCE = timedelta(minutes=1)
CHECKS = []


def check(function):
    """Marks a check. Its name is the sentence that is printed."""
    CHECKS.append(function)
    return function


def client(token=None):
    return WorkspaceClient(host=HOST, token=token or os.environ["FAKE_TOKEN"], auth_type="pat")


def control(method, path, body=None):
    """The fake's own control door, which is no part of what is checked."""
    return client().api_client.do(method, f"/_control/{path}", body=body)


def job(name):
    return control("POST", "jobs", {"name": name})["job_id"]


def notebook(key, path="/Shared/etl", ahead=(), **fields):
    return jobs.SubmitTask(
        task_key=key,
        notebook_task=jobs.NotebookTask(notebook_path=path, base_parameters=fields),
        existing_cluster_id="1123-abc",
        depends_on=[jobs.TaskDependency(task_key=key) for key in ahead],
    )


def ended(workspace, run_id):
    """The run once it has ended. Not the SDK's waiter, which throws away runs that failed."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while time.monotonic() < deadline:
        run = workspace.jobs.get_run(run_id)
        if run.status.state == jobs.RunLifecycleStateV2State.TERMINATED:
            return run
        time.sleep(0.05)
    raise AssertionError(f"run {run_id} did not end: {run.state}")


def refused(kind, call):
    """The error of `call`, which must be exactly of this kind."""
    try:
        call()
    except errors.DatabricksError as error:
        assert type(error) is kind, f"expected {kind.__name__}, got {type(error).__name__}: {error}"
        return error
    raise AssertionError(f"expected {kind.__name__}, got no error")


@check
def submit_waits_for_the_run_and_its_result_is_read():
    w = client()
    run = w.jobs.submit(run_name="one-off", tasks=[notebook("main", fake_result="42")]).result(timeout=PATIENCE)
    assert run.run_name == "one-off" and run.run_type == jobs.RunType.SUBMIT_RUN
    assert run.state.result_state == jobs.RunResultState.SUCCESS
    assert run.status.termination_details.code == jobs.TerminationCodeCode.SUCCESS
    assert run.end_time >= run.start_time > 0 and run.run_duration == run.end_time - run.start_time
    output = w.jobs.get_run_output(run.tasks[0].run_id)
    assert output.notebook_output.result == "42" and output.notebook_output.truncated is False
    assert output.metadata.run_id == run.tasks[0].run_id


@check
def run_now_starts_a_saved_job_with_parameters():
    w = client()
    job_id = job("nightly")
    waiter = w.jobs.run_now(job_id, job_parameters={"day": "friday"})
    assert waiter.run_id > 2**53
    run = waiter.result(timeout=PATIENCE)
    assert run.job_id == job_id and run.run_type == jobs.RunType.JOB_RUN
    assert [(p.name, p.value) for p in run.job_parameters] == [("day", "friday")]
    assert w.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result == '{"day":"friday"}'


@check
def an_exception_is_an_internal_error_of_the_run_and_its_cause_is_in_the_output():
    w = client()
    waiter = w.jobs.submit(run_name="bad", tasks=[notebook("main", "/Shared/fail")])
    try:
        waiter.result(timeout=PATIENCE)
        raise AssertionError("the waiter must call it a failure")
    except errors.OperationFailed:
        pass
    run = w.jobs.get_run(waiter.run_id)
    assert run.state.life_cycle_state == jobs.RunLifeCycleState.INTERNAL_ERROR
    assert run.state.result_state == jobs.RunResultState.FAILED
    assert run.status.termination_details.code == jobs.TerminationCodeCode.RUN_EXECUTION_ERROR
    assert run.status.termination_details.type == jobs.TerminationTypeType.CLIENT_ERROR
    assert run.tasks[0].state.life_cycle_state == jobs.RunLifeCycleState.TERMINATED
    output = w.jobs.get_run_output(run.tasks[0].run_id)
    assert output.error == "ValueError: no rows for the day" and "Traceback" in output.error_trace


@check
def tasks_that_wait_for_a_failed_one_are_upstream_failed():
    w = client()
    tasks = [notebook("bad", "/Shared/fail"), notebook("next", ahead=["bad"]), notebook("alone")]
    run = ended(w, w.jobs.submit(tasks=tasks).run_id)
    results = {task.task_key: task.state.result_state for task in run.tasks}
    R = jobs.RunResultState
    assert results == {"bad": R.FAILED, "next": R.UPSTREAM_FAILED, "alone": R.SUCCESS}, results


@check
def every_outcome_is_one_the_sdk_knows():
    w = client()
    codes = [code.value for code in jobs.TerminationCodeCode]
    waiters = {c: w.jobs.submit(run_name=c, tasks=[notebook("main", fake_outcome=c)]) for c in codes}
    for code, waiter in waiters.items():
        run = ended(w, waiter.run_id)
        details = run.status.termination_details
        assert details.code == jobs.TerminationCodeCode(code), f"{code}: {details}"
        assert details.type is not None and run.state.life_cycle_state is not None, f"{code}: {run.state}"


@check
def a_life_cycle_state_nobody_knows_is_borne():
    w = client()
    # Its script, in conformance.rs, keeps it in that state until the clock is moved.
    waiter = w.jobs.submit(run_name="enchanted", tasks=[notebook("main")])
    run = w.jobs.get_run(waiter.run_id)
    assert run.state.life_cycle_state is None and run.status.state is None
    control("POST", "clock", {"advance_ms": 3_600_000})
    assert waiter.result(timeout=PATIENCE).state.result_state == jobs.RunResultState.SUCCESS


@check
def more_than_a_hundred_tasks_are_gathered_from_their_pages():
    w = client()
    run = ended(w, w.jobs.submit(tasks=[notebook(f"t{n}") for n in range(230)]).run_id)
    assert [task.task_key for task in run.tasks] == [f"t{n}" for n in range(230)]


@check
def a_retried_task_is_there_once_per_attempt():
    w = client()
    task = notebook("main", "/Shared/flaky")
    task.max_retries = 2
    run = ended(w, w.jobs.submit(tasks=[task]).run_id)
    told = [(task.attempt_number, task.state.result_state.value) for task in run.tasks]
    assert told == [(0, "FAILED"), (1, "SUCCESS")], told


@check
def runs_are_listed_in_pages_newest_first():
    w = client()
    job_id = job("listed")
    started = [w.jobs.run_now(job_id).run_id for _ in range(7)]
    listed = [run.run_id for run in w.jobs.list_runs(job_id=job_id, limit=3)]
    assert sorted(listed) == sorted(started) and len(set(listed)) == 7
    times = [run.start_time for run in w.jobs.list_runs(job_id=job_id, limit=2, expand_tasks=True)]
    assert times == sorted(times, reverse=True)
    ended(w, started[-1])
    assert list(w.jobs.list_runs(job_id=job_id, active_only=True)) == []
    assert len(list(w.jobs.list_runs(job_id=job_id, completed_only=True, run_type=jobs.RunType.JOB_RUN))) == 7
    refused(errors.InvalidParameterValue, lambda: list(w.jobs.list_runs(limit=1000)))


@check
def jobs_are_listed_by_name_and_read():
    w = client()
    job_id = job("Named Job")
    assert [found.job_id for found in w.jobs.list(name="named job")] == [job_id]
    assert w.jobs.get(job_id).settings.tasks[0].task_key == "main"
    refused(errors.ResourceDoesNotExist, lambda: w.jobs.get(1))


@check
def a_cancellation_is_asked_for_and_comes_later():
    w = client()
    waiter = w.jobs.submit(tasks=[notebook("main", "/Shared/forever")])
    run = w.jobs.cancel_run(waiter.run_id).result(timeout=PATIENCE)
    assert run.state.result_state == jobs.RunResultState.CANCELED and run.state.user_cancelled_or_timedout
    assert run.status.termination_details.code == jobs.TerminationCodeCode.USER_CANCELED
    w.jobs.cancel_run(waiter.run_id)


@check
def a_repair_runs_what_failed_again_and_the_second_one_must_name_the_first():
    w = client()
    waiter = w.jobs.run_now(job("fails"))
    ended(w, waiter.run_id)
    repair = w.jobs.repair_run(waiter.run_id, rerun_all_failed_tasks=True)
    ended(w, waiter.run_id)
    again = lambda **latest: w.jobs.repair_run(waiter.run_id, rerun_tasks=["main"], **latest)
    error = refused(errors.InvalidParameterValue, again)
    assert "latest repair ID needs to be provided" in str(error)
    again(latest_repair_id=repair.response.repair_id)
    ended(w, waiter.run_id)
    history = w.jobs.get_run(waiter.run_id, include_history=True).repair_history
    assert [item.type.value for item in history] == ["ORIGINAL", "REPAIR", "REPAIR"]
    assert history[0].id is None and history[1].id == repair.response.repair_id


@check
def a_flaky_run_is_mended_by_a_repair():
    w = client()
    waiter = w.jobs.run_now(job("flaky"))
    assert ended(w, waiter.run_id).state.result_state == jobs.RunResultState.FAILED
    run = w.jobs.repair_run(waiter.run_id, rerun_all_failed_tasks=True).result(timeout=PATIENCE)
    assert run.run_id == waiter.run_id and run.state.result_state == jobs.RunResultState.SUCCESS


@check
def an_idempotency_token_stands_for_one_run_and_is_burnt_with_it():
    w = client()
    submit = lambda: w.jobs.submit(tasks=[notebook("main")], idempotency_token="only-once").run_id
    run_id = submit()
    assert submit() == run_id
    ended(w, run_id)
    assert submit() == run_id
    w.jobs.delete_run(run_id)
    refused(errors.ResourceDoesNotExist, lambda: w.jobs.get_run(run_id))
    refused(errors.InvalidParameterValue, submit)


@check
def what_does_not_exist_is_told_so_that_the_sdk_understands():
    w = client()
    refused(errors.ResourceDoesNotExist, lambda: w.jobs.get_run(1))
    refused(errors.ResourceDoesNotExist, lambda: w.jobs.get_run_output(1))
    # The SDK remaps reads only.
    refused(errors.InvalidParameterValue, lambda: w.jobs.cancel_run(1))
    refused(errors.InvalidParameterValue, lambda: w.jobs.run_now(1))
    refused(errors.NotFound, lambda: w.api_client.do("GET", "/api/2.9/jobs/list"))


@check
def the_output_of_a_job_run_is_refused():
    w = client()
    run = w.jobs.submit(tasks=[notebook("main")]).result(timeout=PATIENCE)
    error = refused(errors.InvalidParameterValue, lambda: w.jobs.get_run_output(run.run_id))
    assert "Retrieving the output of runs with multiple tasks is not supported" in str(error)
    assert error.get_error_details().request_info.request_id


@check
def requests_without_sense_are_bad_requests():
    w = client()
    refused(errors.InvalidParameterValue, lambda: w.jobs.submit(tasks=[]))
    refused(errors.InvalidParameterValue, lambda: w.jobs.submit(tasks=[notebook("a"), notebook("a")]))
    refused(errors.BadRequest, lambda: w.api_client.do("POST", "/api/2.2/jobs/run-now", body={"job_id": "x"}))


@check
def an_oauth_client_gets_tokens_and_a_wrong_secret_does_not():
    id, secret = os.environ["FAKE_CLIENT_ID"], os.environ["FAKE_CLIENT_SECRET"]
    w = WorkspaceClient(host=HOST, client_id=id, client_secret=secret, auth_type="oauth-m2m")
    assert w.current_user.me().user_name == id
    assert w.jobs.submit(tasks=[notebook("main")]).result(timeout=PATIENCE).creator_user_name == id
    wrong = WorkspaceClient(host=HOST, client_id=id, client_secret="wrong", auth_type="oauth-m2m")
    try:
        wrong.current_user.me()
        raise AssertionError("a wrong secret must be refused")
    except ValueError as error:
        assert "invalid_client" in str(error), error


@check
def tokens_that_are_unknown_or_revoked_are_unauthenticated():
    refused(errors.Unauthenticated, lambda: client("nobody").current_user.me())
    control("POST", "tokens", {"token": "for-a-while", "principal": "bob"})
    assert client("for-a-while").current_user.me().user_name == "bob"
    control("POST", "revoke", {"token": "for-a-while"})
    refused(errors.Unauthenticated, lambda: client("for-a-while").current_user.me())


@check
def the_sdk_waits_out_throttling_and_outages():
    w = client()
    throttled = {"status": {"status": 429, "code": "REQUEST_LIMIT_EXCEEDED", "retry_after": {"seconds": 1}}}
    down = {"status": {"status": 503, "code": "TEMPORARILY_UNAVAILABLE", "retry_after": {"seconds": 1}}}
    for kind in [throttled, down]:
        number = control("POST", "faults", {"operations": ["me"], "times": 1, "kind": kind})["number"]
        assert w.current_user.me().user_name
        (fault,) = [fault for fault in control("GET", "faults") if fault["number"] == number]
        assert fault["hits"] == 1
    control("DELETE", "faults")


@check
def an_answer_lost_after_the_effect_is_found_again_by_its_token():
    w = client()
    control("POST", "faults", {"operations": ["submit"], "times": 1, "kind": "lose_answer"})
    # The SDK repeats the request when the connection breaks.
    run_id = w.jobs.submit(run_name="lost", tasks=[notebook("main")], idempotency_token="lost").run_id
    named = [run["id"] for run in control("GET", "runs") if run["name"] == "lost"]
    assert named == [run_id] and control("GET", "overlaps") == []
    control("DELETE", "faults")


@check
def the_fake_makes_up_no_fields():
    """Every field of the answers is one the SDK has too, but for those that are there to be unknown."""
    w = client()
    task = notebook("main", "/Shared/flaky")
    task.max_retries = 1
    run_id = w.jobs.submit(run_name="all fields", tasks=[task], timeout_seconds=600).run_id
    ended(w, run_id)
    read = lambda path, **query: w.api_client.do("GET", f"/api/2.2/jobs/{path}", query=query)
    run = read("runs/get", run_id=run_id, include_history="true")
    known(run, jobs.Run)
    for task in run["tasks"]:
        known(task, jobs.RunTask)
        known(task["state"], jobs.RunState)
        known(task["status"], jobs.RunStatus)
        known(task["status"]["termination_details"], jobs.TerminationDetails)
    for item in run["repair_history"]:
        known(item, jobs.RepairHistoryItem)
    output = read("runs/get-output", run_id=run["tasks"][-1]["run_id"])
    known(output, jobs.RunOutput)
    known(output["metadata"], jobs.Run)
    listed = read("runs/list", limit=2)
    known(listed, jobs.ListRunsResponse)
    known(listed["runs"][0], jobs.BaseRun)
    listed = read("list", limit=2)
    known(listed, jobs.ListJobsResponse)
    known(listed["jobs"][0], jobs.BaseJob)
    known(listed["jobs"][0]["settings"], jobs.JobSettings)


def known(answer, kind):
    fields = {field.name for field in dataclasses.fields(kind)}
    made_up = {name for name in answer if name not in fields and not name.startswith("unannounced")}
    assert not made_up, f"{kind.__name__} has no {sorted(made_up)}"


def main():
    failed = 0
    for function in CHECKS:
        sentence = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok      {sentence}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {sentence}\n{traceback.format_exc()}", flush=True)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
