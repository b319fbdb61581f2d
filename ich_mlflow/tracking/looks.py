"""How many models were compared on a test split: with each, the best of them flatters more.

A model is a training run. It is counted once for the digest of a stored set, where evaluate scored it, or compare or
promote compared it there, also where that run was deleted since.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType

from ich_mlflow.tracking.run import STAGE_TAG

#: Of a record in the audit trail: the set that was compared on, and the champion's own where both were scored there.
DIGEST_TAG, HOME_DIGEST_TAG = "ich.test_digest", "ich.home_digest"
#: Which look it was, in words, and how many models there were by then.
LOOK_TAG, MODELS_TAG = "ich.test_look", "ich.test_models"
TRAINED_TAG, BASELINE_TAG, CHAMPION_TAG = "ich.trained_run", "ich.baseline_run", "ich.champion_run"
#: Of a run that compares several models: `ich.trained_run.1` and so on.
SEVERAL_TAG = f"{TRAINED_TAG}."
_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Look:
    """A model's place among those that were compared on the test split of the set with that digest.

    number: in the order in which each was first looked at, from 1. models: how many there are by now.
    """

    digest: str
    number: int
    models: int

    @property
    def said(self) -> str:
        """`the 7th model compared on this test split`, of one that was looked at before `the 3rd of 7 models …`."""
        later = f" of {self.models} models" if self.number < self.models else " model"
        return f"the {ordinal(self.number)}{later} compared on this test split"

    def tags(self) -> dict[str, str]:
        """For the record in the audit trail, and for the run."""
        return {DIGEST_TAG: self.digest, LOOK_TAG: self.said, MODELS_TAG: str(self.models)}

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {"digest": self.digest, "number": self.number, "models": self.models, "said": self.said}


def look_of(trained_run: str, digest: str, *, beside: Iterable[str] = ()) -> Look:
    """The model's look at that set. beside: training runs of others that are compared there now."""
    *_, look = looks_of([*beside, trained_run], digest)
    return look


def looks_of(trained_runs: Sequence[str], digest: str) -> list[Look]:
    """The look of each of several models that are compared at that set now."""
    models = list(dict.fromkeys([*_looked(digest), *trained_runs]))
    return [Look(digest=digest, number=models.index(one) + 1, models=len(models)) for one in trained_runs]


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"


def _looked(digest: str) -> list[str]:
    """Training runs that were scored on the set, the earliest look first; a run may be there more than once."""
    compared = [
        run
        for stage, tag in (("audit", DIGEST_TAG), ("audit", HOME_DIGEST_TAG), ("compare", DIGEST_TAG))
        for run in _runs(f"tags.`{STAGE_TAG}` = '{stage}' AND tags.`{tag}` = '{digest}'")
    ]
    scored = [
        run
        for run in _runs(f"tags.`{STAGE_TAG}` = 'evaluate' AND params.`data.digest` = '{digest}'")
        if any(name.startswith("test/") for name in run.data.metrics)
    ]
    looks = sorted([*compared, *scored], key=lambda run: run.info.start_time)
    return [model for run in looks for model in _models(run)]


def _models(run: Any) -> Iterator[str]:
    """Whom the run compares with comes first: the champion, the baseline."""
    for tag in (CHAMPION_TAG, BASELINE_TAG, TRAINED_TAG):
        if run.data.tags.get(tag):
            yield run.data.tags[tag]
    several = [tag for tag in run.data.tags if tag.startswith(SEVERAL_TAG)]
    for tag in sorted(several, key=lambda tag: int(tag.removeprefix(SEVERAL_TAG))):
        yield run.data.tags[tag]


def _runs(condition: str) -> Iterator[Any]:
    """Every run of all experiments that meets it, deleted ones too: what was seen stays seen."""
    client = MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments,
            filter_string=condition,
            run_view_type=ViewType.ALL,
            max_results=_PAGE,
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return
