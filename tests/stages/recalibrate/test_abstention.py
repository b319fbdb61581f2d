"""The rule on local exams: theirs where they are enough, the version's own where not; each exam by the others'."""

from dataclasses import replace

import numpy as np

from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.stages.recalibrate.abstention import abstaining, abstention_section, local_or_own
from ich_mlflow.stages.recalibrate.local import Unit

OWN = Abstention(alpha=0.05, clear_below=0.3, bleeding_patients=100, far_from=2.0, patients=200)


def unit(num_bleeds, num_clear=30, *, distances=None):
    """Exams with a bleed score .50, .51, …, those without 0, .01, …; a patient each."""
    scores = np.concatenate([0.5 + np.arange(num_bleeds) / 100, np.arange(num_clear) / 100])
    bleeds = np.arange(len(scores)) < num_bleeds
    return Unit(
        name="exams",
        chosen=None,
        targets=bleeds[:, None],
        scores=scores[:, None],
        patients=np.array([f"p{number:03d}" for number in range(len(scores))]),
        folds=np.arange(len(scores)) % 10,
        distances=distances,
    )


def found_of(one, before=OWN):
    nobody = np.zeros(len(one.scores), bool)
    return abstaining(before, one, ("any",), was=nobody, now=nobody)


def test_with_enough_local_bleeds_the_local_limit_stands():
    found = found_of(unit(20))
    # floor(.05 * 21) = 1: the lowest of them
    assert found.after == replace(OWN, clear_below=0.5, bleeding_patients=20)
    # each by the others: without itself the lowest is below the new lowest, .51
    assert found.called_after.missed == (1, 20)
    assert found.called_after.uncertain.sum() == 19
    assert found.called_before.uncertain.sum() == 20
    assert "1 is called clear" in found.said


def test_with_too_few_the_version_keeps_its_own():
    found = found_of(unit(18))
    assert found.after == OWN
    assert local_or_own(
        OWN, Abstention(alpha=0.05, bleeding_patients=3, far_from=1.0, patients=50)
    ) == replace(OWN, far_from=1.0, patients=50)


def test_a_version_of_before_gets_one_and_one_that_was_told_zero_stays_silent():
    found = found_of(unit(20), None)
    assert found.after.clear_below == 0.5
    assert found.called_before is None
    assert "packed without" in abstention_section(found).tables[0].rows[0][1]
    silent = found_of(unit(20), Abstention(alpha=0.0))
    assert silent.after == Abstention(alpha=0.0)
    assert not silent.called_after.uncertain.any()
    assert "abstention=0" in abstention_section(silent).paragraphs[0]


def test_the_distance_needs_patients_alone():
    found = found_of(unit(5, 40, distances=np.arange(45) / 10))
    # of 45 patients floor(.05 * 46) = 2: the second farthest
    assert (found.after.far_from, found.after.patients) == (4.3, 45)
    assert found.after.clear_below == OWN.clear_below
