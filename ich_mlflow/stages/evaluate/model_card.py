"""The model card of an evaluation, and what a reader must know before believing a figure."""

from ich_mlflow import __version__
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.metric import DECISION
from ich_mlflow.evaluation.metrics import MACRO, of_group
from ich_mlflow.evaluation.operating_point import FEW_PATIENTS
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY, scheme_of_labels
from ich_mlflow.models.registry import FAMILIES, SLICE_CNN
from ich_mlflow.report.contents import Card, Table
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.sources.registry import SOURCES
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.names import registered_name
from ich_mlflow.stages.common.scoring import say_not_known
from ich_mlflow.stages.common.stored_sets import describe
from ich_mlflow.stages.evaluate.abstention import abstention_table, called_of
from ich_mlflow.stages.evaluate.answer import answers
from ich_mlflow.stages.evaluate.blood import blood_table_of
from ich_mlflow.stages.evaluate.two_parts import two_parts_table
from ich_mlflow.tracking.run import NOTICE


def card_of(evaluated: Evaluated, model: dict[str, str], limits: list[str]) -> Card:
    scored = evaluated.scored
    specification, manifest = scored.specification, scored.stored.manifest
    assessment = evaluated.slices or evaluated.exams
    exams = evaluated.exams.table().set_index(["metric", "label"])
    table = assessment.table().set_index(["metric", "label"])
    decisions = [metric for metric in of_group(DECISION) if metric.compared]
    rows = []
    for label in (ANY, *_subtypes(specification.findings), MACRO):
        cells = [with_interval(*table.loc[("auc", label)][["value", "low", "high"]])]
        cells += [shown(table.loc[(metric.name, label)]["value"]) for metric in decisions]
        cells.append(with_interval(*exams.loc[("auc", label)][["value", "low", "high"]]))
        rows.append([label, *cells])
    unit = assessment.predictions.unit
    points = [
        row
        for of, chosen in ((SLICES, specification.slices), (EXAMS, specification.exams))
        for row in _point_rows(of, chosen, specification.decides_by)
    ]
    source = model.get("data.source", "")
    external = "" if is_own_data(evaluated) else " This is external data."
    said = answers(evaluated.slices, evaluated.exams, rule=evaluated.rule)
    return Card(
        name=f"{registered_name(len(specification.labels), source)}: {model_name(evaluated)}",
        notice=NOTICE,
        summary=(
            f"Takes a slice of non-contrast head CT and gives a probability and a decision for "
            f"{', '.join(specification.findings)}."
        ),
        # Of any bleed over exams; the tables below have the rest, and a description has room for 5,000 characters.
        answer=said[:1],
        details=[
            *_network_rows(specification, model),
            ("recipe", specification.recipe),
            ("initial weights", specification.weights),
            ("trained on", specification.trained_on),
            ("has learned from", evaluated.ancestry.said),
            ("training run", evaluated.trained_run),
            ("code", f"ich_mlflow {__version__}"),
        ],
        data=[
            f"Evaluated on the test split of {describe(scored.stored)}: "
            f"{manifest.get('overlap', 'overlap not recorded')}.{external}",
            f"{len(scored.rows):,} slices, {len(scored.exams.targets):,} exams, "
            f"{len(set(scored.exams.patients)):,} patients, none of them trained or validated on"
            + (
                ", by the model or by what its weights come from."
                if evaluated.unseen_checked
                else f", as far as is known: {say_not_known(evaluated.not_known)}."
            ),
        ],
        metrics=Table(
            title="Metrics",
            columns=["label", f"AUC ({unit})", *(metric.title for metric in decisions), "AUC (exams)"],
            rows=rows,
            note=(
                f"95 % intervals by {evaluated.num_resamples:,} resamples of the patients; decisions by "
                f"{evaluated.rule}."
            ),
        ),
        operating_points=Table(
            title=f"Operating points: {specification.decides_by}",
            columns=["of", "label", "calibration", "threshold", "patients", "sensitivity", "specificity"],
            rows=points,
            note=f"Chosen on validation; patients: with / without the label (few: fewer than {FEW_PATIENTS}, so "
            "that the threshold is a guess). Exact 95 % intervals, as if each patient counted once. "
            "Probabilities by `shrunk` are shrunk towards the prevalence. Other rules: serving.json.",
        ),
        subgroups=_subgroup_lines(evaluated),
        caveats=limits,
        run_id=evaluated.run_id,
        more=[
            *(abstention_table(*found) for found in [called_of(scored)] if found is not None),
            *([] if evaluated.two_parts is None else [two_parts_table(evaluated.two_parts)]),
            *([] if evaluated.blood is None else [blood_table_of(evaluated.blood)]),
        ],
    )


