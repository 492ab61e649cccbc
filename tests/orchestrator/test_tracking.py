"""MLflow as a view: what goes in comes out once, whatever breaks on the way."""

import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from mlflow_server import LIMIT_S, Read, Server, free_port, until

from orchestrator.errors import OutOfReach, TrackingError
from orchestrator.tracking import (
    NO_OUTCOME,
    Outcome,
    Point,
    Report,
    SweepView,
    Tracker,
    TrialView,
    check_uri,
    default_uri,
    reachable,
    write_all,
)
from orchestrator.tracking.tracker import SLOW_S
from orchestrator.tracking_parent import best_so_far
from trainers.few_shot import FewShot

SWEEP = SweepView(
    "anil-or-maml", "home-1", "Does it?", "name: anil-or-maml\n", {"metasweep.version": "0.1.0"}, score=FewShot.score
)


def trial(number: int, state: str = "completed", steps: int = 5, **changes) -> TrialView:
    points = [
        Point(key, 100 * step, number + step / 10 + shift, 1_700_000_000_000 + 1000 * step)
        for step in range(1, steps + 1)
        for key, shift in (("validation", 0.0), ("train_loss", 0.5))
    ]
    view = TrialView(
        number=number,
        name=f"{number} maml inner_lr=0.4",
        state=state,
        params={"algorithm.inner_lr": 0.4 + number, "algorithm.name": "maml", "training.seed": number},
        tags={"training_key": f"abc-{number}", "git_commit": "f00"},
        points=points,
        metrics={"best_validation_accuracy": 0.9 - number / 100, "test_accuracy": 0.875, "test_ci95": 0.01},
        dataset=("glyphs", "0123456789abcdef0123", "datasets/glyphs.arrow"),
        started_ms=1_700_000_000_000,
        ended_ms=None if state == "running" else 1_700_000_009_000,
    )
    return replace(view, **changes)


def tracked(
    uri: str, *views: TrialView, end: str = "FINISHED", sweep: SweepView = SWEEP, outcome: Outcome = NO_OUTCOME
) -> Tracker:
    tracker = Tracker(uri, "metasweep", sweep)
    for view in views:
        tracker.record(view)
    assert tracker.finish(end, LIMIT_S, outcome=outcome), tracker.problem
    return tracker


def assert_same(uri: str, *views: TrialView) -> Read:
    """One parent, one child a view, and in each exactly what the view says."""
    read = Read(uri)
    assert len(read.parents) == 1
    assert [int(run.data.tags["metasweep.number"]) for run in read.children] == [view.number for view in views]
    for run, view in zip(read.children, views, strict=True):
        assert run.data.tags["mlflow.parentRunId"] == read.parents[0].info.run_id
        assert run.info.run_name == view.name
        assert run.data.params == {key: str(value) for key, value in view.params.items()}
        assert view.tags.items() <= run.data.tags.items()
        assert read.points(run) == sorted(view.all_points())
        assert run.info.start_time == view.started_ms
        if view.state == "running":
            assert (run.info.status, run.data.tags["metasweep.state"]) == ("KILLED", "interrupted")
        else:
            assert run.info.status == ("FAILED" if view.state == "failed" else "FINISHED")
            assert (run.info.end_time, run.data.tags["metasweep.state"]) == (view.ended_ms, view.state)
        name, fingerprint, _ = view.dataset
        found = {
            (one.dataset.name, one.dataset.digest, *(tag.value for tag in one.tags))
            for one in run.inputs.dataset_inputs
        }
        parts = {"train": "training", "validation": "validation", "test": "testing"}
        assert found == {(f"{name}-{part}", fingerprint, purpose) for part, purpose in parts.items()}
    return read


def wait_written(tracker: Tracker, uri: str, *views: TrialView) -> None:
    """Returns when the store holds these views whole; the tracker itself knows only what it has begun to write."""

    def written() -> bool:
        if tracker.run_id is None:
            return False
        runs = {run.data.tags["metasweep.number"]: run for run in Read(uri).children}
        return all(
            (run := runs.get(str(view.number))) is not None
            and run.data.params.keys() == view.params.keys()  # they come with the points
            and run.info.status == ("RUNNING" if view.state == "running" else "FINISHED")
            for view in views
        )

    until(written)


@pytest.fixture
def uri(tmp_path, empty_database) -> str:
    """An empty store in ``tmp_path``."""
    shutil.copy(empty_database, tmp_path)
    return default_uri(tmp_path)


# --- what is written


