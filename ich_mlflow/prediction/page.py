"""The page of a prediction: results to what report/worklist.py sets. Pure but for the pictures it is given."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ich_mlflow.evaluation.abstention import percent
from ich_mlflow.intake.plan import Study
from ich_mlflow.intake.survey import StudyWithoutCT
from ich_mlflow.labels import ANY
from ich_mlflow.prediction.verdict import FLAGGED, NOT_FLAGGED, REVIEW, UNCERTAIN, StudyResult
from ich_mlflow.report.contents import Table
from ich_mlflow.report.worklist import Shown, StudySection, WorklistPage, WorklistRow
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.response import ModelVersion
from ich_mlflow.system.counting import counted

#: So many flagged studies have their pictures on the page, about 0.2 MB each; all are in the tables and in DICOM.
MAX_SECTIONS = 100
#: Rows of a table on the page; the CSV has all.
_MAX_ROWS = 500
_LIMITS = (
    "A probability is what the network says, calibrated on the data it was validated on. On data of another hospital "
    "it may be off.",
    "Not flagged does not mean no bleed: every model misses some, and small ones most of all.",
    "What a series shows is judged by its headers and by how much air the body has inside. An abdomen whose "
    "headers don't name it can be taken for a head.",
)
_OF_HEAT_MAPS = (
    "A heat map shows where the network found what speaks for a label, scaled to its own maximum: not how much, and "
    "not the outline of a bleed.",
)
_OF_LESION_MAPS = (
    "A coloured map shows the share of each place that the network takes for blood of a label. It is no outline that a "
    "person has drawn.",
)
_NOTE = (
    "Flagged studies come first, in the order of their probability of any bleed, which has its own "
    "threshold. Findings are the subtypes that reach their own thresholds; one can do so where any bleed "
    "does not reach its. Studies that could not be scored, or whose result is not to be relied on, come "
    "before those that were not flagged: nobody knows what is in them."
)


def worklist_page(
    results: Sequence[StudyResult],
    pictures: Mapping[int, Sequence[Shown]],
    skipped: Counter[str],
    *,
    specification: Specification,
    version: ModelVersion,
    operating_point: str,
    notice: str,
    caveats: Sequence[str],
    made_by: str,
    has_heat_maps: bool,
    measures_blood: bool = False,
    abstains: bool = True,
    without_ct: Sequence[StudyWithoutCT] = (),
) -> WorklistPage:
    """The page. results: in the worklist's order. pictures: of each study by its number.

    has_heat_maps: whether the pictures do, as those of some model families don't. measures_blood: whether the model
    has a lesion map, which takes the place of the heat map and gives millilitres. abstains: whether an exam may be
    uncertain, where the model version can tell. without_ct: studies that there is nothing to score of.
    """
    shown = [one for one in results if pictures.get(one.study.number)][:MAX_SECTIONS]
    anchors = {one.study.number: f"study-{one.study.number}" for one in shown}
    counts = Counter(one.status for one in results)
    num_slices = sum(len(one.slices) for one in results)
    return WorklistPage(
        title="Worklist: intracranial haemorrhage on head CT",
        subtitle=f"{version.name} version {version.version}, decisions by {operating_point}",
        notice=notice,
        headline=[
            ("Flagged", str(counts[FLAGGED]), f"of {counted(len(results), 'study', 'studies')}"),
            ("Uncertain", str(counts[UNCERTAIN]), _of_uncertain(specification, abstains)),
            ("For review", str(counts[REVIEW]), "not scored, or not to be relied on"),
            ("Not flagged", str(counts[NOT_FLAGGED]), "any bleed is below its threshold"),
            ("Slices scored", f"{num_slices:,}", f"{counted(sum(skipped.values()), 'file')} left out"),
        ],
        rows=[_row(rank, one, anchors, measures_blood) for rank, one in enumerate(results, start=1)],
        note=_NOTE,
        caveats=caveats,
        sections=[
            _section(one, anchors, pictures[one.study.number], specification, operating_point, measures_blood)
            for one in shown
        ],
        tables=[
            *([_without_ct_table(without_ct)] if without_ct else []),
            _series_table([one.study for one in results]),
            _skipped_table(skipped),
        ],
        limits=_LIMITS
        + _of_abstention(specification, abstains)
        + _of_maps(specification, has_heat_maps, measures_blood),
        made_by=made_by,
        says_blood=measures_blood,
    )


def _of_uncertain(specification: Specification, abstains: bool) -> str:
    """What the number of uncertain exams is of, in a few words."""
    rule = specification.abstention
    if not abstains or rule is None or not rule.can:
        return "not asked for" if not abstains else "this model can't tell"
    return "a bleed can't be excluded, or unlike training"


def _of_abstention(specification: Specification, abstains: bool) -> tuple[str, ...]:
    """What not flagged promises beside uncertain, where the model can tell."""
    rule = specification.abstention
    if not abstains or rule is None or rule.clear_below is None:
        return ()
    return (
        f"Of exams with a bleed about {percent(rule.alpha)} at most are neither flagged nor uncertain, on "
        f"average, if they are like those of the {rule.bleeding_patients} patients with a bleed on whom that rule "
        "was chosen. On exams of another hospital nothing is promised, unless recalibrate has had enough of them.",
    )


def _of_maps(specification: Specification, has_heat_maps: bool, measures_blood: bool) -> tuple[str, ...]:
    if measures_blood:
        return (*_OF_LESION_MAPS, of_blood(specification))
    return _OF_HEAT_MAPS if has_heat_maps else ()


def of_blood(specification: Specification) -> str:
    """What is to be known of the millilitres of a model with a lesion map."""
    chosen = specification.blood_threshold
    by = (
        "one half, since validation had no masks to choose it by"
        if chosen is None
        else f"{chosen:.2f}, chosen on masks of {counted(specification.blood_patients, 'validation patient')}"
    )
    return (
        "Millilitres are an estimate of a research model: the pixels whose share of blood on its map reaches "
        f"{by}, times their area and the distance of slices. Where there are masks, evaluate reports their error. "
        "Where the size of pixels or the positions of slices are not known, nothing is measured. Nobody may "
        "decide by them."
    )


def _blood_text(result: StudyResult, label: str) -> str:
    if not result.said:
        return ""
    measured = result.blood_ml.get(label)
    return "not measured" if measured is None else f"{measured:.1f}"


def _row(rank: int, result: StudyResult, anchors: Mapping[int, str], measures_blood: bool) -> WorklistRow:
    return WorklistRow(
        rank=rank,
        status=result.status,
        study=study_name(result.study),
        probability=f"{result.probability:.2f}" if result.said else "",
        findings=", ".join(result.positive),
        remarks="; ".join(result.reasons),
        anchor=anchors.get(result.study.number, ""),
        blood=_blood_text(result, ANY) if measures_blood else "",
    )


def study_name(study: Study) -> str:
    """What a study is called on the page: its patient's id and date, or else its UID."""
    return " ".join(part for part in (study.patient_id or study.study_uid, study.study_date) if part)


