"""The report, the model card and the CLAIM checklist of an evaluation, filled from its run and the training run."""

from datetime import UTC, datetime

from ich_mlflow import __version__
from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import split_counts
from ich_mlflow.evaluation.assess import Assessment, null_model_column
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.metrics import MACRO, metric_named
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.models.registry import FAMILIES, SLICE_CNN
from ich_mlflow.models.slice_cnn.heads import HEADS
from ich_mlflow.report.contents import Picture, Report, Section, Table
from ich_mlflow.report.render import as_description, claim_checklist, model_card, report_html
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.evaluation import Evaluated, caveats_of
from ich_mlflow.stages.common.results import CARD_FILE, PREFIX, REPORT_FILE, operating_point_table
from ich_mlflow.stages.common.scoring import say_not_known
from ich_mlflow.stages.common.stored_sets import counts_frame, describe
from ich_mlflow.stages.evaluate import tables
from ich_mlflow.stages.evaluate.abstention import abstention_section
from ich_mlflow.stages.evaluate.answer import answers
from ich_mlflow.stages.evaluate.blood import blood_section
from ich_mlflow.stages.evaluate.model_card import card_of, is_own_data, limits_of, model_name
from ich_mlflow.stages.evaluate.two_parts import two_parts_section
from ich_mlflow.system.provenance import git_commit
from ich_mlflow.tracking.registry import describe_versions, run_artifact, run_parameters
from ich_mlflow.tracking.run import NOTICE, Run

#: Parameters of the training run that the report shows first.
_FIRST = (
    "hp.recipe", "hp.family", "hp.backbone", "hp.image_size", "hp.windows", "hp.context", "hp.head", "hp.loss",
    "hp.sampling", "hp.epochs", "hp.learning_rate", "hp.seed", "weights.start", "data.epidural_only_dropped",
)  # fmt: skip
_NAMED = {"weights.start": "initial weights", "data.epidural_only_dropped": "epidural-only slices left out"}


def log_report(run: Run, evaluated: Evaluated) -> None:
    """Log report.html, model_card.md and claim_checklist.md; the card becomes the model version's description."""
    model = run_parameters(evaluated.trained_run)
    limits = limits_of(evaluated, model)
    report = Report(
        title=f"Evaluation of {model_name(evaluated)}",
        subtitle=f"on the test split of {describe(evaluated.scored.stored)}; {evaluated.model_uri}",
        notice=f"{NOTICE} Nothing here may decide about a patient.",
        answer=answers(evaluated.slices, evaluated.exams, rule=evaluated.rule),
        headline=_headline(evaluated),
        sections=_sections(run, evaluated, model),
        command=_command(evaluated),
        made_by=(
            f"ich_mlflow {__version__}, git commit {git_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; "
            f"evaluate run {evaluated.run_id}, training run {evaluated.trained_run}."
        ),
        limits=limits,
    )
    run.text(report_html(report), REPORT_FILE)
    card = model_card(card_of(evaluated, model, limits))
    run.text(card, CARD_FILE)
    sections = [section.title for section in report.sections]
    checklist = claim_checklist(title=report.title, run_id=evaluated.run_id, sections=sections)
    run.text(checklist, "claim_checklist.md")
    if is_own_data(evaluated):
        describe_versions(evaluated.trained_run, as_description(card, run_id=evaluated.run_id))


def _headline(evaluated: Evaluated) -> list[tuple[str, str, str]]:
    found = []
    for assessment in (evaluated.slices, evaluated.exams):
        if assessment is None:
            continue
        unit = assessment.predictions.unit
        null = list(assessment.null_models)[-1]
        rows = assessment.table().set_index(["metric", "label"])
        for metric, label, of in (
            ("auc", ANY, "any bleed"),
            ("sensitivity", ANY, "any bleed"),
            ("specificity", ANY, "any bleed"),
            ("auc", MACRO, "mean of subtypes"),
            ("f1", MACRO, "mean of subtypes"),
        ):
            row = rows.loc[(metric, label)]
            found.append(
                (
                    f"{metric_named(metric).title} of {unit}, {of}",
                    with_interval(row["value"], row["low"], row["high"]),
                    f"{null} alone: {shown(row[null_model_column(null)])}",
                )
            )
    return found