def test_a_sweep_is_one_parent_with_one_child_a_trial(tmp_path, uri):
    failed = trial(2, "failed", tags={"error": "loss is not finite"}, metrics={})
    views = [trial(0), trial(1, "pruned", steps=2), failed]
    tracked(uri, *views)
    read = assert_same(uri, *views)
    (parent,) = read.parents
    assert (parent.info.run_name, parent.info.status) == ("anil-or-maml", "FINISHED")
    assert parent.data.tags["metasweep.sweep"] == "anil-or-maml"
    assert parent.data.tags["metasweep.home"] == "home-1"
    assert parent.data.tags["mlflow.note.content"].startswith("**Does it?**\n\nBest by validation: **0 maml")
    assert (tmp_path / "mlartifacts" / parent.info.run_id / "artifacts" / "spec.yaml").read_text() == SWEEP.spec_yaml


def test_final_metrics_wait_for_the_end_and_sit_at_the_last_step(uri):
    assert {p.step for p in trial(0).all_points() if p.key == "test_accuracy"} == {500}
    assert "test_accuracy" not in {p.key for p in trial(0, "running").all_points()}
    both = trial(0, metrics={"validation": 0.5})  # a final figure equal to its curve's last point is that point
    tracked(uri, replace(both, metrics={"validation": both.points[-2].value}))
    read = Read(uri)
    assert len(read.points(read.children[0])) == len(both.points)


def test_values_that_mlflow_can_not_show(uri):
    curve = [Point("loss", 1, 0.5, 5), Point("loss", 2, float("nan"), 6), Point("loss", 3, float("inf"), 7)]
    long = {"a": "x" * 9000, "b": [1, 2], "c": None, **{f"p{i}": i for i in range(150)}}
    tracked(uri, trial(0, points=curve, params=long, metrics={}, tags={"error": "e" * 9000}))
    read = Read(uri)
    (child,) = read.children
    assert read.points(child) == curve[:1]
    assert child.data.tags["metasweep.not_finite"] == "2 points; first loss at step 2"
    assert len(child.data.params) == 153
    assert (len(child.data.params["a"]), child.data.params["b"], len(child.data.tags["error"])) == (
        6000,
        "[1, 2]",
        5000,
    )


def test_a_curve_longer_than_one_batch(uri):
    curve = [Point("loss", step, step / 7, step) for step in range(2500)]
    view = trial(0, points=curve)
    tracked(uri, view)
    assert_same(uri, view)


@pytest.mark.parametrize("name", ["with space", "100%", "a#b", "what?", "é'x"])
def test_a_home_with_any_name(tmp_path, name):
    home = tmp_path / name
    home.mkdir()
    check_uri(default_uri(home))
    assert reachable(default_uri(home)) is None
    from orchestrator.tracking_uri import sqlite_path

    assert sqlite_path(default_uri(home)) == home / "mlflow.db"


# --- the parent run


def artifacts(read: Read, run_id: str, folder: str | None = None) -> dict[str, bytes]:
    """All artifacts of a run by path."""
    found = {}
    for one in read.client.list_artifacts(run_id, folder):
        if one.is_dir:
            found |= artifacts(read, run_id, one.path)
        else:
            found[one.path] = Path(read.client.download_artifacts(run_id, one.path)).read_bytes()
    return found


def everything(read: Read) -> list:
    """All that a store has of an experiment, but for when a run ended and the ids of inputs."""
    runs = [*read.parents, *read.children]
    return [
        (
            run.info.run_id,
            run.info.status,
            run.data.to_dictionary(),
            read.points(run),
            [one.to_dictionary() for one in run.inputs.dataset_inputs],
            artifacts(read, run.info.run_id),
        )
        for run in runs
    ]


def made(files: dict[str, bytes], weights: dict[str, bytes] | None = None) -> Outcome:
    report = Report(files, ("order: MAML first",))
    return Outcome(lambda: report, {key: lambda value=value: value for key, value in (weights or {}).items()})


VARYING = replace(SWEEP, varying=("algorithm.name", "algorithm.inner_lr"), place="/home")


