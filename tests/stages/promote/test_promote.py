"""Promotion on models of known quality: what is promoted, refused, rolled back, and what survives kill -9."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import ModelError, OptionError, PromotionError, PromotionRefused
from ich_mlflow.evaluation.assess import assess
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.models.ancestry import Ancestry, not_known
from ich_mlflow.stages.common.scoring import load_model, score
from ich_mlflow.stages.common.stored_sets import learned_from
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote import examination
from ich_mlflow.stages.promote import home as home_module
from ich_mlflow.stages.promote import promote as module
from ich_mlflow.stages.promote.candidates import candidate_of
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import history_text, promote, promote_candidate, rollback
from ich_mlflow.tracking import lock as lock_module
from ich_mlflow.tracking.audit import history
from ich_mlflow.tracking.lock import registry_lock
from ich_mlflow.tracking.registry import alias_version, training_run
from ich_mlflow.tracking.versions import state_of
from tests.printed import check_printed_commands
from tests.public_surface.adapter import run_stage
from tests.stages.promote.contenders import EXPERIMENT, make_arena, quick, train_contender

NAME = "ich-5class"
SCRIPT = Path(__file__).with_name("contenders.py")
OLD_MODEL = Path(__file__).parents[2] / "fixtures" / "model-0.1.zip"


@pytest.fixture(scope="module")
def arena(workspace, tmp_path_factory):
    return make_arena(tmp_path_factory.mktemp("arena"))


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
    options = PromoteOptions(**{"run": run, "smoke": False, "resamples": 200, **said})
    return promote_candidate(options, evaluated=_evaluated_of(run))


def _evaluated_of(run):
    if run not in _evaluated:
        _evaluated[run] = evaluate(EvaluateOptions(model=training_run(run).model_uri, resamples=200))
    return _evaluated[run]


def said(decision, name):
    return next(gate.said for gate in decision.gates if gate.name == name)


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
        experiment_names=[EXPERIMENT],
        filter_string="tags.`ich.stage` = 'promote'",
        max_results=1,
        output_format="list",
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
    assert candidate_of(PromoteOptions(num_classes="5")).metrics["val/auc/macro"] == pytest.approx(1.0)
    lowest = candidate_of(PromoteOptions(num_classes="5", metric="val/loss"))
    assert lowest.metrics["val/loss"] == pytest.approx(0.0)
    promoted(runs[0.3])
    promoted(runs[1.0])
    rollback(PromoteOptions(rollback=True))
    assert candidate_of(PromoteOptions(num_classes="5")).run_id != runs[1.0]


def test_the_champion_is_not_registered_twice_and_a_refused_model_keeps_its_version(runs, registry):
    promoted(runs[1.0])
    again = promoted(runs[1.0])
    assert "registry" in again.failed
    assert "version 1, the champion, is this very model" in again.why()
    promoted(runs[0.3])
    promoted(runs[0.3], replace=True)
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
    other = make_arena(tmp_path, seed=1)
    newer = train_contender(other, 1.0)
    decision = promoted(newer)
    assert set(decision.failed) >= {"data", "home"}
    gate = next(gate for gate in decision.gates if gate.name == "data")
    assert not gate.passed
    assert "the champion has learned from some of them" in gate.said
    assert "the candidate has learned from some of them" in said(decision, "home")
    assert promoted(newer, same_data=False).promote


def test_a_candidate_whose_weights_learned_from_the_test_patients_is_refused_whatever_is_wished(
    runs, arena, tmp_path
):
    grandparent = learned_from(make_arena(tmp_path, seed=1), by="run 0")
    candidate = train_contender(arena, 1.0, before=[grandparent])
    for wish in ({}, {"same_data": False}, {"replace": True}):
        with pytest.raises(ModelError, match=r"what the weights of .* come from, run 0 \(") as refusal:
            promote_candidate(PromoteOptions(run=candidate, smoke=False, resamples=200, **wish))
        assert "\n" not in str(refusal.value)
    # nor does an evaluation of before help
    model = load_model(training_run(candidate).model_uri)
    _evaluated[candidate] = replace(_evaluated_of(runs[1.0]), model_uri=model.uri)
    with pytest.raises(ModelError, match="come from, run 0"):
        promoted(candidate, same_data=False)


def test_that_champion_or_candidate_started_from_a_foreign_file_is_no_secret_of_the_data_gate(runs, arena):
    foreign = not_known("file:old.h5").ancestors
    first, second = (train_contender(arena, quality, before=foreign) for quality in (0.3, 1.0))
    for run, who in ((first, ["candidate"]), (second, ["candidate", "champion"])):
        gate = next(gate for gate in promoted(run).gates if gate.name == "data")
        assert not gate.passed
        told = "has learned from its patients is not known: it is not known what file:old.h5 learned from"
        assert [one for one in ("candidate", "champion") if f"whether the {one} {told}" in gate.said] == who
        assert promoted(run, same_data=False).promote


def test_the_champions_ancestors_count_as_the_champion(runs, arena, tmp_path):
    grandparent = learned_from(make_arena(tmp_path, seed=1), by="run 0")
    champion = load_model(training_run(runs[0.3]).model_uri)
    champion.classifier.ancestry = Ancestry((grandparent, champion.ancestry.ancestors[-1]))
    told = home_module.seen_by(champion, arena, who="champion")
    assert told.startswith("the champion has learned from some of them: ")
    assert "come from, run 0 (" in told


def test_classes_have_champions_of_their_own(runs, arena):
    promoted(runs[1.0])
    four = train_contender(arena, 1.0, num_classes=4)
    assert promoted(four).promote
    assert (alias_version("ich-4class", "champion"), alias_version(NAME, "champion")) == ("1", "1")
    with pytest.raises(PromotionError, match="predicts 4 classes, expected num_classes=5"):
        promoted(four, num_classes="5")


def test_a_label_of_two_patients_leaves_the_mean_of_the_others_an_interval(runs, arena):
    """Of 70 test patients, two keep their epidural label."""
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
    # of the other gates some see that the network calls epidural what the truth no longer does
    assert "AUC" not in decision.failed
    assert "without epidural (too few patients)" in said(decision, "AUC")


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
        smoke, "ask", lambda address, dicom: {f"probability_{name}": 0.5 for name in (*SUBTYPES, ANY)}
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
    elsewhere = {**dead, "token": "y", "machine": "another of the same name"}
    for tags, forgotten_s in ((dead, 1800.0), (elsewhere, -1.0)):
        registry.create_registered_model("m.lock", tags=tags)
        monkeypatch.setattr(lock_module, "FORGOTTEN_S", forgotten_s)
        with registry_lock("m", who="you"):
            assert registry.get_registered_model("m.lock").tags["who"] == "you"
    # by its number alone it would pass for dead
    monkeypatch.setattr(lock_module, "FORGOTTEN_S", 1800.0)
    registry.create_registered_model("m.lock", tags=elsewhere)
    with pytest.raises(PromotionError, match="m is being promoted by me on"), registry_lock("m", who="you"):
        pass
    registry.delete_registered_model("m.lock")
    assert not registry.search_registered_models("name LIKE 'm.%'")


def test_the_command_refuses_with_an_exit_code_of_its_own(runs, monkeypatch, capsys):
    promoted(runs[1.0])
    worse = _evaluated_of(runs[0.0])
    monkeypatch.setattr(module, "_evaluate", lambda options, candidate: worse)
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
        (
            {"num_classes": "4", "model": NAME},
            "num_classes is '4', expected 5 with model=ich-5class, or left out",
        ),
        ({"model": "ich-5class-fantom"}, r"expected auto, ich-5class, .*did you mean ich-5class-phantom"),
        ({"intercept_margin": -1.0}, "intercept_margin is -1.0, expected 0 to 10"),
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


def crowned(registry, source):
    """The files of that folder are the champion, of data as the runs have them."""
    registry.create_registered_model(NAME)
    version = registry.create_model_version(NAME, source=str(source), tags={"ich.data.source": "array"})
    registry.set_registered_model_alias(NAME, "champion", version.version)


def test_a_champion_of_0_1_refuses_with_a_way_out(runs, registry, tmp_path):
    """Its serving.json says nothing of any, so it can't be scored any more."""
    with zipfile.ZipFile(OLD_MODEL) as archive:
        archive.extractall(tmp_path / "model")
    about = tmp_path / "model" / "MLmodel"  # it has an id where it was made, which this store doesn't know
    about.write_text(re.sub("^model_id:.*\n", "", about.read_text(), flags=re.MULTILINE))
    crowned(registry, tmp_path / "model")
    refused = promoted(runs[1.0])
    assert refused.failed == ("champion",)
    assert "train the model again" in said(refused, "champion")
    assert "\n" not in said(refused, "champion")
    assert alias_version(NAME, "champion") == "1"
    # it takes no champion's word for it: what doesn't look at the image must be beaten
    assert "above each of 6" in said(refused, "null models")
    replaced = promoted(runs[1.0], replace=True)
    assert (replaced.promote, replaced.replaced) == (True, ("champion",))
    assert (alias_version(NAME, "champion"), alias_version(NAME, "previous")) == ("2", "1")


