"""compare.html: the answer in words, the pictures and tables, and what to know before believing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ich_mlflow import __version__
from ich_mlflow.commands import next_command
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.comparison import BASELINE, Lead
from ich_mlflow.evaluation.operating_point import FEW_PATIENTS
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Picture, Report, Section, Table
from ich_mlflow.sources.registry import SOURCES
from ich_mlflow.stages.common.scoring import say_not_known
from ich_mlflow.stages.common.stored_sets import describe
from ich_mlflow.stages.compare.contenders import Contender
from ich_mlflow.stages.compare.options import CompareOptions
from ich_mlflow.stages.compare.words import (
    SHOWN,
    answer,
    difference_text,
    glance_table,
    look_lines,
    metric_table,
    not_corrected,
)
from ich_mlflow.system.provenance import git_commit
from ich_mlflow.tracking.looks import Look
from ich_mlflow.tracking.registry import run_name
from ich_mlflow.tracking.run import NOTICE

PAGE_FILE = "compare.html"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found. baseline: name of the model that the others are compared with.

    left_out: by label, models that lack it. assessments, tables, leads: by unit; the first unit decides.
    """

    run_id: str
    options: CompareOptions
    stored: StoredSet
    contenders: tuple[Contender, ...]
    baseline: str
    left_out: Mapping[str, tuple[str, ...]]
    looks: Mapping[str, Look]
    assessments: Mapping[str, Mapping[str, Assessment]]
    tables: Mapping[str, pd.DataFrame]
    leads: Mapping[str, Lead | None]

    @property
    def names(self) -> list[str]:
        """The models' short names, in their order."""
        return [one.name for one in self.contenders]

    @property
    def unit(self) -> str:
        """Slices, or exams where labels are of exams alone."""
        return next(iter(self.tables))

    @property
    def lead(self) -> Lead | None:
        """Who is ahead in any bleed of that unit."""
        return self.leads[self.unit]

    @property
    def answers(self) -> list[str]:
        """Who is ahead, of slices and then of exams."""
        return [answer(one) for one in self.leads.values()]

    @property
    def notes(self) -> list[str]:
        """What belongs beside the numbers wherever they are said."""
        lost = [
            f"{label} is left out: {', '.join(models)} can't tell it"
            for label, models in self.left_out.items()
        ]
        not_known = dict.fromkeys(name for one in self.contenders for name in one.not_known)
        unknown = [say_not_known(tuple(not_known))] if not_known else []
        return [not_corrected(len(self.contenders), self.baseline), *lost, *unknown]


def page_of(found: Comparison, pictures: Mapping[str, bytes]) -> Report:
    """The page. pictures: PNG by unit."""
    stored = found.stored
    return Report(
        title=f"{' vs '.join(found.names)}",
        subtitle=f"on the test split of {describe(stored)}",
        notice=f"{NOTICE} Nothing here may decide about a patient.",
        answer=[*found.answers, found.notes[0]],
        headline=_headline(found),
        sections=[
            *(_unit_section(found, unit, pictures[unit]) for unit in found.tables),
            _models_section(found),
            _data_section(found),
        ],
        command=_command(found),
        made_by=(
            f"ich_mlflow {__version__}, git commit {git_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; compare run "
            f"{found.run_id}."
        ),
        limits=_limits(found),
    )


def _headline(found: Comparison) -> list[tuple[str, str, str]]:
    """Of each model the AUC of any bleed, beside the difference."""
    table = found.tables[found.unit]
    rows = table[(table["metric"] == "auc") & (table["label"] == ANY)].set_index("model")
    return [
        (
            f"{name}: AUC of {found.unit}, any bleed",
            with_interval(row["value"], row["low"], row["high"]),
            BASELINE if row["said"] == BASELINE else f"{difference_text(row)}, {row['said']}",
        )
        for name in found.names
        for row in [rows.loc[name]]
    ]