def test_the_parent_has_the_best_so_far_by_trials_done(uri):
    """Over trials in the order of their numbers, whatever order they end in."""
    better = {"best_validation_accuracy": 0.95, "test_accuracy": 0.7}
    views = [trial(0), trial(1, "failed", metrics={}), trial(2, metrics=better), trial(3)]
    views[3] = replace(views[3], tags={**views[3].tags, "confirms": "2"}, metrics={"best_validation_accuracy": 0.99})
    tracked(uri, *reversed(views))
    read = Read(uri)
    found = [(point.key, point.step, point.value) for point in read.points(read.parents[0])]
    best = [("best_validation_accuracy", step, value) for step, value in ((1, 0.9), (2, 0.9), (3, 0.95))]
    assert found == [*best, ("test_accuracy", 1, 0.875), ("test_accuracy", 2, 0.875), ("test_accuracy", 3, 0.7)]
    note = read.parents[0].data.tags["mlflow.note.content"]
    assert "**2 maml inner_lr=0.4**, 95.0 % validation accuracy, 70.0 % in the test" in note
    assert "Trials: 3 completed, 1 failed." in note


def test_of_trials_that_can_not_be_compared_none_is_the_best(uri):
    views = [trial(0), trial(1)]
    tracked(uri, *views, sweep=replace(VARYING, one_scale=False))
    read = Read(uri)
    assert read.points(read.parents[0]) == []
    note = read.parents[0].data.tags["mlflow.note.content"]
    assert "Best" not in note
    assert "Trials: 2 completed." in note


def test_a_trial_counts_once_all_before_it_have_ended():
    views = [trial(0), trial(1, "running"), trial(2)]
    assert {point.step for point in best_so_far(SWEEP, views)} == {1}
    views[1] = trial(1)
    assert {point.step for point in best_so_far(SWEEP, views)} == {1, 2, 3}


def test_the_report_and_weights_are_artifacts_once(uri, monkeypatch):
    outcome = made({"index.html": b"<html>", "tables/cells.csv": b"a,b"}, {"1": b"weights"})
    views = [trial(0), trial(1, "pruned", steps=2)]
    tracked(uri, *views, sweep=VARYING, outcome=outcome)
    read = assert_same(uri, *views)
    before = everything(read)
    (parent,) = read.parents
    found = artifacts(read, parent.info.run_id)
    table = json.loads(found.pop("trials.json"))
    assert found == {
        "spec.yaml": SWEEP.spec_yaml.encode(),
        "report/index.html": b"<html>",
        "report/tables/cells.csv": b"a,b",
    }
    columns = ["trial", "algorithm.name", "algorithm.inner_lr", "state", "best_validation_accuracy"]
    assert table["columns"][:5] == columns
    assert table["data"][1][:5] == ["1 maml inner_lr=0.4", "maml", 1.4, "pruned", 0.89]
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [{"path": "trials.json", "type": "table"}]
    assert "- order: MAML first" in parent.data.tags["mlflow.note.content"]
    assert [artifacts(read, run.info.run_id) for run in read.children] == [{}, {"weights.safetensors": b"weights"}]

    from mlflow import MlflowClient

    monkeypatch.setattr(MlflowClient, "log_artifact", None)
    again = replace(outcome, report=lambda: pytest.fail("made again"))
    tracked(uri, *views, sweep=VARYING, outcome=again)
    write_all(uri, "metasweep", VARYING, views, "FINISHED", again)
    assert everything(Read(uri)) == before


def test_the_report_is_shown_where_the_code_is_not_installed(uri, monkeypatch):
    """As a job of a cluster has it: in a folder."""

    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("orchestrator.environment.version", absent)
    tracked(uri, trial(0), outcome=made({"index.html": b"<html>"}))
    read = Read(uri)
    assert "report/index.html" in artifacts(read, read.parents[0].info.run_id)


def test_files_come_last_and_hold_up_nobody(uri, monkeypatch):
    """A store of files may take longer than anybody waits: the runs have ended by then, and no file follows."""
    from mlflow import MlflowClient

    trackers, seen = [], []

    def slow(client, run_id, file, *_):
        if file.endswith("spec.yaml"):
            return
        tracker, read = trackers[0], Read(uri)
        seen.append((read.parents[0].info.status, tracker._client._called))
        tracker._abandoned = True  # as `finish` does when it has waited long enough

    monkeypatch.setattr(MlflowClient, "log_artifact", slow)
    trackers.append(Tracker(uri, "metasweep", SWEEP))
    trackers[0].record(trial(0))
    outcome = made({"index.html": b"<html>", "tables/cells.csv": b"a,b"})
    assert not trackers[0].finish("FINISHED", LIMIT_S, outcome=outcome)
    assert seen == [("FINISHED", None)]
    assert trackers[0].problem == "the report is not in MLflow: the sweep has ended meanwhile"
    assert "metasweep.report" not in Read(uri).parents[0].data.tags


