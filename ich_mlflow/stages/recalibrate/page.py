"""recalibrate.html: what changed, before and after side by side, and what to know before believing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ich_mlflow import __version__
from ich_mlflow.commands import next_command
from ich_mlflow.evaluation.operating_point import FEW_PATIENTS
from ich_mlflow.evaluation.recalibration import PRIOR_INTERCEPT, PRIOR_PATIENTS, PRIOR_SLOPE
from ich_mlflow.labels import ANY
from ich_mlflow.parameters import text_of
from ich_mlflow.report.contents import Picture, Report, Section, Table
from ich_mlflow.sources.registry import SOURCES
from ich_mlflow.stages.common.scoring import say_not_known
from ich_mlflow.stages.common.stored_sets import describe
from ich_mlflow.stages.recalibrate.abstention import Abstaining, abstention_section
from ich_mlflow.stages.recalibrate.judged import Judged
from ich_mlflow.stages.recalibrate.local import NUM_FOLDS, LocalExams
from ich_mlflow.stages.recalibrate.options import RecalibrateOptions
from ich_mlflow.stages.recalibrate.words import answer, unit_table
from ich_mlflow.system.provenance import git_commit
from ich_mlflow.tracking.run import NOTICE

PAGE_FILE = "recalibrate.html"


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """What a recalibration found. short, uri: of the version before. rule: what the new one decides by.

    units: slices where slices are labelled, and exams. abstaining: when exams are uncertain.
    """

    run_id: str
    options: RecalibrateOptions
    local: LocalExams
    short: str
    uri: str
    not_known: tuple[str, ...]
    rule: str
    units: Mapping[str, Judged]
    abstaining: Abstaining

    @property
    def answers(self) -> list[str]:
        """What changed, of slices and then of exams."""
        return [answer(one, num_patients=self.local.num_patients) for one in self.units.values()]

    @property
    def left_out(self) -> list[str]:
        """Labels of too few patients, which stay as they are."""
        known = next(iter(self.units.values())).labels
        return [label for label in self.local.labels if label not in known]

    @property
    def notes(self) -> list[str]:
        """What belongs beside the numbers wherever they are said."""
        counts = self.local.counts
        stay = ", ".join(
            f"{one} ({counts[one].positive} with, {counts[one].negative} without)" for one in self.left_out
        )
        least = self.options.min_patients
        return [
            *(
                [f"fewer than {least} patients with or without the label, so these stay as they are: {stay}"]
                if stay
                else []
            ),
            *([say_not_known(self.not_known)] if self.not_known else []),
        ]


def page_of(found: Recalibration, pictures: Mapping[str, bytes], *, digest: str) -> Report:
    """The page. pictures: PNG by unit. digest: of the networks."""
    exams = found.units["exams"]
    return Report(
        title=f"{found.short}, recalibrated",
        subtitle=f"on {found.local.num_patients} patients of {describe(found.local.stored)}",
        notice=f"{NOTICE} Nothing here may decide about a patient.",
        answer=found.answers,
        headline=[
            (
                f"{title} of exams, any bleed",
                exams.said(metric, "after"),
                f"before {exams.said(metric, 'before')}",
            )
            for metric, title in (
                ("brier_skill", "Brier skill"),
                ("sensitivity", "Sensitivity"),
                ("specificity", "Specificity"),
            )
        ],
        sections=[
            *(_unit_section(one, pictures[name]) for name, one in found.units.items()),
            abstention_section(found.abstaining),
            _method_section(found),
            _chosen_section(found),
            _model_section(found, digest),
        ],
        command=_command(found),
        made_by=(
            f"ich_mlflow {__version__}, git commit {git_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; recalibrate "
            f"run {found.run_id}."
        ),
        limits=_limits(found),
    )


def _unit_section(one: Judged, picture: bytes) -> Section:
    name = one.unit.name
    return Section(
        anchor=name,
        title=f"Before and after: {name}",
        paragraphs=[
            f"{len(one.targets):,} {name} of {len(set(one.unit.patients)):,} patients. After: each patient is decided "
            "by what the others chose. Intervals are of 95 %, by resampling patients; differences are paired."
        ],
        tables=[unit_table(one)],
        pictures=[Picture(title=f"Calibration of {name}; crosses: before", png=picture)],
    )


def _method_section(found: Recalibration) -> Section:
    return Section(
        anchor="method",
        title="How it was chosen",
        paragraphs=[
            "Calibration: log odds become intercept + slope times log odds of what the version says (Cox, 1958). Both "
            f"have a prior that the version is right, intercept Normal(0, {PRIOR_INTERCEPT:g}) and slope Normal(1, "
            f"{PRIOR_SLOPE:g}), so that few patients move little (Steyerberg et al., 2004). All slices of a head count "
            "as one patient against the prior.",
            "Thresholds: chosen on the local exams by each rule. They then flag a share of the exams between what "
            f"that flags, with the weight n / (n + {PRIOR_PATIENTS}), n being patients of the rarer kind, and what the "
            "version flagged before. A rule that promises a sensitivity or a specificity keeps it on the local exams.",
            f"The patients are dealt into {NUM_FOLDS} folds; each is decided by what the others chose. The version "
            "itself has what all patients chose together.",
            "The networks, how slices become exams, and what a null model says stay as they are. So does the AUC of a "
            "label: the order of exams doesn't change.",
        ],
    )


def _chosen_section(found: Recalibration) -> Section:
    """What the new version has."""
    rows = []
    for name, one in found.units.items():
        before, after = (
            {point.label: point for point in chosen.operating_points[found.rule]}
            for chosen in (one.unit.chosen, one.chosen)
        )
        for label in one.labels:
            old, new = before[label].threshold, after[label].threshold
            patients = f"{after[label].positive_patients} with, {after[label].negative_patients} without"
            rows.append([name, label, f"{old:.3f}", f"{new:.3f}", patients])
    columns = ["unit", "label", "threshold before", "threshold now", "patients"]
    return Section(
        anchor="chosen",
        title="What the new version decides by",
        tables=[
            Table(
                title=f"Thresholds of {found.rule}, of calibrated probabilities", columns=columns, rows=rows
            )
        ],
    )


def _model_section(found: Recalibration, digest: str) -> Section:
    stored = found.local.stored
    return Section(
        anchor="model",
        title="Model and data",
        paragraphs=[
            f"Recalibrated from {found.uri}. The networks are the same, SHA-256 of their files {digest}.",
            f"Source {stored.manifest['source']}, stored set {stored.path.name}, digest {stored.digest}. Its patients "
            "are known to the new version: evaluate and promote refuse to test it on them.",
            *(f"Mind: {note}." for note in found.notes),
        ],
    )


def _limits(found: Recalibration) -> Sequence[str]:
    source = SOURCES.get(found.local.stored.manifest["source"])
    any_bleed = found.local.counts[ANY]
    return [
        *([source.caveat] if source and source.caveat else []),
        f"{any_bleed.positive} patients have a bleed and {any_bleed.negative} have none. Intervals say what chance in "
        "the choice of patients does.",
        *(
            [f"Fewer than {FEW_PATIENTS} patients with or without a bleed: figures are only examples."]
            if any_bleed.rarer < FEW_PATIENTS
            else []
        ),
        "Cross-fitting tells what this way of choosing gives here. It is no test of the new version: that needs "
        "patients who had no part in it.",
        "Local exams that were picked for their bleeds have another share of bleeds than those that will come. "
        "Probabilities are then too high there.",
    ]


def _command(found: Recalibration) -> str:
    """What makes the same again."""
    options = found.options
    return next_command(
        "recalibrate",
        model=found.uri,
        data=found.local.stored.path,
        test_split=text_of(options.test_split),
        min_patients=options.min_patients,
        operating_point=options.operating_point,
        resamples=options.resamples,
    )