def _network_rows(specification: Specification, model: dict[str, str]) -> list[tuple[str, str]]:
    """What the network is: of the slice CNN its backbone and input, of another family its name and what that means."""
    family = specification.family
    if family != SLICE_CNN:
        return [("family", f"{family}, {FAMILIES[family].text}")]
    several = [("networks", f"the mean of {specification.members}, one for each fold")]
    return [
        *(several if specification.members > 1 else []),
        ("backbone", model.get("hp.backbone", "not recorded")),
        ("input", f"{model.get('hp.image_size', '?')} pixels, windows {model.get('hp.windows', '?')}"),
    ]


def _subtypes(findings: tuple[str, ...]) -> list[str]:
    return [finding for finding in findings if finding != ANY]


def _point_rows(unit: str, chosen: Chosen, rule: str) -> list[list[str]]:
    return [
        [
            unit,
            point.label,
            calibration.method,
            f"{point.threshold:.3f}",
            f"{point.positive_patients} / {point.negative_patients}{' (few)' if point.is_from_few else ''}",
            with_interval(point.sensitivity, point.sensitivity_low, point.sensitivity_high),
            shown(point.specificity),
        ]
        for point, calibration in zip(chosen.operating_points[rule], chosen.calibrations, strict=True)
    ]


def _subgroup_lines(evaluated: Evaluated) -> list[str]:
    """Each grouping in a line: the range of AUC over its groups, label by label worst first."""
    lines = []
    if len(evaluated.subgroups):
        for name, group in evaluated.subgroups.groupby("grouping", sort=False):
            means = group.groupby("group")["auc"].mean()
            said = ", ".join(f"{text} {value:.2f}" for text, value in means.items())
            lines.append(f"mean AUC by {name}: {said}")
    return lines or ["none could be formed"]


def limits_of(evaluated: Evaluated, model: dict[str, str]) -> list[str]:
    """What a reader must know before believing a figure."""
    source = SOURCES.get(evaluated.scored.stored.manifest["source"])
    assessment = evaluated.slices or evaluated.exams
    found = [source.caveat] if source and source.caveat else []
    if model.get("weights.start") == "random":
        found.append(
            "The backbone started at random, without pretraining: this is far below what the method can do."
        )
    few = [
        f"{one.label} ({one.num_positive_patients})"
        for one in assessment.metrics.per_label
        if one.is_estimable and (one.num_positive_patients or 0) < FEW_PATIENTS
    ]
    if few:
        found.append(
            f"Fewer than {FEW_PATIENTS} positive patients: {', '.join(few)}. Such figures are only examples: "
            "their intervals are wide, and true only if other patients are like these."
        )
    found += [*_not_estimable(evaluated), *_unrepresented(evaluated)]
    if is_own_data(evaluated):
        found.append(
            "Training and test come from one source: scanners and hospitals elsewhere differ, and figures "
            "there will be lower."
        )
    found += [
        "Intervals show how much chance in the choice of test patients matters, not what another training would give.",
        "No adjustment is made for the number of labels, metrics and subgroups that are looked at.",
        "Sensitivity and specificity on validation are too favourable, since thresholds were chosen there.",
        "Exams hold every series of a study in the set; labels say nothing of age, size or danger of a bleed.",
    ]
    return found


def _not_estimable(evaluated: Evaluated) -> list[str]:
    """Of slices and of exams, the labels without a figure: all exams may have what only some slices show."""
    found = []
    for assessment in (evaluated.slices, evaluated.exams):
        if assessment is None:
            continue
        unknown = [one.label for one in assessment.metrics.per_label if not one.is_estimable]
        if unknown:
            found.append(
                f"Not estimable, for lack of positive or negative {assessment.predictions.unit}: "
                f"{', '.join(unknown)}."
            )
    return found


def _unrepresented(evaluated: Evaluated) -> list[str]:
    """How many slices, or exams where labels are of those, show only bleeds that the model has no label for."""
    scored = evaluated.scored
    shows = scheme_of_labels(scored.specification.labels).unrepresented(scored.stored.subtypes[scored.rows])
    count, unit = int(shows.sum()), SLICES
    if evaluated.slices is None:  # each slice carries its exam's labels
        count, unit = scored.stored.table["study_uid"].iloc[scored.rows[shows]].nunique(), EXAMS
    if not count:
        return []
    return [
        f"{count:,} {unit} show only bleeds that this model has no label for; they count as negatives "
        "of every label, and as positives of any."
    ]


def is_own_data(evaluated: Evaluated) -> bool:
    """Whether the test split is that of the set trained on: the card of a version is of its own test, not of any."""
    return evaluated.scored.specification.data_digest == evaluated.scored.stored.digest


def model_name(evaluated: Evaluated) -> str:
    labels = evaluated.scored.specification.labels
    return f"a {len(labels)}-class classifier of intracranial haemorrhage"
