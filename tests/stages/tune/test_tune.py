"""A search as users run it: trials as runs, kill -9, a recipe at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from ich_mlflow.errors import DataError, ModelError, OptionError, TrainingError
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.stages.common.training_job import Job
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.stages.tune.plan import Plan
from ich_mlflow.stages.tune.trial import Trials
from ich_mlflow.stages.tune.tune import _told, train_command, tune
from ich_mlflow.tuning.search import Pruned, Search
from ich_mlflow.tuning.storage import open_storage
from tests.printed import check_printed_commands

#: A spawned worker imports this file again, so that it has the tiny network too.
SCRIPT = """
import json, sys
import mlflow
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.stages.tune.options import TuneOptions
from tests.factories import TINY
BACKBONES["efficientnet-b0"] = TINY
if __name__ == "__main__":
    from ich_mlflow.cli import launch
    from ich_mlflow.stages.tune.tune import tune
    mlflow.set_tracking_uri(sys.argv[1])
    mlflow.set_experiment("tests")
    tune(TuneOptions(**json.loads(sys.argv[2])))
"""


@pytest.fixture
def options(stored_set, tmp_path):
    return {
        "data": str(stored_set.path),
        "image_size": "32",
        "epochs": "2",
        "batch_size": "8",
        "weights": "random",
        "backbone": "efficientnet-b0",
        "checkpoints": str(tmp_path / "checkpoints"),
        "search": "s",
        "trials": 3,
        "pruner": "none",
    }


def test_the_command_that_trains_the_best_says_all_that_the_trials_went_by():
    told = {
        "fold": "1", "missing_labels": "allow", "epidural_only": "keep", "precision": "mixed_bfloat16", "seed": 3,
        "weights": "random", "calibration": "none", "operating_point": "youden",
    }  # fmt: skip
    plan = Plan(TuneOptions(**told, data="set", workers=3, dropout="0.1"))
    (words,) = check_printed_commands(train_command(plan, run_id="0" * 32, data=Path("/d/my set")))
    expected = {f"{name}={value}" for name, value in told.items()}
    assert {word for word in words if "=" in word} == {f"recipe={'0' * 32}", "data=/d/my set", *expected}


def start(folder, options):
    """Search in a process group of its own."""
    script = folder / "search.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, str(script), mlflow.get_tracking_uri(), json.dumps(options)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def children(parent):
    wanted = f"tags.`mlflow.parentRunId` = '{parent}' AND tags.`ich.stage` = 'trial'"
    return mlflow.search_runs(["1"], filter_string=wanted, output_format="list")


def epochs_of(run):
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch/val_loss")
    return [metric.step for metric in history]


def newest_search():
    return mlflow.search_runs(
        ["1"], filter_string="tags.`ich.stage` = 'tune'", max_results=1, output_format="list"
    )[0]


def test_a_search_killed_with_all_its_processes_goes_on_without_losing_or_doubling_a_trial(
    workspace, tiny_backbone, options, tmp_path
):
    options |= {"trials": 4, "workers": 2, "epochs": "12", "patience": "12"}
    first = start(tmp_path, options)
    folder = tmp_path / "checkpoints" / "searches" / "s"
    deadline = time.time() + 180
    # at least one trial has ended, and another, which has not, has a checkpoint
    while time.time() < deadline and first.poll() is None:
        parents = mlflow.search_runs(["1"], filter_string="tags.`ich.stage` = 'tune'", output_format="list")
        runs = children(parents[0].info.run_id) if parents else []
        kept = {path.parent.name for path in folder.glob("trials/*/state.npz")}
        ended = [run for run in runs if run.info.status == "FINISHED"]
        if ended and any(run.info.run_id in kept for run in runs if run.info.status == "RUNNING"):
            break
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    assert "Traceback" not in first.communicate()[0]
    time.sleep(2)  # a worker sees within a moment that its parent is gone
    parent = newest_search().info.run_id
    begun = {run.info.run_id for run in children(parent)}
    assert {run.info.status for run in children(parent)} >= {"FINISHED", "RUNNING"}

    second = start(tmp_path, options | {"train_best": True})
    said = second.communicate(timeout=300)[0]
    assert second.returncode == 0, said
    assert re.search(r"search s goes on after \d trials", said)
    (command,) = check_printed_commands(said)
    assert {"recipe=" + parent, "weights=random"} <= set(command)
    runs = children(parent)
    assert len({run.data.tags["ich.trial"] for run in runs}) == len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}, [run.data.tags.get("ich.error") for run in runs]
    assert begun <= {run.info.run_id for run in runs}
    assert all(sorted(epochs_of(run)) == list(range(12)) for run in runs)
    assert mlflow.get_run(parent).info.status == "FINISHED"
    assert not list(folder.glob("trials/*"))
    _expect_left(parent, runs)
    _expect_trainable(parent, folder, options)


def _expect_left(parent, runs):
    """Five pictures, a table, the recipe, and the best value, which is the best of the trials'."""
    client = mlflow.MlflowClient()
    names = {
        item.path for folder in ("", "figures", "tables") for item in client.list_artifacts(parent, folder)
    }
    pictures = ("history", "importances", "parallel_coordinates", "slices", "timeline")
    assert {f"figures/{name}.png" for name in pictures} <= names
    assert {"tables/trials.json", "tables/trials.csv", "recipe.json"} <= names
    run = mlflow.get_run(parent)
    assert run.data.metrics["value"] == max(one.data.metrics["value"] for one in runs)
    assert run.data.metrics["trials/complete"] == len(runs)
    table = mlflow.load_table("tables/trials.json", run_ids=[parent])
    assert table["trial"].tolist() == sorted(int(run.data.tags["ich.trial"]) for run in runs)