def test_of_a_trial_that_is_written_no_curve_is_kept(uri):
    tracker = tracked(uri, trial(0), trial(1, "failed"))
    assert [one.view.points for one in tracker._written.values()] == [(), ()]
    assert [child.values for child in tracker._mirror._children.values()] == [{}, {}]


def test_a_report_that_can_not_be_made_costs_nothing_but_itself(uri):
    def broken() -> Report:
        raise ValueError("no font")

    tracker = Tracker(uri, "metasweep", SWEEP)
    tracker.record(trial(0))
    assert not tracker.finish("FINISHED", LIMIT_S, outcome=Outcome(broken))
    assert tracker.problem == "the report is not in MLflow: no font"
    assert_same(uri, trial(0))
    assert Read(uri).parents[0].info.status == "FINISHED"
    with pytest.raises(OutOfReach, match="no font"):
        write_all(uri, "metasweep", SWEEP, [trial(0)], "FINISHED", Outcome(broken))


def test_the_inputs_are_datasets_of_mlflow(uri):
    import mlflow.data

    tracked(uri, trial(0))
    for one in Read(uri).children[0].inputs.dataset_inputs:
        assert mlflow.data.get_source(one.dataset).uri == "datasets/glyphs.arrow"


# --- once, whatever happens


def test_written_again_changes_nothing(uri, monkeypatch):
    views = [trial(0), trial(1, "failed")]
    first = tracked(uri, *views)
    from mlflow import MlflowClient

    batches = []
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", lambda *a, **k: (batches.append(k), log_batch(*a, **k))[1])
    second = tracked(uri, *views)
    assert (first.run_id, first.experiment_id) == (second.run_id, second.experiment_id)
    assert_same(uri, *views)
    assert not [batch for batch in batches if batch.get("metrics")], "no point was sent again"


def test_a_trial_that_has_ended_costs_four_calls(uri, monkeypatch):
    """What each costs MLflow is most of what tracking costs a sweep."""
    from mlflow import MlflowClient

    tracked(uri, trial(0))
    calls = []

    def counted(name):
        call = getattr(MlflowClient, name)
        monkeypatch.setattr(MlflowClient, name, lambda *a, **k: (calls.append((name, a)), call(*a, **k))[1])

    for name in ("create_run", "log_inputs", "log_batch", "set_tag", "set_terminated", "update_run", "search_runs"):
        counted(name)
    write_all(uri, "metasweep", SWEEP, [trial(0), trial(1)], "FINISHED")
    made = Read(uri).children[1].info.run_id
    its = [(name, a) for name, a in calls if made in a or trial(1).name in a]
    assert [name for name, _ in its] == ["create_run", "log_inputs", "log_batch", "set_terminated"]
    metrics, params, tags = its[2][1][2:]
    assert (len(metrics), len(params), len(tags)) == (13, 3, 0)


def test_what_is_there_already_is_seen_without_mlflow(uri, monkeypatch):
    """By the mark that a tracker leaves; whatever is not as it was then opens MLflow."""
    views = [trial(0), trial(1, "failed")]
    outcome = made({"index.html": b"<html>"})
    known = tracked(uri, *views, outcome=outcome).mark

    def opened(views, known=known, end="FINISHED", outcome=outcome, sweep=SWEEP):
        tracker = Tracker(uri, "metasweep", sweep, known=known)
        for view in views:
            tracker.record(view)
        assert tracker.finish(end, LIMIT_S, outcome=outcome), tracker.problem
        return tracker._mirror is not None

    assert not opened(views)
    assert not opened(views[::-1])
    assert opened(views, None)
    assert opened([trial(0)])
    assert opened([trial(0), trial(1, "failed", steps=4)])
    assert opened([*views, trial(2)])
    assert opened([*views, trial(2, "running")], end="KILLED")
    assert opened(views, tracked(uri, *views, outcome=outcome).mark, sweep=replace(SWEEP, question="Why?"))
    known = tracked(uri, *views, outcome=outcome).mark
    assert not opened(views, known)
    assert opened(views, known, outcome=replace(outcome, weights={"0": lambda: b"weights"}))
    read = Read(uri)
    read.client.delete_run(read.children[0].info.run_id)
    assert opened(views, known)
    assert [run.data.tags["metasweep.number"] for run in Read(uri).children] == ["0", "1", "2"]


