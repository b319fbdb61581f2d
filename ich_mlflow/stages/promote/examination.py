"""What is to be known before a candidate may become champion: scored, measured, and compared on the same test split."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from ich_mlflow.dicom.write import Encoding, Identity, write_slice
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.metrics import MACRO
from ich_mlflow.labels import ANY
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.packaging import network_digest, signature_fault, size_mb
from ich_mlflow.serving.smoke_test import latency_ms
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.scoring import LoadedModel, Scored, expect_unseen, load_model, score
from ich_mlflow.stages.promote.candidates import misnamed, source_learned_from
from ich_mlflow.stages.promote.facts import Facts, OverNullModel, Versus
from ich_mlflow.stages.promote.home import examine_home, not_known_of, seen_by
from ich_mlflow.stages.promote.measured import (
    Difference,
    calibration_lines,
    compare,
    not_estimable,
    over_null_models,
)
from ich_mlflow.tracking.registry import CHAMPION, TrainedRun, alias_version
from ich_mlflow.tracking.versions import source_of, trained_run_of


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A training run whose model is examined: it is loaded, and evaluated on the test split."""

    run: TrainedRun
    model: LoadedModel
    evaluated: Evaluated

    @property
    def shown(self) -> str:
        """It in words."""
        return f"run {self.run.run_id[:8]} ({self.run.name})"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """Who is champion now. source: of the data it learned from, '' where it is not known; trained_run likewise.

    model: None where it can't be read, for the reason in `unreadable`.
    """

    name: str
    version: str
    source: str
    trained_run: str
    model: LoadedModel | None
    unreadable: str = ""

    @property
    def shown(self) -> str:
        """`ich-5class/3`."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """Facts but for registration and serving, which need a version; tables of differences by unit; a file to try."""

    facts: Facts
    differences: dict[str, pd.DataFrame]
    dicom: bytes


def champion_of(name: str) -> Champion | None:
    """The champion of that registered name, loaded where it can be; None where there is none."""
    version = alias_version(name, CHAMPION)
    if version is None:
        return None
    model, unreadable = None, ""
    try:
        model = load_model(f"models:/{name}/{version}")
    except ModelError as error:
        unreadable = str(error)
    return Champion(
        name=name,
        version=version,
        source=source_of(name, version),
        trained_run=trained_run_of(name, version),
        model=model,
        unreadable=unreadable,
    )


def examine(candidate: Candidate, champion: Champion | None, *, name: str, num_resamples: int) -> Examined:
    """Compare the evaluated candidate with the champion, scored now on the same rows. name: to be registered under.

    Raises ModelError where the candidate, or what its weights come from, has learned from patients of the test split.
    """
    evaluated, source = candidate.evaluated, source_learned_from(candidate.run)
    not_known = expect_unseen(candidate.model, evaluated.scored.stored)
    assessments = [one for one in (evaluated.slices, evaluated.exams) if one is not None]
    versus, differences = _against_champion(candidate, champion, num_resamples)
    nulls = () if versus else _against_null_models(evaluated.scored, num_resamples)
    dicom = phantom_dicom()
    facts = Facts(
        candidate=candidate.shown,
        champion=None if champion is None else champion.shown,
        unreadable="" if champion is None else champion.unreadable,
        versus=versus,
        source=source,
        champion_source="" if champion is None else champion.source,
        misnamed=misnamed(name, source),
        unit=assessments[0].predictions.unit,
        digest=evaluated.scored.stored.digest,
        trained_digest=candidate.run.params.get("data.digest", "not recorded"),
        seen=not_known_of("candidate", not_known),
        macro_auc=assessments[0].values.get(f"auc/{MACRO}"),
        not_estimable=tuple(not_estimable(assessments)),
        over_null_models=nulls,
        calibration=tuple(calibration_lines(assessments)),
        latency_ms=latency_ms(candidate.model.classifier, dicom),
        size_mb=size_mb(candidate.model.uri),
        signature=_signature_fault(candidate, champion),
    )
    return Examined(facts=facts, differences=differences, dicom=dicom)


def _against_champion(
    candidate: Candidate, champion: Champion | None, num_resamples: int
) -> tuple[Versus | None, dict[str, pd.DataFrame]]:
    """The candidate beside the champion, None where there is none to score; and tables of differences by unit."""
    if champion is None or champion.model is None:
        return None, {}
    scored, rule = candidate.evaluated.scored, candidate.evaluated.rule
    print(f"scoring the champion {champion.shown}")
    theirs = score(champion.model.classifier, scored.stored, rule=rule)
    found: list[Difference] = []
    if scored.slices is not None and theirs.slices is not None:
        found.append(compare(scored.slices, theirs.slices, num_resamples=num_resamples))
    found.append(compare(scored.exams, theirs.exams, num_resamples=num_resamples))
    aucs = {one.unit: one.auc(ANY) for one in found}
    digests = [network_digest(one.classifier.folder) for one in (candidate.model, champion.model)]
    versus = Versus(
        auc=found[0].mean,
        labels=found[0].subtypes,
        any_auc={unit: auc for unit, auc in aucs.items() if auc is not None},
        exam_auc=found[-1].mean if len(found) > 1 else None,
        skill={name: skill for one in found for name, skill in one.skill.items()},
        seen=seen_by(champion.model, scored.stored, who="champion"),
        home=examine_home(candidate.model, champion.model, scored, rule=rule),
        same_networks=digests[0] == digests[1],
    )
    return versus, {one.unit: one.table for one in found}


def _against_null_models(scored: Scored, num_resamples: int) -> tuple[OverNullModel, ...]:
    """Any and the mean beside what doesn't look at the image, of slices and exams."""
    print("comparing with the null models, since there is no champion to compare with")
    found = []
    if scored.slices is not None:
        found += over_null_models(scored.slices, scored.null_models, num_resamples=num_resamples)
    found += over_null_models(scored.exams, scored.exam_null_models, num_resamples=num_resamples)
    return tuple(found)


def _signature_fault(candidate: Candidate, champion: Champion | None) -> str:
    """A champion that can't be read may still say what it takes and gives; one that is nowhere can't."""
    try:
        replaced = None if champion is None else f"models:/{champion.shown}"
        return signature_fault(candidate.model.uri, replaced)
    except ModelError:
        return signature_fault(candidate.model.uri, None)


@cache
def phantom_dicom() -> bytes:
    """A DICOM file to try a server with: a slice through the middle of a phantom head."""
    exam = make_exam(ExamOptions(seed=0, exam_rate=1.0), 0)
    middle = len(exam.hu) // 2
    identity = Identity(
        sop_uid=exam.sop_uids[middle],
        patient_id=exam.patient_id,
        study_uid=exam.study_uid,
        series_uid=exam.series_uid,
        position=exam.geometry.position(middle),
        orientation=exam.geometry.orientation,
        pixel_spacing_mm=(exam.geometry.pixel_mm, exam.geometry.pixel_mm),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"
        write_slice(path, exam.hu[middle], identity, Encoding())
        return path.read_bytes()