def _unit_section(found: Comparison, unit: str, picture: bytes) -> Section:
    assessment = found.assessments[unit][found.baseline]
    predictions, table = assessment.predictions, found.tables[unit]
    return Section(
        anchor=unit,
        title=f"Side by side: {unit}",
        paragraphs=[
            f"{len(predictions.targets):,} {unit} of {len(set(predictions.patients)):,} patients, the same for all "
            f"models. Intervals are of 95 %, by Student's t and {found.options.resamples:,} resamples of the patients; "
            "differences are paired: both models are resampled by the same draws."
        ],
        tables=[
            glance_table(table, found.names, unit=unit, baseline=found.baseline),
            # the picture shows the first of them whole
            *(metric_table(table, metric, unit=unit, baseline=found.baseline) for metric in SHOWN),
        ],
        pictures=[Picture(title=f"AUC of {unit}, models side by side", png=picture)],
    )


def _models_section(found: Comparison) -> Section:
    rows = [
        [
            one.name,
            one.uri,
            run_name(one.trained_run) or one.trained_run,
            ", ".join(one.specification.labels),
            one.specification.trained_on
            + ("; this set" if one.specification.data_digest == found.stored.digest else ""),
            one.rule,
            found.looks[one.name].said,
        ]
        for one in found.contenders
    ]
    columns = ["model", "version", "training run", "labels", "trained on", "decides by", "look"]
    return Section(
        anchor="models", title="Models", tables=[Table(title="Who was compared", columns=columns, rows=rows)]
    )


def _data_section(found: Comparison) -> Section:
    stored, unknown = found.stored, any(one.not_known for one in found.contenders)
    source, overlap = (
        stored.manifest["source"],
        stored.manifest.get("overlap", "whether it overlaps other data sets is not recorded"),
    )
    return Section(
        anchor="data",
        title="Data",
        paragraphs=[
            f"Source {source}: {overlap}. Stored set {stored.path.name}, digest {stored.digest}.",
            "Whether a model has learned from a test patient could not be checked for all of them."
            if unknown
            else "That no test patient was trained or validated on, by any of the models or by what their weights come "
            "from, was checked.",
            *(f"Mind: {text}." for text in found.notes[1:]),
            *(f"{line}." for line in look_lines(found.looks)),
        ],
    )


def _limits(found: Comparison) -> Sequence[str]:
    source = SOURCES.get(found.stored.manifest["source"])
    counted = found.assessments[found.unit][found.baseline].metrics.per_label
    few = [
        f"{one.label} ({one.num_positive_patients})"
        for one in counted
        if one.is_estimable and (one.num_positive_patients or 0) < FEW_PATIENTS
    ]
    caveats = [
        f"{one.name}: {caveat}."
        for one in found.contenders
        for unit, chosen in (("slices", one.specification.slices), ("exams", one.specification.exams))
        if unit in found.tables
        for caveat in chosen.caveats(one.rule, unit=unit)
    ]
    return [
        *([source.caveat] if source and source.caveat else []),
        not_corrected(len(found.contenders), found.baseline),
        "The more models are compared on the same patients, the more the best of them owes to chance: one that is "
        "chosen here has to be measured on other patients.",
        *(
            [
                f"Fewer than {FEW_PATIENTS} positive patients: {', '.join(few)}. Such figures are only examples."
            ]
            if few
            else []
        ),
        "Means are over the labels that all models have. Any bleed is of all five subtypes, for every model.",
        "Sensitivity and specificity go by each model's own thresholds: one may be higher where the other is lower.",
        "A model that learned from this source has an advantage over one that learned elsewhere.",
        "Intervals say how much chance in the choice of test patients matters, not what another training would give.",
        *caveats,
    ]


def _command(found: Comparison) -> str:
    """What makes the same again."""
    baseline = next(one for one in found.contenders if one.name == found.baseline)
    told = {
        "models": ",".join(one.uri for one in found.contenders),
        "baseline": baseline.uri,
        "data": found.stored.path,
        "operating_point": found.options.operating_point,
        "resamples": found.options.resamples,
    }
    return next_command("compare", **told)