def _section(
    result: StudyResult,
    anchors: Mapping[int, str],
    pictures: Sequence[Shown],
    specification: Specification,
    operating_point: str,
    measures_blood: bool,
) -> StudySection:
    study = result.study
    labels = specification.findings
    thresholds = specification.exams.thresholds(operating_point)
    rows = [
        [
            label,
            f"{result.said[f'probability_{label}']:.2f}",
            f"{threshold:.2f}",
            "positive" if result.said[f"decision_{label}"] else "",
            *([_blood_text(result, label)] if measures_blood else []),
        ]
        for label, threshold in zip(labels, thresholds, strict=True)
    ]
    columns = ["Label", "Probability", "Threshold", "Decision"]
    if measures_blood:
        columns.append("Blood, mL")
    facts = [
        ("Patient", study.patient_id),
        ("Study", study.study_uid),
        *(("Series", _series_text(series.description, len(series.files))) for series in study.series),
    ]
    return StudySection(
        anchor=anchors[study.number],
        title=study_name(study),
        facts=[(name, value) for name, value in facts if value],
        labels=Table(title="Exam", columns=columns, rows=rows),
        pictures=pictures,
    )


def _series_text(description: str, num_slices: int) -> str:
    return f"{description or 'no description'}, {counted(num_slices, 'slice')}"


def _series_table(studies: Sequence[Study]) -> Table:
    rows = [
        [
            study_name(study),
            str(row.number or ""),
            row.description,
            str(row.num_slices),
            "" if pd.isna(row.step_mm) else f"{row.step_mm:g}",
            "scored" if row.chosen else "",
            row.why,
        ]
        for study in studies
        for row in study.rows
    ]
    more = len(rows) - _MAX_ROWS
    return Table(
        title=f"Series: {sum(bool(row[5]) for row in rows)} of {len(rows)} scored",
        columns=["Study", "Series", "Description", "Slices", "Step, mm", "", "Why"],
        rows=rows[:_MAX_ROWS],
        note=f"{more} more are in series.csv." if more > 0 else "",
        folded=True,
    )


def _without_ct_table(studies: Sequence[StudyWithoutCT]) -> Table:
    rows = [
        [one.patient_id, one.study_uid, ", ".join(one.modalities), str(one.num_files)]
        for one in studies[:_MAX_ROWS]
    ]
    return Table(
        title=f"Not scored, since there is no CT image: {counted(len(studies), 'study', 'studies')}",
        columns=["Patient", "Study", "Modality", "Files"],
        rows=rows,
        note="skipped.csv names their files.",
    )


def _skipped_table(skipped: Counter[str]) -> Table:
    return Table(
        title=f"Files left out: {sum(skipped.values()):,}",
        columns=["Reason", "Files"],
        rows=[[reason.replace("_", " "), str(count)] for reason, count in skipped.most_common()],
        note="skipped.csv names them.",
        folded=True,
    )
