"""The search without any network: several processes, deaths, and a real PostgreSQL."""

import multiprocessing
import signal

import pytest

from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.tuning import search as module
from ich_mlflow.tuning.search import Pruned, Search, SearchOptions, TrialFailed
from ich_mlflow.tuning.storage import open_storage
from tests.tuning.workers import run_worker

NUM_TRIALS = 12


def options(**changed):
    about = {"name": "x", "direction": "maximize", "num_trials": NUM_TRIALS, "num_steps": 3, "seed": 0}
    return SearchOptions(**{**about, **changed})


def founded(where, **changed):
    search = Search(open_storage(where), options(**changed), worker="0")
    search.begin({"run_id": "r"})
    search.try_first({"x": 0.25})
    search.try_first({"x": 0.25})  # once is enough
    return search


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "search.journal")


def in_processes(where, searched, *, names=("0", "1", "2"), dies_at=None, **changed):
    """Work the search off in processes; the first dies at its trial of that number. Returns their exit codes."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=run_worker, args=(where, searched, name, dies_at if not number else None, changed)
        )
        for number, name in enumerate(names)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def expect_whole(search, num_trials=NUM_TRIALS):
    """As many trials as were asked for, no setting twice."""
    ended = search.ended()
    assert len(ended) == num_trials
    assert len({trial.params["x"] for trial in ended}) == num_trials
    numbers = [trial.number for trial in search.study.get_trials()]
    assert len(set(numbers)) == len(numbers)


def test_the_base_is_tried_first_and_the_best_is_found(journal):
    search = founded(journal)
    search.work(lambda trial, first: 1 - abs(trial.suggest_float("x", 0, 1) - 0.7))
    expect_whole(search)
    assert search.ended()[0].params == {"x": 0.25}
    assert search.best.value == max(trial.value for trial in search.ended())
    assert search.table(["x"])["trial"].tolist() == list(range(NUM_TRIALS))


def test_a_process_may_stop_after_so_many_and_another_goes_on(journal):
    search = founded(journal)
    search.work(lambda trial, first: trial.suggest_float("x", 0, 1), most=2)
    assert len(search.ended()) == 2
    assert not search.is_over
    search.work(lambda trial, first: trial.suggest_float("x", 0, 1), most=1000)
    expect_whole(search)


def test_the_same_seed_draws_the_same_and_a_search_that_goes_on_draws_anew(tmp_path):
    def draws(name, *counts):
        for count in counts:
            search = Search(open_storage(str(tmp_path / name)), options(num_trials=count), worker="0")
            search.work(lambda trial, first: trial.suggest_float("x", 0, 1))
        return [trial.params["x"] for trial in search.ended()]

    whole = draws("a", 6)
    assert draws("b", 6) == whole
    assert draws("c", 3, 6) == whole
    assert len(set(whole)) == 6


def test_what_fails_is_one_trial_and_what_is_pruned_is_another(journal):
    def objective(trial, first):
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            raise TrialFailed("out of memory")
        if trial.number == 2:
            trial.report(x, 0)
            raise Pruned
        return float("nan") if trial.number == 3 else x

    search = founded(journal, num_trials=5)
    search.work(objective)
    table = search.table(["x"])
    assert table["state"].tolist() == ["complete", "failed", "pruned", "failed", "complete"]
    assert table["error"].tolist() == ["", "out of memory", "", "its value is nan", ""]
    assert search.best.number in (0, 4)


def test_lower_is_better_where_the_direction_says_so(journal):
    search = founded(journal, direction="minimize", num_trials=4)
    search.work(lambda trial, first: trial.suggest_float("x", 0, 1))
    assert search.best.value == min(trial.value for trial in search.ended())
    with pytest.raises(OptionError, match="search x has the direction minimize, expected maximize"):
        Search(open_storage(journal), options())


def test_three_failures_at_the_start_end_the_search(journal):
    def fails(trial, first):
        trial.suggest_float("x", 0, 1)
        raise TrialFailed("no memory")

    search = founded(journal)
    search.work(fails)
    assert len(search.ended()) == 3
    assert search.why_given_up == "the first 3 trials all failed, the last because no memory"
    assert search.best is None


def test_a_mistake_of_the_users_ends_the_work_and_costs_no_trial(journal):
    def mistaken(trial, first):
        trial.suggest_float("x", 0, 1)
        raise DataError("the data are gone")

    search = founded(journal, num_trials=3)
    with pytest.raises(DataError, match="the data are gone"):
        search.work(mistaken)
    assert search.ended() == []
    search.work(lambda trial, first: trial.suggest_float("x", 0, 1))
    expect_whole(search, 3)
    assert search.ended()[0].params["x"] == 0.25


def test_raising_the_number_of_trials_goes_on(journal):
    founded(journal, num_trials=3).work(lambda trial, first: trial.suggest_float("x", 0, 1))
    search = Search(open_storage(journal), options(num_trials=5), worker="0")
    assert not search.is_over
    assert search.notes(wait=True) == {"run_id": "r"}
    search.work(lambda trial, first: trial.suggest_float("x", 0, 1))
    expect_whole(search, 5)


def test_processes_share_the_work_and_none_does_it_twice(journal):
    search = founded(journal)
    assert in_processes(journal, options()) == [0, 0, 0]
    expect_whole(search)
    assert len(set(search.table(["x"])["worker"])) > 1


def test_a_process_that_dies_leaves_its_trial_to_the_others(journal):
    search = founded(journal)
    codes = in_processes(journal, options(), names=("0",), dies_at=2)
    assert codes == [-signal.SIGKILL]
    running = [trial for trial in search.study.get_trials() if trial.state.name == "RUNNING"]
    assert len(running) == 1
    assert search.give_back_all("1") == 0  # which lives
    assert search.give_back_all("0") == 1
    assert in_processes(journal, options(), names=("1", "2")) == [0, 0]
    expect_whole(search)
    again = [trial for trial in search.ended() if module.first_number(trial) == running[0].number]
    assert [trial.params for trial in again] == [running[0].params]


def test_a_setting_that_kills_three_processes_has_failed(journal):
    search = founded(journal, num_trials=1)
    for attempt in range(3):
        in_processes(journal, options(num_trials=1), names=(str(attempt),), dies_at=attempt)
        assert search.give_back_all() == 1
    assert [trial.state.name for trial in search.ended()] == ["FAIL"]
    assert module.error_of(search.ended()[0]) == "its process died"


def test_postgresql_serves_several_processes_and_its_heartbeat_finds_the_dead(postgres):
    search = founded(postgres, name="beats")
    assert search.has_heartbeat
    quick = {"HEARTBEAT_S": 1, "GRACE_S": 2}
    codes = in_processes(postgres, options(name="beats"), names=("a", "b", "c"), dies_at=3, **quick)
    assert codes == [-signal.SIGKILL, 0, 0]
    expect_whole(search)
    dead = [trial for trial in search.study.get_trials() if trial.user_attrs.get("worker") == "a"]
    failed = [trial for trial in dead if trial.state.name == "FAIL"]
    assert len(failed) == 1
    retried = [trial for trial in search.ended() if module.first_number(trial) == failed[0].number]
    assert [trial.params for trial in retried] == [failed[0].params]


def test_hyperband_prunes_what_lags_behind(journal):
    def objective(trial, first):
        x = trial.suggest_float("x", 0, 1)
        for step in range(9):
            trial.report(x, step)
            if trial.should_prune():
                raise Pruned
        return x

    search = founded(journal, num_trials=20, pruner="hyperband", num_steps=9)
    search.work(objective)
    expect_whole(search, 20)
    states = search.table(["x"])["state"].value_counts()
    assert states["pruned"] >= 3
    assert states["complete"] >= 3


def test_sqlite_serves_several_processes_too(tmp_path):
    where = f"sqlite:///{tmp_path / 'search.db'}"
    search = founded(where)
    assert in_processes(where, options()) == [0, 0, 0]
    expect_whole(search)


def test_a_database_that_is_not_there_is_one_line_without_the_password():
    with pytest.raises(DataError, match=r"storage postgresql://me@127.0.0.1:1/x can't be opened") as error:
        open_storage("postgresql://me:secret@127.0.0.1:1/x")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_can_not_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"can't be written .*: pass -P storage="):
        open_storage(str(tmp_path / "file" / "search.journal"))
