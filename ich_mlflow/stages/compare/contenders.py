"""The models of a comparison: which they are, that they differ, and that none has learned from the test patients."""

from dataclasses import dataclass

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.parameters import AUTO
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.run_models import serving_of_run
from ich_mlflow.stages.common.scoring import expect_unseen, load_model, score
from ich_mlflow.stages.compare.options import CompareOptions
from ich_mlflow.tracking.registry import full_model_uri, run_of_model


@dataclass(frozen=True, kw_only=True)
class Named:
    """A model that was named. said: how. uri: a version, not an alias."""

    said: str
    uri: str
    trained_run: str


@dataclass(frozen=True, kw_only=True)
class Entries:
    """All models of a comparison, in their order, and which of them the others are compared with.

    first: the one that was named first.
    """

    models: tuple[Named, ...]
    baseline: Named
    first: Named


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that takes part, without its networks: several do not stay in memory at once.

    name: short, as `ich-5class v3`. not_known: names of what its weights come from of which it is not known whether it
    saw test patients. rule: what its decisions go by.
    """

    name: str
    uri: str
    trained_run: str
    specification: Specification
    not_known: tuple[str, ...]
    rule: str


def entries(options: CompareOptions) -> Entries:
    """The models that were named, looked up before anything is loaded.

    Raises ModelError where one is unknown, or two are the same.
    """
    models = tuple(_named(text) for text in options.names)
    _expect_different(models)
    first = models[0]
    if options.baseline == AUTO:
        return Entries(models=models, baseline=first, first=first)
    baseline = _named(options.baseline)
    known = [one for one in models if _is_same(one, baseline)]
    if len(models) == 1 and known:
        _expect_different((*models, baseline))
    if not known:
        models = (baseline, *models)
    return Entries(models=models, baseline=known[0] if known else baseline, first=first)


def contender(named: Named, stored: StoredSet, *, operating_point: str) -> Contender:
    """Open the model, ask what it knows of itself, and close it. Raises ModelError as expect_unseen does."""
    model = load_model(named.uri)
    specification = model.specification
    return Contender(
        name=model.short,
        uri=model.uri,
        trained_run=named.trained_run,
        specification=specification,
        not_known=expect_unseen(model, stored),
        rule=specification.decides_by if operating_point == AUTO else operating_point,
    )


def scored(one: Contender, stored: StoredSet, labels: tuple[str, ...]) -> dict[str, Predictions]:
    """What the model says of those labels of the test split, by unit; the model itself is not kept."""
    found = score(load_model(one.uri).classifier, stored, rule=one.rule)
    return {each.unit: each.only(labels) for each in (found.slices, found.exams) if each is not None}


def _named(text: str) -> Named:
    uri = full_model_uri(serving_of_run(text))
    return Named(said=text, uri=uri, trained_run=run_of_model(uri))


def _is_same(one: Named, other: Named) -> bool:
    """Whether both are what one training left, however they are named."""
    return one.uri == other.uri or (bool(one.trained_run) and one.trained_run == other.trained_run)


def _expect_different(models: tuple[Named, ...]) -> None:
    for number, one in enumerate(models):
        for other in models[:number]:
            if _is_same(one, other):
                raise ModelError(
                    f"{other.said} and {one.said} are the same model, of training run {one.trained_run}: expected each "
                    "once; leave one out"
                )