def _sections(run: Run, evaluated: Evaluated, model: dict[str, str]) -> list[Section]:
    sections = [
        _data_section(evaluated),
        _model_section(run, evaluated, model),
        _validation_section(evaluated),
    ]
    for assessment in (evaluated.slices, evaluated.exams):
        if assessment is not None:
            sections.append(_results_section(run, evaluated, assessment))
    sections.append(abstention_section(evaluated.scored))
    if evaluated.two_parts is not None:
        sections.append(two_parts_section(evaluated.two_parts))
    for unit, table in evaluated.differences.items():
        sections.append(
            Section(
                anchor=f"baseline-{unit}",
                title=f"Against the baseline: {unit}",
                paragraphs=[f"The baseline is {evaluated.baseline_uri}."],
                tables=[tables.difference_table(table, unit=unit)],
                pictures=_pictures(run, f"{PREFIX}_{unit}_difference"),
            )
        )
    if len(evaluated.subgroups):
        sections.append(
            Section(
                anchor="subgroups",
                title="Subgroups",
                tables=[tables.subgroup_table(evaluated.subgroups)],
                pictures=_pictures(run, f"{PREFIX}_subgroups"),
            )
        )
    if evaluated.blood is not None:
        sections.append(blood_section(evaluated.blood, evaluated.scored.specification))
    looked = _pictures(run, f"{PREFIX}_heat_maps")
    if looked:
        sections.append(_looked_section(evaluated, looked))
    failures = [
        picture
        for kind in ("false_negatives", "false_positives")
        for picture in _pictures(run, f"{PREFIX}_{kind}")
    ]
    if failures:
        sections.append(
            Section(
                anchor="failures",
                title="Failures",
                paragraphs=[
                    "The slices that the model was surest about and wrong: false negatives with the lowest, "
                    "false positives "
                    "with the highest probability, in the brain window."
                ],
                pictures=failures,
            )
        )
    return sections


def _data_section(evaluated: Evaluated) -> Section:
    stored = evaluated.scored.stored
    manifest, table = stored.manifest, stored.table
    level = manifest.get("label_level", "slice")
    paragraphs = [
        f"Source {manifest['source']}: "
        f"{manifest.get('overlap', 'whether it overlaps other data sets is not recorded')}. Labels are of each "
        f"{level}. Stored set {stored.path.name}, digest {stored.digest}.",
        "Patients never cross splits; that was asserted when the set was made. Thresholds, calibration and early "
        "stopping went by the validation split; the test split was read only to evaluate.",
        "That no test patient was trained or validated on, by the model or by what its weights come from, was checked."
        if evaluated.unseen_checked
        else "Whether the model has learned from a test patient could not be checked: "
        f"{say_not_known(evaluated.not_known)}.",
        f"The model has learned from {evaluated.ancestry.said}.",
    ]
    paragraphs.append(
        f"This is {evaluated.look.said}. The more models are compared on the same patients, the more the best of "
        "them owes to chance."
    )
    if not is_own_data(evaluated):
        paragraphs.append(
            f"This is external data: the model was trained on {evaluated.scored.specification.trained_on}."
        )
    counts = split_counts(
        table["patient_id"].to_numpy(),
        stored.subtypes,
        table["split"].to_numpy(),
        study_uids=table["study_uid"].to_numpy(),
    )
    frame = counts_frame(counts).rename_axis("slices (patients)").reset_index()
    found = [tables.plain_table("Slices and patients by split", frame)]
    quarantine = manifest.get("quarantine", {})
    rows = [[reason, f"{count:,}"] for reason, count in quarantine.items()] or [["none", "0"]]
    found.append(Table(title="Files left out", columns=["reason", "files"], rows=rows))
    return Section(anchor="data", title="Data", paragraphs=paragraphs, tables=found)


def _model_section(run: Run, evaluated: Evaluated, model: dict[str, str]) -> Section:
    specification = evaluated.scored.specification
    rows = [
        ["labels of the network", ", ".join(specification.labels)],
        ["trained on", specification.trained_on],
    ]
    rows += [[_NAMED.get(name, name.split(".")[1]), model[name]] for name in _FIRST if name in model]
    others = [
        [name, value]
        for name, value in sorted(model.items())
        if name.split(".")[0] in ("hp", "train", "machine", "version") and name not in _FIRST
    ]
    curves = run_artifact(evaluated.trained_run, "figures/training_curves.png")
    return Section(
        anchor="model",
        title="Model",
        paragraphs=[_what_it_is(specification, model)],
        tables=[
            Table(title=f"Training run {evaluated.trained_run}", columns=["what", "value"], rows=rows),
            Table(
                title="All other settings, and versions",
                columns=["parameter", "value"],
                rows=others,
                folded=True,
            ),
        ],
        pictures=[Picture(title="Training curves", png=curves)] if curves else [],
    )