def _expect_trainable(parent, folder, options):
    """The recipe trains by file and by the id of the search's run, as the trial did."""
    tags = mlflow.get_run(parent).data.tags
    assert tags["ich.trained_best"] == tags["ich.best_trial"]
    trial = next(run for run in children(parent) if run.data.tags["ich.trial"] == tags["ich.best_trial"])
    said = {name: options[name] for name in ("data", "weights", "checkpoints")}
    anew = train(TrainOptions(**said, recipe=str(folder / "recipe.json"), epochs="1"))
    for run_id in (tags["ich.trained_run"], anew.run_id):
        params = mlflow.get_run(run_id).data.params
        hp = {name for name in params if name.startswith("hp.")} - {"hp.recipe", "hp.epochs"}
        assert {name: params[name] for name in hp} == {name: trial.data.params[name] for name in hp}
        assert params["hp.recipe"] == "tuned-s"


def test_two_machines_share_a_search_by_their_database(workspace, options, tmp_path, postgres):
    options |= {"trials": 4, "search": "shared", "storage": postgres}
    machines = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        machines.append(start(tmp_path / name, options | {"checkpoints": str(tmp_path / name)}))
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    parents = mlflow.search_runs(["1"], filter_string="tags.`ich.search` = 'shared'", output_format="list")
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    runs = children(parents[0].info.run_id)
    assert sorted(run.data.tags["ich.trial"] for run in runs) == ["0", "1", "2", "3"]
    assert (tmp_path / "one" / "searches" / "shared" / "recipe.json").read_text() == (
        tmp_path / "two" / "searches" / "shared" / "recipe.json"
    ).read_text()


@pytest.fixture
def objective(workspace, tiny_backbone, stored_set, options):
    """The trials of a search as a worker has them, in this process; and the search."""
    plan = Plan(TuneOptions(**options))
    with mlflow.start_run() as parent:
        pass
    search = Search(open_storage(plan.storage), plan.search_options, worker="0")
    search.begin({"run_id": parent.info.run_id})
    # every slice of this set shows one subtype at most: no more than a fifth of the slices can show each of five
    space = plan.space.sampling_within(0.0, 0.19)
    search.try_first(space.of_base())

    class Here:
        run_id, experiment_id = parent.info.run_id, parent.info.experiment_id

    return search, Trials(_told(plan, space, stored_set, Here), stored_set), parent.info.run_id


def test_a_trial_that_fails_or_is_pruned_ends_as_such_and_the_search_goes_on(objective, monkeypatch):
    search, trials, parent = objective
    whole = Job.fit

    def fit(self, stored):
        if self.run.tag("ich.trial") == "0":
            raise TrainingError("out of memory with batch_size=8")
        if self.run.tag("ich.trial") == "1":
            self._watch(0, {"val/auc/macro": 0.1})
            raise Pruned
        return whole(self, stored)

    monkeypatch.setattr(Job, "fit", fit)
    search.work(trials)
    runs = {run.data.tags["ich.trial"]: run for run in children(parent)}
    assert [runs[number].info.status for number in "012"] == ["FAILED", "KILLED", "FINISHED"]
    assert [runs[number].data.tags["ich.trial_state"] for number in "012"] == ["failed", "pruned", "complete"]
    assert "out of memory" in runs["0"].data.tags["ich.error"]
    assert search.table([])["error"].tolist() == ["out of memory with batch_size=8", "", ""]
    best = runs["2"].data.metrics
    history = mlflow.MlflowClient().get_metric_history(runs["2"].info.run_id, "epoch/val/auc/macro")
    assert best["value"] == max(metric.value for metric in history)


def test_an_error_nobody_thought_of_is_one_failed_trial(objective, monkeypatch):
    search, trials, parent = objective

    def fit(self, stored):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(Job, "fit", fit)
    search.work(trials)
    assert (
        search.why_given_up == "the first 3 trials all failed, the last because ZeroDivisionError: by chance"
    )
    assert {run.info.status for run in children(parent)} == {"FAILED"}


def test_a_mistake_ends_the_search_before_its_first_trial(workspace, tiny_backbone, options):
    with pytest.raises(ModelError, match="not for EfficientNetV2-B0"):
        tune(TuneOptions(**options | {"backbone": "efficientnetv2-b0|convnext-tiny", "weights": "phantom"}))
    assert newest_search().info.status == "FAILED"
    assert children(newest_search().info.run_id) == []