def test_a_run_that_was_made_and_never_filled_is_filled(uri, monkeypatch):
    """Its tags, the digest of its view among them, are there from the start; they vouch for nothing before its end."""
    from mlflow import MlflowClient

    def broken(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_inputs", broken)
        with pytest.raises(OutOfReach, match="disk full"):
            write_all(uri, "metasweep", SWEEP, [trial(0)], "FINISHED")
    (child,) = Read(uri).children
    assert (child.info.status, child.data.metrics) == ("RUNNING", {})
    tracked(uri, end="KILLED")  # another run of the sweep, that did not come so far
    assert Read(uri).children[0].info.status == "KILLED"
    write_all(uri, "metasweep", SWEEP, [trial(0)], "FINISHED")
    assert_same(uri, trial(0))


def test_what_arrives_though_its_answer_is_lost_is_not_written_twice(uri, monkeypatch):
    """So it is of each call that writes, when it is made for the first time."""
    from mlflow import MlflowClient

    lost = set()

    def losing(name):
        call = getattr(MlflowClient, name)

        def called(client, *arguments, **options):
            result = call(client, *arguments, **options)
            if (its := (name, str(arguments))) not in lost:
                lost.add(its)
                raise ConnectionError("no answer")
            return result

        return called

    with monkeypatch.context() as patch:
        for name in ("create_run", "log_batch", "log_inputs", "set_terminated"):
            patch.setattr(MlflowClient, name, losing(name))
        tracked(uri, trial(0), trial(1))
    assert sum(name == "create_run" for name, _ in lost) == 3
    assert_same(uri, trial(0), trial(1))


def test_views_that_grow_are_written_piece_by_piece(uri):
    tracker = Tracker(uri, "metasweep", SWEEP, round_s=0)
    for steps in range(1, 6):
        tracker.record(trial(0, "running", steps))
        until(lambda: not tracker._pending)
    tracker.record(trial(0))
    assert tracker.finish("FINISHED", LIMIT_S)
    assert_same(uri, trial(0))


def test_a_killed_driver_leaves_no_zombie_and_no_duplicate(uri):
    program = (
        "import sys, time\n"
        f"sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]}\n"
        "from test_tracking import *\n"
        f"tracker = Tracker({uri!r}, 'metasweep', SWEEP)\n"
        "views = trial(0), trial(1, 'running', 2), trial(2, 'running', 1)\n"
        "for view in views: tracker.record(view)\n"
        f"wait_written(tracker, {uri!r}, *views)\n"
        "print('written', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "written\n"
        driver.kill()
    before = Read(uri)
    assert [run.info.status for run in before.children] == ["FINISHED", "RUNNING", "RUNNING"]
    tracked(uri, trial(1), end="KILLED")  # trial 2 does not come back
    read = assert_same(uri, trial(0), trial(1), trial(2, "running", 1))
    assert read.parents[0].info.status == "KILLED"
    tracked(uri, trial(2))
    read = assert_same(uri, trial(0), trial(1), trial(2))
    assert read.parents[0].info.status == "FINISHED"
    assert [run.info.run_id for run in read.children] == [run.info.run_id for run in before.children]


def test_points_with_other_times_are_the_same_points(uri):
    """MLflow itself would keep both: a resumed trial must not depend on having the very timestamps."""
    tracked(uri, trial(0, "running", 3), end="KILLED")
    later = [point._replace(timestamp_ms=point.timestamp_ms + 1) for point in trial(0).points]
    tracked(uri, trial(0, points=later))
    read = Read(uri)
    found = [point[:3] for point in read.points(read.children[0])]
    assert found == sorted(point[:3] for point in trial(0).all_points())


def test_a_retried_failure_loses_its_error(uri):
    tracked(uri, trial(0, "failed", 2, tags={"error": "out of memory"}, metrics={}))
    tracked(uri, trial(0))
    assert "error" not in assert_same(uri, trial(0)).children[0].data.tags


def test_a_point_that_came_out_differently_is_shown(uri):
    old, new = trial(0), trial(0, points=[Point("validation", 100, 0.123, 1)])
    tracked(uri, old)
    tracked(uri, new)
    tracked(uri, new)
    read = Read(uri)
    assert sum(point.value == 0.123 for point in read.points(read.children[0])) == 1


def test_another_trial_under_the_same_number_gets_a_run_of_its_own(uri):
    tracked(uri, trial(0))
    afresh = trial(0, params={"algorithm.name": "anil"})
    tracked(uri, afresh)
    tracked(uri, afresh)
    read = Read(uri)
    current = [run for run in read.children if "metasweep.superseded" not in run.data.tags]
    assert [run.data.params for run in current] == [{"algorithm.name": "anil"}]
    assert len(read.children) == 2


def test_all_of_a_sweep_written_anew_leaves_no_other_trial_current(uri):
    """As when a search that grew is confirmed by other trainings now."""
    tracked(uri, trial(0), trial(1), trial(2, "running"))
    for _ in range(2):
        write_all(uri, "metasweep", SWEEP, [trial(0), trial(3)], "FINISHED")
        runs = Read(uri).children
        found = [(run.data.tags["metasweep.number"], "metasweep.superseded" in run.data.tags) for run in runs]
        assert sorted(found) == [("0", False), ("1", True), ("2", True), ("3", False)]


def test_what_the_user_has_is_left_alone(uri, tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    mine = client.create_experiment("mine", artifact_location=(tmp_path / "mine").as_uri())
    shared = client.create_experiment("metasweep", (tmp_path / "shared").as_uri(), {"owner": "me"})
    run = client.create_run(shared, run_name="anil-or-maml", tags={"note": "hands off"})
    before = [(e.name, e.tags, e.artifact_location, e.last_update_time) for e in client.search_experiments()]
    tracked(uri, trial(0))
    tracked(uri, trial(0), sweep=replace(SWEEP, home_id="home-2"))
    assert [(e.name, e.tags, e.artifact_location, e.last_update_time) for e in client.search_experiments()] == before
    assert client.search_runs([mine]) == []
    after = client.get_run(run.info.run_id)
    assert (after.data.tags, after.info.status) == (run.data.tags, "RUNNING")
    assert len(Read(uri).parents) == 3, "mine, and one for each of two homes"


def test_a_deleted_experiment_and_a_deleted_run(uri):
    tracker = Tracker(uri, "metasweep", SWEEP)
    tracker.record(trial(0, "running", 1))
    wait_written(tracker, uri, trial(0, "running", 1))
    read = Read(uri)
    read.client.delete_run(read.children[0].info.run_id)
    tracker.record(trial(0))
    assert tracker.finish("FINISHED", LIMIT_S), tracker.problem
    read = assert_same(uri, trial(0))
    read.client.delete_experiment(read.experiment.experiment_id)
    tracker = Tracker(uri, "metasweep", SWEEP)
    until(lambda: tracker.problem)
    assert "was deleted; restore it" in tracker.problem
    assert not tracker.finish("FINISHED", 0.1)


def test_stdout_and_stderr_stay_clean(tmp_path):
    program = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]}\n"
        "from test_tracking import *\n"
        "assert 'mlflow' not in sys.modules, 'imported too early'\n"
        f"tracked({default_uri(tmp_path)!r}, trial(0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlartifacts", "mlflow.db-wal", "mlflow.db-shm"}