def _what_it_is(specification: Specification, model: dict[str, str]) -> str:
    family = specification.family
    if family != SLICE_CNN:
        return f"The model's family is {family}: {FAMILIES[family].text}."
    several = ""
    if specification.members > 1:
        several = (
            f"The model is the mean of {specification.members} networks, one for each fold of the patients "
            "outside the test split; calibration and thresholds were chosen on what each network says of the "
            "fold that it has not learned from. In each of them: "
        )
    return (
        f"{several}Hounsfield units are resampled and windowed inside the network: a backbone, global average pooling, "
        f"a dense layer with ReLU, dropout, and {HEADS[model.get('hp.head', 'flat')].said}."
    )


def _validation_section(evaluated: Evaluated) -> Section:
    specification = evaluated.scored.specification
    found = [
        tables.operating_points(operating_point_table(evaluated.scored, unit), unit=unit)
        for unit, predictions in ((SLICES, evaluated.scored.slices), (EXAMS, evaluated.scored.exams))
        if predictions is not None
    ]
    return Section(
        anchor="validation",
        title="Chosen on validation",
        paragraphs=[
            f"Calibration of slices: {_methods(specification.slices)}. The score of an exam is put together from "
            f"its slices' scores by {specification.aggregation}, series by series; calibration of exams: "
            f"{_methods(specification.exams)}. The model decides by {specification.decides_by}; decisions here go "
            f"by {evaluated.rule}.",
            *(f"Mind: {caveat}." for caveat in caveats_of(evaluated)),
        ],
        tables=found,
    )


def _methods(chosen: Chosen) -> str:
    return ", ".join(f"{one.label} {one.method}" for one in chosen.calibrations)


def _results_section(run: Run, evaluated: Evaluated, assessment: Assessment) -> Section:
    unit = assessment.predictions.unit
    num_patients = len(set(assessment.predictions.patients))
    names = (
        "auc", "roc", "precision_recall", "confusion", "cooccurrence", "reliability", "histograms",
    )  # fmt: skip
    return Section(
        anchor=f"results-{unit}",
        title=f"Results: {unit}",
        paragraphs=[
            f"{len(assessment.predictions.targets):,} {unit} of {num_patients:,} patients. Intervals are of 95 %, "
            f"by Student's t and {evaluated.num_resamples:,} resamples of the patients. Beside each figure, or in "
            "the last rows, stands what a null model scores, which doesn't look at the image and gives only how "
            "often the label was in training"
            + (", and how often at that height of the head." if unit == SLICES else ".")
        ],
        tables=[
            tables.ranking_table(assessment),
            tables.decision_table(assessment, rule=evaluated.rule),
            tables.probability_table(assessment),
            tables.joint_table(assessment),
        ],
        pictures=[picture for name in names for picture in _pictures(run, f"{PREFIX}_{unit}_{name}")],
    )


def _looked_section(evaluated: Evaluated, pictures: list[Picture]) -> Section:
    pointing = evaluated.pointing
    if pointing is None:
        said = (
            "There are no lesion masks for these slices, so the maps are for looking at: nothing says that they "
            "are right."
        )
        return Section(
            anchor="looked", title="Where the network looked", paragraphs=[said], pictures=pictures
        )
    said = (
        f"Maps have {pointing.map_size} x {pointing.map_size} places over the slice. A hit is a peak within "
        f"{pointing.tolerance} pixels (of 256) of the lesion by its mask, half a place; intervals are over patients."
    )
    return Section(
        anchor="looked",
        title="Where the network looked",
        paragraphs=[said],
        tables=[tables.pointing_table(pointing.table)],
        pictures=pictures,
    )


def _pictures(run: Run, name: str) -> list[Picture]:
    """The picture that was logged under that name, if it was."""
    png = run.pictures.get(f"figures/{name}.png")
    return [Picture(title=name.removeprefix(f"{PREFIX}_").replace("_", " "), png=png)] if png else []


def _command(evaluated: Evaluated) -> str:
    """What makes the same again."""
    told = {
        "model": evaluated.model_uri,
        "data": evaluated.scored.stored.path,
        "operating_point": evaluated.rule,
        "resamples": evaluated.num_resamples,
    }
    if evaluated.baseline_uri:
        told["baseline"] = evaluated.baseline_uri
    return next_command("evaluate", **told)
