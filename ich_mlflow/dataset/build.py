"""Building a stored set from a source: pre-flight, shards on some engine, quarantine, split."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.dataset.codec import codec_named
from ich_mlflow.dataset.engine_local import run_local
from ich_mlflow.dataset.finish import SplitOptions, finish, tidy
from ich_mlflow.dataset.plan import Plan, claimed, fingerprint, make_plan, partial_folder, resume
from ich_mlflow.dataset.preflight import preflight
from ich_mlflow.dataset.quarantine import QUARANTINE, Quarantine
from ich_mlflow.dataset.shard import ShardWork, quarantined, read_journal
from ich_mlflow.dataset.split import DEFAULT_FRACTIONS, check_fractions
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.errors import DataError, OptionError, QuarantineError, SliceError
from ich_mlflow.sources.base import UNMATCHED, Source
from ich_mlflow.sources.folder import is_url
from ich_mlflow.system.processes import num_cores

LOCAL, SPARK = "local", "spark"
#: Files whose pixels are compared before a finished set is taken for theirs.
_COMPARED = 16
#: Options that came later, as sets were made before: those stay usable.
_BEFORE = {"external": False}


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a stored set is made.

    seed, fractions, folds  of the split by patient; folds 0: none
    external                every patient is in the test split, whatever the fractions; takes no folds
    training_only           every patient is in the training split; takes no folds
    compress                Zstandard instead of plain .npy shards
    quarantine_limit        share of the slices that may be unusable, 0 to 1
    strict                  refuse the first file that can't be used
    workers                 processes of the local engine; None: one a core; 1: this process
    engine, spark_master    local, or spark and its master URL
    """

    seed: int
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
    folds: int = 0
    external: bool = False
    training_only: bool = False
    compress: bool = False
    quarantine_limit: float = 0.01
    strict: bool = False
    workers: int | None = None
    engine: str = LOCAL
    spark_master: str = "local[*]"

    def __post_init__(self) -> None:
        if self.external and self.folds:
            raise OptionError(
                f"folds is {self.folds}, expected 0 with external=true: external data is not trained on"
            )
        if self.training_only and (self.folds or self.external):
            raise OptionError(
                f"folds is {self.folds} and external is {self.external}, expected neither for data that is only "
                "trained on: leave out both"
            )

    @property
    def storage(self) -> str:
        """The name of the codec: zstd or raw."""
        return "zstd" if self.compress else "raw"

    def in_manifest(self) -> dict[str, object]:
        """What the set's content depends on; who made it, and how fast, is no part of it."""
        return {
            "seed": self.seed,
            "fractions": [float(share) for share in self.fractions],
            "folds": self.folds,
            "external": self.external,
            "stored_size": STORED_SIZE,
            # Sets of other sources are told by the same words as before.
            **({"training_only": True} if self.training_only else {}),
        }


