"""How many models were compared on a test split, counted from made-up evaluate runs and records of promotions."""

import uuid

import mlflow
import pytest

from ich_mlflow.tracking.audit import REFUSED, begin_record, finish_record, history
from ich_mlflow.tracking.looks import CHAMPION_TAG, HOME_DIGEST_TAG, Look, look_of, looks_of, ordinal


@pytest.fixture
def digest(workspace):
    """Of a set that nobody has looked at."""
    return uuid.uuid4().hex


def evaluated(model, digest, *, baseline="", scored=True):
    tags = {"ich.stage": "evaluate", "ich.trained_run": model}
    with mlflow.start_run(tags={**tags, **({"ich.baseline_run": baseline} if baseline else {})}) as run:
        mlflow.log_param("data.digest", digest)
        if scored:
            mlflow.log_metric("test/auc/macro", 0.5)
    return run.info.run_id


def compared(model, look, **about):
    record = begin_record(
        action=REFUSED, model_name="ich-looks", before="1", after="2", who="me", why="so", run_id="",
        trained_run=model, about={**look.tags(), **about},
    )  # fmt: skip
    finish_record(record)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (7, "7th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
     (102, "102nd"), (111, "111th")],
)  # fmt: skip
def test_ordinals(number, expected):
    assert ordinal(number) == expected


def test_a_look_in_words():
    assert Look(digest="d", number=7, models=7).said == "the 7th model compared on this test split"
    assert Look(digest="d", number=3, models=7).said == "the 3rd of 7 models compared on this test split"


def test_each_model_is_counted_once_however_often_it_is_looked_at(digest):
    assert look_of("a", digest) == Look(digest=digest, number=1, models=1)
    for model in ("a", "b", "a", "a"):
        evaluated(model, digest)
    assert look_of("c", digest).said == "the 3rd model compared on this test split"
    assert look_of("a", digest).said == "the 1st of 2 models compared on this test split"


def test_another_test_split_and_a_run_that_scored_nothing_do_not_count(digest):
    evaluated("a", digest + "0")
    evaluated("a", digest, scored=False)
    assert look_of("b", digest).number == 1


def test_a_baseline_and_whoever_is_compared_now_count(digest):
    evaluated("a", digest, baseline="z")
    assert look_of("b", digest).number == 3
    assert look_of("b", digest, beside=["champion"]).number == 4
    assert look_of("b", digest, beside=["z"]).number == 3


def test_promotions_count_for_the_set_and_for_the_champions_home(digest):
    compared(
        "a", Look(digest=digest, number=1, models=1), **{CHAMPION_TAG: "c", HOME_DIGEST_TAG: digest + "home"}
    )
    assert look_of("b", digest).number == 3
    assert look_of("b", digest + "home").number == 3


def test_several_models_at_once_are_as_many_looks_in_their_order(digest):
    evaluated("b", digest)
    assert [look.number for look in looks_of(["a", "b", "c"], digest)] == [2, 1, 3]
    trained = {f"ich.trained_run.{number + 1}": model for number, model in enumerate("zyxwvutsrqb")}
    with mlflow.start_run(tags={"ich.stage": "compare", "ich.test_digest": digest, **trained}):
        pass
    assert look_of("c", digest) == Look(digest=digest, number=12, models=12)
    assert look_of("y", digest).number == 3
    assert look_of("q", digest).number == 11


def test_a_look_stays_one_where_its_run_is_deleted(digest):
    mlflow.delete_run(evaluated("a", digest))
    assert look_of("b", digest).number == 2


def test_history_shows_which_look_it_was(digest):
    compared("a", Look(digest=digest, number=7, models=7))
    (*_, row) = history("ich-looks").to_dict("records")
    assert row["look"] == f"the 7th model compared on this test split ({digest[:12]})"