# --- a server, present, gone and mute


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder)
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def mute():
    """A server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
def test_the_same_over_rest(server, capfd):
    assert reachable(server.uri, 60) is None
    views = [trial(0), trial(1, "pruned", 2), trial(2, "failed", metrics={}), trial(3, "running", 2)]
    tracker = tracked(server.uri, *views)
    assert tracker.run_url == f"{server.uri}/#/experiments/{tracker.experiment_id}/runs/{tracker.run_id}"
    tracked(server.uri, *views)
    read = assert_same(server.uri, *views)
    assert [file.path for file in read.client.list_artifacts(tracker.run_id)] == ["spec.yaml"]
    assert read.experiment.artifact_location.startswith("mlflow-artifacts:")
    assert capfd.readouterr().out == "", "MLflow prints a line for each run that ends, if one lets it"


@pytest.mark.slow
def test_a_server_that_never_saw_a_sweep_becomes_equal(server, uri):
    """Row for row as what was written while the sweep ran, artifacts too."""
    files = made({"index.html": b"<html>", "figures/a.png": b"png"}, {"0": b"weights"})
    views = [trial(0), trial(1, "pruned", 2), trial(2, "failed", metrics={}), trial(3, "running", 2)]
    live = Tracker(uri, "equal", VARYING, round_s=0)
    for view in views:
        live.record(replace(view, state="running", points=view.points[:2]))
        until(lambda: not live._pending)
        live.record(view)
    assert live.finish("KILLED", LIMIT_S, outcome=files), live.problem
    for _ in range(2):
        write_all(server.uri, "equal", VARYING, views, "KILLED", files)
        found = [[entry[1:] for entry in everything(Read(one, "equal"))] for one in (uri, server.uri)]
        for entries in found:
            for _, data, *_ in entries:
                data["tags"].pop("mlflow.parentRunId", None)
        assert found[0] == found[1]


@pytest.mark.slow
def test_foreign_runs_are_byte_for_byte_what_they_were(server):
    """By the answers of the REST interface, in an experiment that somebody else made."""
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    shared = client.create_experiment("shared", tags={"owner": "me"})
    for number in range(3):
        run = client.create_run(shared, run_name="anil-or-maml", tags={"metasweep.note": "mine"})
        client.log_param(run.info.run_id, "algorithm.name", "maml")
        client.log_metric(run.info.run_id, "test_accuracy", number / 3, step=number)

    def foreign() -> list[bytes]:
        found = [rest(server.uri, f"experiments/get?experiment_id={shared}")]
        query = {"experiment_ids": [shared], "filter": "tags.`metasweep.note` = 'mine'"}
        found.append(rest(server.uri, "runs/search", query))
        for run in json.loads(found[1])["runs"]:
            key = f"run_id={run['info']['run_id']}&metric_key=test_accuracy"
            found += [rest(server.uri, f"metrics/get-history?{key}"), rest(server.uri, f"artifacts/list?{key}")]
        return found

    before = foreign()
    assert len(json.loads(before[1])["runs"]) == 3
    tracker = Tracker(server.uri, "shared", VARYING)
    tracker.record(trial(0))
    assert tracker.finish("FINISHED", LIMIT_S, outcome=made({"index.html": b"<html>"})), tracker.problem
    write_all(server.uri, "shared", VARYING, [trial(1)], "FINISHED")
    assert foreign() == before


def rest(uri: str, path: str, body: dict | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_a_slow_server_is_not_waited_for():
    """Every answer comes late; nothing fails. The end goes by what calls have taken, not by a failure."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen(16)  # what is asked waits in its queue: the first call is under way for ever
        tracker = Tracker(f"http://127.0.0.1:{listener.getsockname()[1]}", "metasweep", SWEEP)
        until(lambda: tracker._client is not None and tracker._client.answer_s > SLOW_S)
        assert tracker.problem is None
        tracker.record(trial(0))
        assert not tracker.finish("FINISHED", 3600, 0.1)