def test_a_champion_that_is_nowhere_refuses_with_a_way_out(workspace, runs, registry):
    crowned(registry, workspace / "elsewhere")
    assert "is known, but its files are not in" in said(promoted(runs[1.0]), "champion")
    assert promoted(runs[1.0], replace=True).promote


def test_a_model_of_phantoms_never_takes_the_place_of_a_real_one(runs, arena, monkeypatch, capsys):
    """By the command that users type; its exit code is 3."""
    promoted(runs[0.3])
    phantom = train_contender(arena, 1.0, source="phantom")
    capsys.readouterr()
    told = {"run": phantom, "model": NAME, "smoke": False, "resamples": 200}
    assert run_stage(monkeypatch, "promote", **told) == 3
    printed = capsys.readouterr()
    assert "FAILED  source" in printed.out
    assert "ich-5class is for models that learned from other data than phantoms" in printed.out
    assert "passed  AUC" in printed.out  # it is the better one
    assert alias_version(NAME, "champion") == "1"
    # under its own name it has nobody to beat but what doesn't look at the image
    assert promoted(phantom).promote
    assert (alias_version(f"{NAME}-phantom", "champion"), alias_version(NAME, "champion")) == ("1", "1")


def test_without_a_run_only_the_names_own_kind_is_looked_at(runs, arena, monkeypatch, capsys):
    train_contender(arena, 1.0, num_classes=6, source="phantom")
    assert run_stage(monkeypatch, "promote", num_classes=6) == 1
    errors = capsys.readouterr().err
    assert "error: all 1 finished training run with num_classes=6" in errors
    (words,) = check_printed_commands(errors)
    assert words[-1] == "model=ich-6class-phantom"
    # and that command does it
    told = {"model": "ich-6class-phantom", "smoke": False, "resamples": 200}
    assert run_stage(monkeypatch, "promote", **told) == 0
    assert alias_version("ich-6class-phantom", "champion") == "1"


