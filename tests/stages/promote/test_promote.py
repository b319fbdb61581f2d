"""Promotion on models of known quality: what is promoted, refused, rolled back, and what survives kill -9."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import ModelError, OptionError, PromotionError, PromotionRefused
from ich_mlflow.evaluation.assess import assess
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.stages.common.scoring import load_model, score
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote import promote as module
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import history_text, promote, promote_candidate, rollback
from ich_mlflow.tracking import lock as lock_module
from ich_mlflow.tracking.audit import history
from ich_mlflow.tracking.lock import registry_lock
from ich_mlflow.tracking.registry import alias_version, training_run
from ich_mlflow.tracking.versions import state_of
from tests.printed import check_printed_commands
from tests.stages.promote.contenders import make_set, quick, train_contender

NAME = "ich-5class"
SCRIPT = Path(__file__).with_name("contenders.py")


@pytest.fixture(scope="module")
def arena(workspace, tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("arena"))


@pytest.fixture(scope="module")
def runs(arena):
    """Training runs by quality; each is made once."""
    return {quality: train_contender(arena, quality) for quality in (0.0, 0.3, 1.0)}


@pytest.fixture(autouse=True)
def registry(workspace, monkeypatch):
    """A registry without models and without a past."""
    client = mlflow.MlflowClient()
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    monkeypatch.setattr(module, "who", lambda: "a tester")
    quick(monkeypatch)
    since = len(history())
    yield client
    assert not [model.name for model in client.search_registered_models() if model.name.endswith(".lock")]
    assert len(history()) >= since
    # tests that come after these in the same process have no champion to be compared with
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


_evaluated: dict = {}


def promoted(run, **said):
    """Promote with an evaluation made once a run, and without a server unless asked for."""
    if run not in _evaluated:
        _evaluated[run] = evaluate(EvaluateOptions(model=training_run(run).model_uri, resamples=200))
    options = PromoteOptions(**{"run": run, "smoke": False, "resamples": 200, **said})
    return promote_candidate(options, evaluated=_evaluated[run])


def newest_records(count):
    return history(NAME).tail(count)[["action", "from", "to"]].to_numpy().tolist()


def test_a_better_candidate_becomes_champion_a_worse_one_does_not_and_a_rollback_undoes(runs, registry):
    first, better = promoted(runs[0.3]), promoted(runs[1.0])
    assert (first.promote, better.promote) == (True, True)
    assert (alias_version(NAME, "champion"), alias_version(NAME, "previous")) == ("2", "1")
    assert alias_version(NAME, "candidate") is None
    version = registry.get_model_version(NAME, "2")
    assert version.tags["ich.run_id"] == runs[1.0]
    assert (version.tags["ich.promotion_state"], version.tags["ich.previous_version"]) == ("champion", "1")
    assert "not a medical device" in version.description
    assert "# Model card" in version.description or "Intended use" in version.description

    worse = promoted(runs[0.0])
    assert worse.failed[0] == "AUC"
    assert (alias_version(NAME, "champion"), alias_version(NAME, "candidate")) == ("2", "3")
    refused = registry.get_model_version(NAME, "3")
    assert refused.tags["ich.promotion_state"] == "refused"
    assert "AUC: mean AUC 0." in refused.tags["ich.refused_because"]

    assert (
        rollback(PromoteOptions(num_classes="5", rollback=True, reason="it called everything a bleed."))
        == "1"
    )
    assert (alias_version(NAME, "champion"), alias_version(NAME, "previous")) == ("1", None)
    assert state_of(NAME, "2") == "rolled_back"
    assert newest_records(4) == [
        ["promoted", "none", "v1"], ["promoted", "v1", "v2"], ["refused", "v2", "v3"], ["rolled back", "v2", "v1"],
    ]  # fmt: skip
    text = history_text(NAME)
    assert "a tester" in text
    assert "it called everything a bleed" in text
    with pytest.raises(PromotionError, match="no version with the alias previous"):
        rollback(PromoteOptions(rollback=True))


def test_the_run_of_a_refusal_holds_every_gate_with_its_reason(runs):
    promoted(runs[1.0])
    decision = promoted(runs[0.0])
    run = mlflow.search_runs(
        ["1"], filter_string="tags.`ich.stage` = 'promote'", max_results=1, output_format="list"
    )[0]
    assert run.info.status == "FINISHED"
    assert run.data.tags["ich.promoted"] == "False"
    gates = mlflow.load_table("tables/gates.json", run_ids=[run.info.run_id])
    assert gates["gate"].tolist() == [gate.name for gate in decision.gates]
    assert gates["passed"].tolist() == [gate.passed for gate in decision.gates]
    record = mlflow.get_run(run.data.tags["ich.audit_run"])
    assert record.info.status == "FINISHED"
    assert record.data.tags["ich.trained_run"] == runs[0.0]
    assert record.data.tags["ich.why"] == decision.why()


def test_the_candidate_is_the_best_finished_run_that_was_not_rolled_back(runs):
    assert module._candidate(PromoteOptions(num_classes="5")).metrics["val/auc/macro"] == pytest.approx(1.0)
    lowest = module._candidate(PromoteOptions(num_classes="5", metric="val/loss"))
    assert lowest.metrics["val/loss"] == pytest.approx(0.0)
    promoted(runs[0.3])
    promoted(runs[1.0])
    rollback(PromoteOptions(rollback=True))
    assert module._candidate(PromoteOptions(num_classes="5")).run_id != runs[1.0]


def test_the_champion_is_not_registered_twice_and_a_refused_model_keeps_its_version(runs, registry):
    promoted(runs[1.0])
    again = promoted(runs[1.0])
    assert "registry" in again.failed
    assert "version 1, the champion, is this very model" in again.why()
    promoted(runs[0.3])
    promoted(runs[0.3], require="not_worse", margin=1.0, label_margin=1.0, calibration_margin=1.0)
    assert alias_version(NAME, "champion") == "2"
    assert len(registry.search_model_versions(f"name = '{NAME}'")) == 2


def test_a_worse_candidate_can_be_wished_for_but_not_a_slow_one(runs):
    promoted(runs[1.0])
    assert not promoted(runs[0.3], replace=True, max_latency_ms=1e-6).promote
    decision = promoted(runs[0.3], replace=True, reason="new scanner")
    assert decision.promote
    assert "AUC" in decision.replaced
    assert "new scanner" in history(NAME).iloc[-1]["why"]


def test_the_champion_of_another_set_must_be_known_not_to_have_seen_the_patients(runs, tmp_path):
    promoted(runs[0.3])
    other = make_set(tmp_path, seed=1)
    newer = train_contender(other, 1.0)
    decision = promoted(newer)
    gate = next(gate for gate in decision.gates if gate.name == "data")
    assert not gate.passed
    assert "the champion has learned from some of them" in gate.said
    assert promoted(newer, same_data=False).promote


def test_classes_have_champions_of_their_own(runs, arena):
    promoted(runs[1.0])
    four = train_contender(arena, 1.0, num_classes=4)
    assert promoted(four).promote
    assert (alias_version("ich-4class", "champion"), alias_version(NAME, "champion")) == ("1", "1")
    with pytest.raises(PromotionError, match="predicts 4 classes, expected num_classes=5"):
        promoted(four, num_classes="5")


def test_a_label_of_two_patients_leaves_the_mean_of_the_others_an_interval(runs, arena):
    """Of 28 test patients, two keep their epidural label."""
    promoted(runs[0.3])
    rows = arena.rows("test")
    patients = arena.table["patient_id"].to_numpy()[rows]
    subtypes = arena.subtypes.copy()
    kept = sorted(set(patients[subtypes[rows][:, 0] == 1]))[:2]
    subtypes[rows[~np.isin(patients, kept)], 0] = 0
    fewer = replace(arena, table=arena.table.assign(**dict(zip(SUBTYPES, subtypes.T, strict=True))))
    model = load_model(training_run(runs[1.0]).model_uri)
    evaluated = evaluate(EvaluateOptions(model=model.uri, resamples=200))
    scored = score(model.classifier, fewer, rule=evaluated.rule)
    slices = assess(scored.slices, num_resamples=200)
    decision = promote_candidate(
        PromoteOptions(run=runs[1.0], smoke=False, resamples=200),
        evaluated=replace(evaluated, scored=scored, slices=slices),
    )
    assert decision.promote
    assert "without epidural (too few patients)" in decision.gates[0].said


def test_the_real_server_answers_before_a_champion_is_made(runs, monkeypatch):
    decision = promoted(runs[1.0], smoke=True)
    assert decision.promote
    assert "answers a DICOM file as the offline model does" in decision.gates[-1].said


def test_a_server_that_answers_otherwise_or_not_at_all_refuses(runs, monkeypatch):
    from contextlib import contextmanager

    from ich_mlflow.serving import smoke_test as smoke

    @contextmanager
    def served(uri):
        yield "http://127.0.0.1:1"

    monkeypatch.setattr(smoke, "served", served)
    monkeypatch.setattr(
        smoke, "ask", lambda address, dicom: {f"probability_{name}": 0.5 for name in SUBTYPES}
    )
    decision = promoted(runs[1.0], smoke=True)
    assert decision.failed == ("serving",)
    assert "differ from the offline model's by" in decision.why()
    assert alias_version(NAME, "champion") is None
    monkeypatch.undo()
    quick(monkeypatch)
    monkeypatch.setattr(smoke, "served", served)
    assert "gives no answer" in promoted(runs[1.0], smoke=True).why()


def test_a_server_that_does_not_start_is_said_with_its_last_line(workspace):
    from ich_mlflow.serving.smoke_test import served

    with (
        pytest.raises(ModelError, match=r"the server ended with exit code \d+: ."),
        served("models:/nobody/1"),
    ):
        pass


def start(folder, run, **told):
    options = {"run": run, "smoke": False, "resamples": 100}
    about = {"tracking_uri": mlflow.get_tracking_uri(), "options": options, **told}
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(about)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_killed_after_registering_the_next_call_takes_the_version_away(runs, tmp_path, registry, capsys):
    promoted(runs[0.3])
    killed = start(tmp_path, runs[1.0], dies="after registering")
    said = killed.communicate(timeout=300)[0]
    assert killed.returncode == -signal.SIGKILL, said
    assert state_of(NAME, "2") == "pending"
    assert not promoted(runs[0.0]).promote
    assert (
        "version 2 of ich-5class, registered by a promotion that was cut off, is removed"
        in capsys.readouterr().out
    )
    assert sorted(int(v.version) for v in registry.search_model_versions(f"name = '{NAME}'")) == [1, 3]
    assert promoted(runs[1.0]).promote


def test_killed_between_the_aliases_the_next_call_finishes(runs, tmp_path, capsys):
    promoted(runs[0.3])
    killed = start(tmp_path, runs[1.0], dies="after moving champion")
    said = killed.communicate(timeout=300)[0]
    assert killed.returncode == -signal.SIGKILL, said
    assert (alias_version(NAME, "champion"), alias_version(NAME, "previous")) == ("2", None)
    assert history(NAME).iloc[-1]["action"] == "promoted (cut off)"
    assert not promoted(runs[0.0]).promote
    assert "a promotion that was cut off is finished" in capsys.readouterr().out
    assert (alias_version(NAME, "champion"), alias_version(NAME, "previous")) == ("2", "1")
    assert (state_of(NAME, "1"), state_of(NAME, "2")) == ("replaced", "champion")
    assert newest_records(2) == [["promoted", "v1", "v2"], ["refused", "v2", "v3"]]


def test_of_two_promotions_at_once_one_wins(runs, tmp_path):
    places = [tmp_path / "one", tmp_path / "two"]
    processes = [
        start(tmp_path, run, touches=str(here), waits_for=str(other))
        for run, here, other in ((runs[0.3], *places), (runs[1.0], *places[::-1]))
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    decisions = [json.loads(text.split("DECISION ")[1]) for text in said]
    assert sorted(decision["promote"] for decision in decisions) == [False, True]
    loser = next(decision for decision in decisions if not decision["promote"])
    reason = next(gate for gate in loser["gates"] if gate["gate"] == "registry")["said"]
    assert reason == "the champion became version 1 while version None was compared with: run promote again"
    assert sorted(action for action, _, _ in newest_records(2)) == ["promoted", "refused"]


def test_a_lock_of_the_living_is_waited_for_and_one_of_the_dead_or_forgetful_is_broken(registry, monkeypatch):
    monkeypatch.setattr(lock_module, "WAIT_S", 1.0)
    with registry_lock("m", who="me"):
        held = registry.get_registered_model("m.lock").tags
        with (
            pytest.raises(PromotionError, match="m is being promoted by me on"),
            registry_lock("m", who="you"),
        ):
            pass
    dead = {**held, "token": "x", "pid": str(2**22 - 1)}
    forgotten = {**held, "token": "x", "host": "elsewhere", "since": "0"}
    for tags in (dead, forgotten):
        registry.create_registered_model("m.lock", tags=tags)
        with registry_lock("m", who="you"):
            assert registry.get_registered_model("m.lock").tags["who"] == "you"


def test_the_command_refuses_with_an_exit_code_of_its_own(runs, monkeypatch, capsys):
    promoted(runs[1.0])
    monkeypatch.setattr(module, "_evaluate", lambda options, candidate: _evaluated[candidate.run_id])
    with pytest.raises(PromotionRefused, match="refused because of AUC") as refusal:
        promote(PromoteOptions(run=runs[0.0], smoke=False, resamples=200))
    assert refusal.value.exit_code == 3
    assert "FAILED  AUC" in capsys.readouterr().out
    promote(PromoteOptions(history=True, num_classes="5"))
    assert "refused" in capsys.readouterr().out
    promote(PromoteOptions(history=True, num_classes="6"))
    assert "no promotion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"num_classes": "3"}, "num_classes is '3', expected auto, 4, 5 or 6"),
        ({"require": "best"}, "require is 'best'"),
        ({"margin": -0.1}, "margin is -0.1, expected 0 to 1"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"max_size_mb": 0.0}, "max_size_mb is 0.0, expected above 0"),
        ({"metric": "a b"}, "metric is 'a b'"),
        ({"resamples": 1}, "resamples is 1"),
        ({"rollback": True, "run": "0" * 32}, "rollback is true, expected false with run="),
        ({"smoke": "maybe"}, "smoke is 'maybe'"),
    ],
)
def test_options_out_of_range_are_refused(said, expected):
    with pytest.raises(OptionError, match=expected):
        PromoteOptions(**said)


def test_what_is_not_there_is_one_line(workspace, registry):
    with pytest.raises(PromotionError, match="no finished training run with num_classes=6") as refusal:
        promote_candidate(PromoteOptions(num_classes="6"))
    assert len(check_printed_commands(str(refusal.value))) == 1
    with pytest.raises(PromotionError, match="not in"):
        promote_candidate(PromoteOptions(run="0123"))
    with pytest.raises(PromotionError, match="ich-6class has no champion"):
        rollback(PromoteOptions(num_classes="6", rollback=True))


def test_a_champion_that_is_no_model_of_ours_is_one_line(workspace, runs, registry):
    registry.create_registered_model(NAME)
    version = registry.create_model_version(NAME, source=str(workspace / "elsewhere"))
    registry.set_registered_model_alias(NAME, "champion", version.version)
    with pytest.raises(ModelError, match="is not to be found") as refusal:
        promoted(runs[1.0])
    assert "\n" not in str(refusal.value)
