"""What predict notes of its studies for the monitor: the records that a server writes too."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.record import EXAM, Record, Site, facts_fields, kinds_of, known
from ich_mlflow.prediction.verdict import StudyResult
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.response import ModelVersion

_PROBABILITY = "probability_"


def records_of(
    results: Sequence[StudyResult], version: ModelVersion, asked: Asked, site: Site
) -> list[Record]:
    """A record of each study that has a series to score."""
    now = datetime.now(UTC)
    return [_record(one, version, asked, site, now) for one in results if one.study.series]


def _record(one: StudyResult, version: ModelVersion, asked: Asked, site: Site, now: datetime) -> Record:
    first = one.study.series[0]
    lost = sum(bool(each.error) for each in one.slices)
    return Record(
        time=now,
        site=site.name,
        study=site.hashed(one.study.study_uid),
        model_name=version.name,
        model_version=version.version,
        unit=EXAM,
        status=one.status,
        operating_point=asked.operating_point,
        probabilities={
            name.removeprefix(_PROBABILITY): round(float(value), 5)
            for name, value in one.said.items()
            if name.startswith(_PROBABILITY)
        },
        positive=tuple(dict.fromkeys((*([ANY] if one.said.get(f"decision_{ANY}") else []), *one.positive))),
        slices=len(one.slices),
        unusable=lost,
        **facts_fields(first.facts),
        step_mm=known(first.step_mm),
        spacing_mm=known(first.spacing_mm, 4),
        soft_tissue_hu=one.soft_tissue_hu,
        uncertain=one.uncertain,
        distance=known(one.distance, 4) if one.distance is not None else None,
        warnings=kinds_of([*one.reasons, *(text for each in one.slices for text in each.warnings)]),
    )