def test_a_candidate_of_another_source_is_refused_whatever_its_auc(runs, arena):
    promoted(runs[0.3])
    other = train_contender(arena, 1.0, source="elsewhere")
    decision = promoted(other)
    assert decision.failed == ("source",)
    assert said(decision, "source") == (
        "the candidate learned from elsewhere, the champion from array; expected the same"
    )
    assert promoted(other, replace=True).promote


def test_a_candidate_from_away_is_refused_where_it_is_worse_at_home(runs, tmp_path):
    """Its hospital's bands stand the other way round: there it is right and the champion wrong, at home it is not."""
    promoted(runs[1.0])
    away = train_contender(make_arena(tmp_path, seed=1, away=True), 1.0, away=True)
    decision = promoted(away)
    assert decision.failed == ("home",)
    assert "AUC lower by more than 0.05: any" in said(decision, "home") or "mean" in said(decision, "home")
    assert promoted(away, label_margin=1.0).promote


def test_a_champions_own_test_set_that_is_gone_is_said(runs, tmp_path):
    home = make_arena(tmp_path / "home", seed=2)
    promoted(train_contender(home, 1.0))
    shutil.rmtree(home.path)
    away = train_contender(make_arena(tmp_path / "away", seed=1, away=True), 1.0, away=True)
    assert "the champion's own test set is not at hand: " in said(promoted(away, same_data=False), "home")


def test_on_the_champions_own_test_set_nothing_is_scored_twice(runs, monkeypatch):
    promoted(runs[0.3])
    scored = []
    whole = examination.score
    monkeypatch.setattr(examination, "score", lambda *args, **said: scored.append(1) or whole(*args, **said))
    monkeypatch.setattr(home_module, "score", lambda *args, **said: pytest.fail("scored again"))
    decision = promoted(runs[1.0])
    assert "is the one that both are scored on" in said(decision, "home")
    assert len(scored) == 1


def test_a_model_that_learned_nothing_is_no_first_champion(runs):
    decision = promoted(runs[0.0])
    assert "null models" in decision.failed
    assert "of position alone" in said(decision, "null models")
    assert alias_version(NAME, "champion") is None


def test_all_probabilities_halved_are_refused_though_the_ranking_is_the_same(runs, arena):
    model = load_model(training_run(runs[1.0]).model_uri)
    evaluated = evaluate(EvaluateOptions(model=model.uri, resamples=200))
    scored = evaluated.scored
    halved = replace(scored.slices, probabilities=scored.slices.probabilities / 2)
    decision = promote_candidate(
        PromoteOptions(run=runs[1.0], smoke=False, resamples=200),
        evaluated=replace(
            evaluated, scored=replace(scored, slices=halved), slices=assess(halved, num_resamples=200)
        ),
    )
    assert decision.failed == ("calibration",)
    assert "any of slices intercept +" in said(decision, "calibration")
    assert "probabilities are too low" in said(decision, "calibration")


def test_looks_at_a_test_split_are_counted_and_shown(runs, tmp_path, capsys):
    """Three models on a set of its own; the second is tried again."""
    stored = make_arena(tmp_path, seed=3)
    three = [train_contender(stored, quality) for quality in (0.3, 0.5, 1.0)]
    for run in (three[0], three[1], three[1]):
        promoted(run)
    capsys.readouterr()
    promoted(three[2])
    shown = f"the 3rd model compared on this test split ({stored.digest[:12]})"
    assert shown in capsys.readouterr().out
    assert shown in history_text(NAME)
    records = history(NAME)["look"].tolist()[-4:]
    assert [look.split(" compared")[0] for look in records] == [
        "the 1st model", "the 2nd model", "the 2nd model", "the 3rd model",
    ]  # fmt: skip
    (run,) = mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.`ich.stage` = 'audit'", max_results=1,
        output_format="list",
    )  # fmt: skip
    assert run.data.tags["ich.test_digest"] == stored.digest
    assert run.data.tags["ich.test_models"] == "3"
    decision = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/decision.json")
    assert (decision["look"]["number"], decision["look"]["digest"]) == (3, stored.digest)
    promoted(three[0])
    assert "the 1st of 3 models compared on this test split" in capsys.readouterr().out
