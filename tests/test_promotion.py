import pytest

from ich_mlflow.promotion import Contender, compare


def contender(name="version 2", metric_value=0.91, num_classes=5, data_digest="aaaa"):
    return Contender(name=name, num_classes=num_classes, metric_value=metric_value, data_digest=data_digest)


CHAMPION = contender(name="version 1", metric_value=0.9)


def test_the_first_candidate_becomes_champion():
    decision = compare(contender(), None)
    assert decision.promote
    assert decision.reasons == ("there is no champion yet; version 2 has val/auc/macro = 0.9100",)


def test_a_better_candidate_is_promoted_with_its_numbers():
    decision = compare(contender(), CHAMPION)
    assert decision.promote
    assert decision.reasons == (
        "version 2 has val/auc/macro = 0.9100, higher than the champion version 1's 0.9000 (+0.01)",
    )


@pytest.mark.parametrize(("metric_value", "word"), [(0.9, "equal to"), (0.89, "lower than")])
def test_a_candidate_that_is_not_better_is_refused(metric_value, word):
    decision = compare(contender(metric_value=metric_value), CHAMPION)
    assert not decision.promote
    assert word in decision.reasons[0]


@pytest.mark.parametrize("champion", [None, CHAMPION])
@pytest.mark.parametrize("metric_value", [None, float("nan"), float("inf")])
def test_a_candidate_without_a_metric_is_refused(metric_value, champion):
    decision = compare(contender(metric_value=metric_value), champion)
    assert not decision.promote
    assert "expected a finite number" in decision.reasons[0]


def test_a_champion_without_a_metric_keeps_its_place():
    decision = compare(contender(), contender(name="version 1", metric_value=None))
    assert not decision.promote
    assert "the champion version 1 has val/auc/macro = None" in decision.reasons[0]


def test_different_class_schemes_are_not_compared():
    decision = compare(contender(num_classes=6), CHAMPION)
    assert not decision.promote
    assert "6 classes and the champion version 1 5" in decision.reasons[0]


def test_different_data_is_said_and_does_not_refuse():
    decision = compare(contender(data_digest="bbbb"), CHAMPION)
    assert decision.promote
    assert "measured on different data" in decision.reasons[1]
    assert "bbbb of version 2, aaaa of version 1" in decision.reasons[1]


def test_unrecorded_data_is_said():
    assert "not recorded" in compare(contender(data_digest=None), CHAMPION).reasons[1]


def test_the_metric_is_named_as_asked():
    assert "val/f1/macro" in compare(contender(), None, metric_name="val/f1/macro").reasons[0]
