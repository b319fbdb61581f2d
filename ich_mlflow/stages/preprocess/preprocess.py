"""Any source -> the stored set, logged as an MLflow dataset with its digest and label counts."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.build import BuildOptions, build_stored_set, quarantine_list
from ich_mlflow.dataset.drawn import DrawnSource
from ich_mlflow.dataset.plan import partial_folder
from ich_mlflow.dataset.quarantine import QUARANTINE
from ich_mlflow.dataset.split import FOLD, assert_disjoint, split_counts
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import QuarantineError
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.figures.counts import split_counts_figure
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.sources.base import NO_FILE, NO_LABEL, Source
from ich_mlflow.sources.folder import is_url
from ich_mlflow.sources.registry import DRAWN, OWN_TABLE, open_source
from ich_mlflow.stages.common.stored_sets import (
    DATA_FOLDER,
    counts_text,
    data_note,
    describe,
    preview_rows,
    previewed_split,
)
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.pairs import pairs_figure, present_text
from ich_mlflow.tracking.run import Run, start_run

_OF_DRAWN = ("synthesis", "copies", "sham_share")
#: Options that don't change what is in the set.
_HOW_IT_IS_MADE = ("out", "workers", "engine", "spark_master", "strict", "quarantine_limit")


def preprocess(options: PreprocessOptions, *, nested: bool = False) -> StoredSet:
    """Make the stored set, go on with an unfinished one, or find the one made before.

    A file that can't be used goes on the quarantine list, which is logged whether or not the run succeeds.
    """
    with start_run("preprocess", nested=nested) as run:
        run.params(typed(options), prefix="preprocess")
        out = stored_set_folder(options)
        source = open_source(options.source, source_folder(options), **_source_options(options))
        try:
            stored = build_stored_set(source, out, build_options(options), progress=True, say=print)
        except KeyboardInterrupt:
            print(f"stopped; the same command goes on from {partial_folder(out)}")
            raise
        except QuarantineError:
            _log_quarantine(run, out)
            raise
        _log_quarantine(run, out)
        patients, splits = stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy()
        assert_disjoint(patients, splits)
        studies = stored.table["study_uid"].to_numpy()
        counts = split_counts(patients, stored.subtypes, splits, study_uids=studies)
        _log(run, stored, counts)
        run.call(options.source, f"{len(stored.table):,} slices", f"{len(set(patients)):,} patients")
        if isinstance(source, DrawnSource):
            run.figure(pairs_figure(stored, source), "figures/drawn.png")
        run.describe(
            f"**Stored set**: {stored.path} ({describe(stored)})",
            f"**Next**: `{next_command('train', data=stored.path)}`",
        )
        _log_series(run, source)
        run.metrics({f"source/{name}": count for name, count in source.audit().items()})
        print(f"stored set {'reused' if stored.reused else 'made'}: {stored.path} ({describe(stored)})")
        _say_quarantine(stored)
        if source.label_level == "study":
            _say_unmatched(source)
        print(counts_text(counts))
        if not nested:
            print(f"Train on it:          {next_command('train', data=stored.path)}")
        return stored


def build_options(options: PreprocessOptions) -> BuildOptions:
    """The part of the options that building a stored set takes."""
    return BuildOptions(
        seed=options.seed,
        fractions=options.fractions,
        folds=options.folds,
        external=options.external,
        training_only=options.source == DRAWN,
        compress=options.compress,
        quarantine_limit=options.quarantine_limit,
        strict=options.strict,
        workers=options.workers or None,
        engine=options.engine,
        spark_master=options.spark_master,
    )


def _source_options(options: PreprocessOptions) -> dict[str, Any]:
    """What the source is made with beside its folder."""
    if options.source == OWN_TABLE:
        return {"columns": options.columns}
    if options.source != DRAWN:
        return {}
    return {
        "subtypes": options.drawn_subtypes,
        "copies": options.copies,
        "sham_share": float(options.sham_share),
        "seed": options.seed,
    }


def source_folder(options: PreprocessOptions) -> Path | str:
    """The folder of the source's files; for a phantom source without one, a cohort that is made once."""
    if options.data != AUTO:
        return options.data
    options.expect_ready()
    from ich_mlflow.phantom.cohort import CohortOptions, cohort_settings, write_cohort

    cohort = CohortOptions(
        exams=options.exams,
        seed=options.seed,
        exam_rate=options.bleeds if options.bleeds > 0 else None,
        quirks=options.quirks,
        edition=options.phantom_edition,
    )
    folder = DATA_FOLDER / f"phantom-{options.exams}-exams-{_digest(cohort_settings(cohort))}"
    return write_cohort(folder, cohort, workers=options.workers or None, progress=True)