def test_the_same_name_for_another_search_is_refused(workspace, tiny_backbone, options):
    plan = Plan(TuneOptions(**options))
    plan.folder.mkdir(parents=True)
    search = Search(open_storage(plan.storage), plan.search_options)
    with mlflow.start_run() as run:
        pass
    whole = {**trial_options(options), "dropout": "0.1"}
    search.begin({"run_id": run.info.run_id, "options": whole})
    with pytest.raises(OptionError, match=r"begun with another dropout \(0.1, here auto\)"):
        tune(TuneOptions(**options))
    with pytest.raises(OptionError, match="search s is there already"):
        tune(TuneOptions(**options | {"resume": False}))
    search.note(options=trial_options(options), digest="0" * 64)
    with pytest.raises(DataError, match=r"has changed since search s began with it \(digest 000000000000"):
        tune(TuneOptions(**options))
    mlflow.delete_run(run.info.run_id)
    with pytest.raises(OptionError, match=r"can't go on, its run .* was deleted"):
        tune(TuneOptions(**options))


def test_a_search_does_not_follow_an_alias_to_another_version(workspace, trained, options):
    client = mlflow.MlflowClient()
    for version in ("1", "2"):
        mlflow.register_model(trained.serving_uri, "tuned-from")
        client.set_registered_model_alias("tuned-from", "champion", version)
    began = options | {"weights": "models:/tuned-from/1"}
    plan = Plan(TuneOptions(**began))
    plan.folder.mkdir(parents=True)
    with mlflow.start_run() as run:
        pass
    search = Search(open_storage(plan.storage), plan.search_options)
    search.begin({"run_id": run.info.run_id, "options": trial_options(began)})
    with pytest.raises(OptionError, match=r"weights \(models:/tuned-from/1, here models:/tuned-from/2\)"):
        tune(TuneOptions(**options | {"weights": "tuned-from@champion"}))
    client.delete_registered_model("tuned-from")


def trial_options(options):
    from ich_mlflow.stages.common.unfinished import what_counts

    return what_counts(TuneOptions(**options))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"trials": 0}, "trials is 0, expected 1 to"),
        ({"workers": 0}, "workers is 0, expected 1 to"),
        ({"sampler": "grid"}, "sampler is 'grid'"),
        ({"pruner": "all"}, "pruner is 'all'"),
        ({"search": "../x"}, "search is '../x', expected letters"),
        ({"trial_epochs": "0"}, "trial_epochs is '0'"),
        ({"dropout": "0.1..2"}, r"dropout is 2.0, expected 0 or more"),
        ({"dropout": "low..high"}, "dropout is 'low', expected a number"),
        ({"num_classes": "4|5"}, "trials that differ in it can't be compared"),
        ({"augmentation": "some"}, "augmentation is 'some', expected a number"),
        ({"recipe": "model-2", "sampling": "natural|class_balanced"}, "recipe=model-2 fixes it"),
        ({"epochs": "2..4", "trial_epochs": "3"}, "expected one of the two"),
        ({"focal_gamma": "1..2", "loss": "bce"}, "let loss vary"),
        ({"dropout": "0.9x"}, "dropout is '0.9x'"),
    ],
)
def test_what_can_not_be_searched_is_refused_in_one_line(options, said, expected):
    with pytest.raises(OptionError, match=expected) as refusal:
        Plan(TuneOptions(**options | said))
    assert "\n" not in str(refusal.value)


def test_what_is_said_is_fixed_and_the_rest_varies(options):
    plan = Plan(
        TuneOptions(
            **options | {"dropout": "0.4", "loss": "bce|focal", "augmentation": "0.5", "recipe": "model-2"}
        )
    )
    assert plan.base.dropout == 0.4
    assert plan.base.rotation_degrees == 5.0
    assert plan.base.monitor == "val_auc"
    assert plan.space.dimensions.keys() == {
        "learning_rate", "dense_units", "windows", "context", "loss", "focal_gamma", "sampling_rate", "weight_decay",
    }  # fmt: skip


def test_trials_may_be_shorter_than_the_training_that_follows(options):
    plan = Plan(TuneOptions(**options | {"trial_epochs": "1", "frozen_epochs": "1"}))
    assert (plan.space.base.epochs, plan.base.epochs) == (1, 2)
    assert (plan.search_options.num_steps, plan.search_options.first_step) == (2, 2)


def test_the_name_of_a_search_follows_what_counts(options):
    options |= {"search": "auto"}
    name = Plan(TuneOptions(**options)).name
    assert Plan(TuneOptions(**options | {"trials": 9, "workers": 4, "train_best": True})).name == name
    assert Plan(TuneOptions(**options | {"dropout": "0.1"})).name != name
    assert Plan(TuneOptions(**options | {"resume": False})).name.startswith(f"{name}-")


def test_monitored_figures_are_those_of_an_epoch(trained):
    metrics = mlflow.get_run(trained.run_id).data.metrics
    for monitor in MONITORS.values():
        assert f"epoch/{monitor.figure}" in metrics
