"""The champion's own test set: a candidate that learned elsewhere must not be worse where the champion comes from."""

from pathlib import Path

from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.stages.common.scoring import LoadedModel, Scored, expect_unseen, say_not_known, score
from ich_mlflow.stages.promote.facts import Home
from ich_mlflow.stages.promote.measured import aucs_without_intervals


def examine_home(candidate: LoadedModel, champion: LoadedModel, scored: Scored, *, rule: str) -> Home:
    """Score both on the champion's own test set, where it is at hand and not the one that was scored already."""
    digest = champion.specification.data_digest
    if digest == scored.stored.digest:
        return Home(digest=digest, why_not="the champion's own test set is the one that both are scored on")
    stored, why_not = _own_set(champion)
    if stored is None:
        return Home(digest=digest, why_not=f"the champion's own test set is not at hand: {why_not}")
    seen = seen_by(candidate, stored, who="candidate")
    print(f"scoring both on the champion's own test set, {stored.path}")
    mine, theirs = (score(one.classifier, stored, rule=rule) for one in (candidate, champion))
    aucs = aucs_without_intervals(mine.slices or mine.exams, theirs.slices or theirs.exams)
    return Home(digest=digest, seen=seen, aucs=aucs)


def seen_by(model: LoadedModel, stored: StoredSet, *, who: str) -> str:
    """'' where neither the model nor what its weights come from learned from the test patients, else what is wrong."""
    try:
        return not_known_of(who, expect_unseen(model, stored))
    except ModelError as error:
        return f"the {who} has learned from some of them: {error}"


def not_known_of(who: str, names: tuple[str, ...]) -> str:
    """That it is not known what those have learned from, whose weights `who` has; '' where there is none."""
    if not names:
        return ""
    return f"whether the {who} has learned from its patients is not known: {say_not_known(names)}"


def _own_set(champion: LoadedModel) -> tuple[StoredSet | None, str]:
    """The set that the champion learned from; else None, and why."""
    path = champion.trained_path
    if path is None:
        return None, "its training run does not say where it was stored"
    try:
        stored = StoredSet.open(Path(path))
    except DataError as error:
        return None, str(error)
    if stored.digest != champion.specification.data_digest:
        return None, f"{path} has changed since the champion was trained"
    if not len(stored.rows(TEST)):
        return None, f"{path} has no test split"
    return stored, ""