def stored_set_folder(options: PreprocessOptions) -> Path:
    """Where the stored set goes: `out`, or a folder under data/ of its own for every setting."""
    if options.out != AUTO:
        return Path(options.out)
    setting = {name: value for name, value in typed(options).items() if name not in _HOW_IT_IS_MADE}
    # Sets made before there were such options keep their folder.
    if not options.external:
        del setting["external"]
    if options.phantom_edition == 1:
        del setting["phantom_edition"]
    if options.columns == AUTO:
        del setting["columns"]
    if options.source != DRAWN:
        setting = {name: value for name, value in setting.items() if name not in _OF_DRAWN}
    if options.data != AUTO and not is_url(options.data):
        setting["data"] = str(Path(options.data).resolve())
    return DATA_FOLDER / f"set-{options.source}-{_digest(setting)}"


def _log(run: Run, stored: StoredSet, counts: pd.DataFrame) -> None:
    run.dataset(
        stored.table, source=stored.path, name=stored.manifest["source"], digest=stored.digest, context="all"
    )
    run.params({"path": stored.path.resolve(), "digest": stored.digest}, prefix="stored_set")
    run.dictionary(stored.manifest, "manifest.json")
    run.table(counts.rename_axis("split").reset_index(), "split_counts.json")
    folds = _fold_counts(stored)
    if len(folds):
        run.table(folds.rename_axis("fold").reset_index(), "fold_counts.json")
    run.figure(split_counts_figure(counts, note=data_note(stored)), "figures/split_counts.png")
    rows = preview_rows(stored)
    sheet = contact_sheet(
        stored.hu(np.array(rows)),
        [present_text(stored, row) for row in rows],
        title=f"Slices of the {previewed_split(stored)} split",
        note=data_note(stored),
    )
    run.figure(sheet, "figures/slices.png")
    run.metrics({f"counts/{split}/slices": len(stored.rows(split)) for split in counts.index})


def _fold_counts(stored: StoredSet) -> pd.DataFrame:
    """Counts as split_counts by fold; no rows where there are no folds."""
    table = stored.table
    return split_counts(
        table["patient_id"].to_numpy(),
        stored.subtypes,
        table[FOLD].to_numpy().astype(str),
        study_uids=table["study_uid"].to_numpy(),
        names=[str(number) for number in range(int(table[FOLD].max()) + 1)],
    )


def _log_quarantine(run: Run, out: Path) -> None:
    path = quarantine_list(out)
    if path is not None:
        run.file(path)
        reasons = pd.read_csv(path, keep_default_na=False)["reason"].value_counts()
        run.metrics({f"quarantine/{reason}": int(count) for reason, count in reasons.items()})


def _log_series(run: Run, source: Source) -> None:
    """Of a source with several series a study, which were taken and why: a table, and a line in the terminal."""
    series = source.chosen_series()
    if not series:
        return
    run.table(pd.DataFrame([asdict(one) for one in series]), "series_choice.json")
    chosen, studies = sum(one.chosen for one in series), len({one.study for one in series})
    print(
        f"series chosen: {chosen:,} of {len(series):,}, one for each of {studies:,} studies"
        + (f" except {studies - chosen:,} without a suitable one" if chosen < studies else "")
        + " (series_choice.json on the run says why)"
    )


def _say_quarantine(stored: StoredSet) -> None:
    counts = stored.manifest["quarantine"]
    if counts:
        said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
        print(f"left out {sum(counts.values()):,} files: {said} (see {stored.path / QUARANTINE})")


def _say_unmatched(source: Source) -> None:
    """Which studies have labels and no files, or the reverse: a typing error in a table looks just like it."""
    for reason, said in ((NO_FILE, "have labels and no files"), (NO_LABEL, "have files and no labels")):
        names = [one.file for one in source.rejected() if one.reason == reason]
        if names:
            print(f"note: {len(names):,} studies {said}, the first {names[0]}: they are left out")


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