@pytest.mark.slow
def test_trackers_that_start_together_share_one_experiment(server):
    trackers = [Tracker(server.uri, "together", replace(SWEEP, name=f"sweep-{i}")) for i in range(4)]
    assert all(tracker.finish("FINISHED", LIMIT_S) for tracker in trackers)
    assert len(Read(server.uri, "together").parents) == 4


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back(server, capfd):
    tracker = Tracker(server.uri, "outage", SWEEP)
    gone = Tracker(server.uri, "outage", replace(SWEEP, name="gone"))
    for each in (tracker, gone):
        each.record(trial(0, "running", 2))
        until(lambda each=each: each.run_id and not each._pending)
    server.stop()
    for number in range(30):
        tracker.record(trial(number))
        gone.record(trial(number))
    until(lambda: tracker.problem and gone.problem)
    assert not gone.finish("FINISHED", 2)
    server.start()
    assert tracker.finish("FINISHED", LIMIT_S), tracker.problem
    assert tracker.problem is None
    read = Read(server.uri, "outage")
    mine = [run for run in read.children if run.data.tags["mlflow.parentRunId"] == tracker.run_id]
    assert [read.points(run) for run in mine] == [sorted(trial(number).all_points()) for number in range(30)]
    assert capfd.readouterr() == ("", ""), "an outage is told by `problem`, once"