def build_stored_set(
    source: Source,
    out: Path,
    options: BuildOptions,
    *,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> StoredSet:
    """Read every labelled slice of `source` and store it at `out`, split by patient.

    A complete set at `out` of the same source, files, labels and options is opened as it is (`.reused`). An
    unfinished one goes on where it was: what was written before an error, Ctrl-C or kill -9 stays in
    `<out>.partial`, and the result is the same, bit by bit. progress: a bar on stderr. say: told of the
    pre-flight. Raises DataError for unusable input or where `out` holds something else, QuarantineError where
    more slices can't be used than allowed, SplitError as split_patients.
    """
    out = Path(out).resolve()
    check_fractions(options.fractions)
    plan = make_plan(source.name, source.files(), options.storage)
    if not plan.tasks:
        raise DataError(f"source {source.name} has no labelled slices: check its folder")
    wanted: dict[str, object] = {
        "source": source.name,
        "storage": options.storage,
        "options": options.in_manifest(),
        "fingerprint": fingerprint(plan, source.rejected()),
    }
    quarantine = _quarantine(source, plan, options)
    work = ShardWork(source=source, folder=str(partial_folder(out)), storage=plan.storage)
    try:
        if is_stored_set(out):
            return _reuse(out, wanted, quarantine, plan, work)
        with claimed(out) as folder:
            plan = resume(plan, folder, work)
            journals = _write_shards(work, plan, folder, quarantine, options, progress=progress, say=say)
            split = SplitOptions(
                fractions=options.fractions,
                folds=options.folds,
                seed=options.seed,
                external=options.external,
                training_only=options.training_only,
            )
            manifest = {**wanted, **_told_by(source)}
            return finish(plan, journals, quarantine, folder, out, split=split, manifest=manifest)
    except OSError as error:
        raise DataError(
            f"{out} can't be written ({error.strerror}): check its disk and permissions"
        ) from None


def quarantine_list(out: Path) -> Path | None:
    """The list of files that can't be used, of a finished set or of one that was given up; None without."""
    lists = (folder / QUARANTINE for folder in (out, partial_folder(out)))
    return next((path for path in lists if path.is_file()), None)


def _told_by(source: Source) -> dict[str, object]:
    """What the manifest says of the source beside what a set is compared by: sets made before lack it."""
    root = str(getattr(source, "root", ""))
    return {
        "label_level": source.label_level,
        "overlap": source.overlap,
        "source_path": root if is_url(root) or not root else str(Path(root).resolve()),
    }


def _quarantine(source: Source, plan: Plan, options: BuildOptions) -> Quarantine:
    rejected = source.rejected()
    num_files = sum(len(task.files) for task in plan.tasks)
    return Quarantine(
        num_slices=num_files + sum(one.reason not in UNMATCHED for one in rejected),
        limit=options.quarantine_limit,
        strict=options.strict,
    )


def _write_shards(
    work: ShardWork,
    plan: Plan,
    folder: Path,
    quarantine: Quarantine,
    options: BuildOptions,
    *,
    progress: bool,
    say: Callable[[str], None],
) -> list[pa.Table]:
    """Write what is missing; the journals of all shards, in order."""
    journals = dict(plan.done)
    try:
        quarantine.add(work.source.rejected())
        for journal in plan.done.values():
            quarantine.add(quarantined(journal))
        if plan.todo:
            # How many cores a cluster has is not known before it starts.
            workers = 1 if options.engine == SPARK else min(options.workers or num_cores(), len(plan.todo))
            say(str(preflight(work.source, plan, folder, workers=workers)))
        total = sum(len(task.files) for task in plan.tasks)
        bar = tqdm(
            total=total,
            initial=plan.num_slices_done,
            unit="slice",
            disable=not progress,
            file=sys.stderr,
        )
        codec = codec_named(plan.storage)
        # Closing the engine on the way out is what stops its processes.
        with closing(_run(work, plan, options)) as numbers, bar:
            for number in numbers:
                journal = read_journal(folder, plan.tasks[number], codec)
                if journal is None:
                    raise DataError(
                        f"shard {number} of {folder} was not written whole: run the command again"
                    )
                journals[number] = journal
                quarantine.add(quarantined(journal))
                bar.set_postfix(quarantined=quarantine.num_counted, refresh=False)
                bar.update(len(journal))
    except QuarantineError as error:
        quarantine.write(folder / QUARANTINE)
        raise QuarantineError(f"{error} (the list so far: {folder / QUARANTINE})") from None
    return [journals[task.number] for task in plan.tasks]


def _run(work: ShardWork, plan: Plan, options: BuildOptions) -> Generator[int, None, None]:
    tasks = plan.todo
    if options.engine == SPARK and tasks:
        # Imported where used: PySpark is an extra.
        from ich_mlflow.dataset.engine_spark import run_spark

        return run_spark(tasks, work, master=options.spark_master)
    return run_local(tasks, work, workers=options.workers)


def _reuse(
    out: Path, wanted: dict[str, object], quarantine: Quarantine, plan: Plan, work: ShardWork
) -> StoredSet:
    stored = StoredSet.open(out)
    differing = _differing(stored.manifest, wanted) or _differing_pixels(stored, plan, work)
    if differing:
        raise DataError(
            f"{out} holds a set made with other {differing}: choose another output folder, or remove it"
        )
    quarantine.check_finished(stored.manifest["quarantine"], out / QUARANTINE)
    tidy(out)
    stored.reused = True
    return stored


def _differing_pixels(stored: StoredSet, plan: Plan, work: ShardWork) -> str:
    """Whether some of the files hold other pixels than the set, in words; '' where they don't.

    Files of one matrix mostly have the same size, so names and sizes alone would take one data set for another.
    """
    files = [file for task in plan.tasks for file in task.files]
    rows = dict(zip(stored.table["sop_uid"], stored.table.index, strict=True))
    step = 1 if getattr(work.source, "neighbours_share", False) else max(1, len(files) // _COMPARED)
    for file in files[::step][:_COMPARED]:
        if file.sop_uid not in rows:
            continue
        try:
            pixels = to_stored_size(work.source.read(file).hu)
        except SliceError as error:
            raise DataError(f"the files of {stored.path} have changed: {error}") from None
        if not np.array_equal(pixels, stored.hu(np.array([rows[file.sop_uid]]))[0]):
            return f"pixels in {file.path}"
    return ""


def _differing(manifest: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What of a set's making is not as wanted, in words; '' where all is."""
    said = []
    for name, value in wanted.items():
        found = manifest.get(name)
        if found == value:
            continue
        if name == "fingerprint":
            said.append("source files or labels")
        elif isinstance(value, dict) and isinstance(found, dict):
            found = {**_BEFORE, **found}
            keys = [key for key in value if found.get(key) != value[key]]
            said += [f"{key} ({found.get(key)}, not {value[key]})" for key in keys]
        else:
            said.append(f"{name} ({found}, not {value})")
    return " and ".join(said)