def test_neither_record_nor_finish_waits_for_a_request(mute, monkeypatch):
    """The thread hangs in one all the while; a second thread proves that record needs no lock it holds."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")
    tracker = Tracker(mute, "metasweep", SWEEP)
    caller = threading.Thread(target=lambda: [tracker.record(trial(n % 10)) for n in range(1000)], daemon=True)
    caller.start()
    caller.join(60)
    assert not caller.is_alive()
    assert len(tracker._pending) <= 10, "only the latest view of a trial is kept"
    until(lambda: tracker._client is not None and tracker._client._called is not None)
    assert not tracker.finish("FINISHED", 1)
    assert tracker._client._called is not None
    assert tracker.run_url is None


def test_a_broken_database_is_said_without_its_sql(tmp_path):
    """As a full disk leaves one: some of its tables, and no note of which."""
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE datasets (x)")
    tracker = Tracker(default_uri(tmp_path), "metasweep", SWEEP)
    until(lambda: tracker.problem)
    assert not tracker.finish("FINISHED", 0.5)
    assert "datasets already exists" in tracker.problem
    assert "SQL:" not in tracker.problem


def test_nobody_at_the_address():
    uri = f"http://127.0.0.1:{free_port()}"
    assert "refused" in reachable(uri, 60)
    tracker = Tracker(uri, "metasweep", SWEEP)
    tracker.record(trial(0))
    until(lambda: tracker.problem)
    assert "\n" not in tracker.problem
    assert not tracker.finish("FINISHED", 1)


def test_the_end_of_a_sweep_does_not_wait_for_what_fails(monkeypatch):
    """Although nothing has failed before it; a slow server would get longer than a test may take."""
    trackers = []

    def client(uri):
        until(lambda: trackers and trackers[0]._end)
        raise ConnectionError("gone")

    monkeypatch.setattr("orchestrator.tracking.tracker.open_client", client)
    trackers.append(Tracker("http://127.0.0.1:9", "metasweep", SWEEP))
    assert not trackers[0].finish("FINISHED", 3600, 0.1)
    assert trackers[0].problem == "gone"


def test_reachable_is_bounded(mute):
    assert reachable(mute, 1) == "no answer within 1 s"


def test_reachable_of_something_else(tmp_path):
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), "0"]
    with subprocess.Popen(
        [command[0], "-u", *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as other:
        uri = f"http://127.0.0.1:{other.stdout.readline().split('port ')[1].split()[0]}"
        assert "404: no MLflow server" in reachable(uri, 60)
        (tmp_path / "health").write_text("fine")
        assert "no MLflow server" in reachable(uri, 60)
        other.terminate()
    (tmp_path / "mlflow.db").write_text("not a database at all")
    assert "no SQLite database" in reachable(default_uri(tmp_path))


# --- URIs


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("localhost:5000", "give http://localhost:5000"),
        ("127.0.0.1:5000", "give http://127.0.0.1:5000"),
        ("http://", "no host"),
        ("http:///mlflow", "no host"),
        ("http:localhost", "no // after"),
        ("http://host:99999", "port"),
        ("http://host:abc", "port"),
        ("http://host:0", "port 0"),
        ("http://[::1", "give http"),
        ("http://ho st:5000", "no host name"),
        ("http://host:5000/#/experiments/1", "no ? or # part"),
        ("http://host\n:5000", "control characters"),
        (" http://host", "blanks"),
        ("ftp://host", "unknown scheme 'ftp'"),
        ("databricks", "no scheme"),
        ("databricks://profile", "unknown scheme"),
        ("uc://profile", "unknown scheme"),
        ("file:///tmp/mlruns", "plain folders"),
        ("/tmp/mlruns", "plain folders"),
        ("./mlruns", "plain folders"),
        ("mlruns", "no scheme"),
        ("sqlite://", "four slashes"),
        ("sqlite://host/x.db", "four slashes"),
        ("sqlite:x.db", "four slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/mlflow.db", "does not exist"),
        ("sqlite:////", "is a folder"),
        ("postgresql:host", "no // after"),
        ("postgresql://host:x/db", "port"),
    ],
)
def test_a_uri_that_can_not_work_is_refused_in_one_line(uri, says):
    with pytest.raises(TrackingError) as caught:
        check_uri(uri)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000",
        "https://me:secret@mlflow.example.org/base/",
        "http://[::1]:5000",
        "http://mlflow_server:5000",
        "postgresql+psycopg2://me:p%40ss@db/mlflow",
        "mysql+pymysql://db:3306/mlflow",
        "mssql+pyodbc://db/mlflow?driver=x",
        "postgresql:///local",
        "sqlite:///mlflow.db",
    ],
)
def test_a_good_uri_passes(uri):
    check_uri(uri)


def test_secrets_are_masked():
    for uri in ("ftp://me:s3cret@host", "http://me:s3cret@host:0", "http://host/?token=s3cret"):
        with pytest.raises(TrackingError) as caught:
            check_uri(uri)
        assert "s3cret" not in str(caught.value)
        assert "***" in str(caught.value)


def test_the_address_of_the_page_has_no_credentials():
    tracker = Tracker(f"http://me:s3cret@127.0.0.1:{free_port()}", None, SWEEP)
    tracker.experiment_id, tracker.run_id = "1", "abc"
    assert tracker.run_url.startswith("http://127.0.0.1:")
    until(lambda: tracker.problem)
    assert "s3cret" not in tracker.problem
    tracker.finish("KILLED", 0)
