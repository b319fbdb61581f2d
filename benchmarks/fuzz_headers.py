"""Broken headers in studies as hospitals export them: predict's survey and choice end in a choice or in a line.

Run by `python -m benchmarks.fuzz --what headers`. Of a study of phantom/exports.py the headers of some images, of a
series or of all are changed: values, value representations, lengths, elements missing, doubled or put in, too many
values or too few, numbers that are none. What a scanner or an anonymiser gets wrong it gets wrong in all images of a
series, so that half of the changes are the same in all of them.
"""

import random
import re
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.header_changes import CHANGES, elements_of, written
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.plan import plan
from ich_mlflow.intake.survey import survey
from ich_mlflow.phantom.exports import CASES, write_exports
from ich_mlflow.prediction import tables

CHOSEN, NOT_CHOSEN, NO_IMAGE = "choice", "no series, and why", "no image, and why"
OUTCOMES = (CHOSEN, NOT_CHOSEN, NO_IMAGE)
#: Share of studies whose files are without value representations.
_IMPLICIT = 0.15
#: A study is sorted out within this, of one core.
LIMIT_S = 2.0
#: What no sentence for a person holds.
_UNCLEAN = re.compile(r"\n|\bnan\b|\binf\b|Traceback|\b1 (?:slices|images|gaps|studies)\b")
_MAX_LINE = 600


@dataclass(frozen=True, kw_only=True)
class SoundStudy:
    """The files of a study, as they were written; a folder a series."""

    case: str
    paths: tuple[Path, ...]


@dataclass(kw_only=True)
class Chunk:
    """What became of studies: outcomes, changed headers, CPU seconds of the slowest, what was wrong or slow."""

    counts: Counter[str] = field(default_factory=Counter)
    headers: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    def add(self, other: "Chunk") -> None:
        self.counts += other.counts
        self.headers += other.headers
        self.slowest = max(self.slowest, other.slowest)
        self.wrong += other.wrong
        self.slow += other.slow


def fuzzed_studies(
    folder: Path, *, rows: int = 64, seed: int = 0, cases: tuple[str, ...] = tuple(CASES)
) -> list[SoundStudy]:
    """One study of each kind of phantom/exports.py; they are written below `folder` on the way."""
    exports = write_exports(folder, studies=len(cases), rows=rows, seed=seed, cases=cases)
    return [
        SoundStudy(
            case=export.case,
            paths=tuple(sorted(path for path in study.rglob("*") if path.is_file())),
        )
        for export, study in zip(exports, sorted(folder.iterdir()), strict=True)
    ]


def fuzzed(study: SoundStudy, folder: Path, rng: random.Random) -> tuple[list[InputFile], int]:
    """The files of a study, of which some have another header and lie in `folder`; how many those are."""
    places = _SCOPES[rng.randrange(len(_SCOPES))](study, rng)
    seeds = [rng.random() for _ in range(rng.randrange(1, 4))]
    is_same = rng.random() < 0.5
    files = []
    for place, path in enumerate(study.paths):
        if place in places:
            elements = elements_of(path.read_bytes())
            for seed in seeds:
                own = random.Random(seed if is_same else f"{seed} {place}")
                elements = CHANGES[own.randrange(len(CHANGES))](elements, own)
            path = folder / f"{place:04d}"
            path.write_bytes(written(elements, implicit=seeds[0] < _IMPLICIT))
        files.append(InputFile(name=f"{place:04d}", path=path, num_bytes=path.stat().st_size))
    return files, len(places)


def outcome_of_headers(files: list[InputFile]) -> str:
    """What predict's survey and choice make of a study, one of OUTCOMES. Raises ValueError for an unclean line."""
    found = survey(files)
    studies = plan(found.studies, look=why_no_head, ends=why_cut)
    if found.num_images + len(found.skipped) != len(files):
        raise ValueError(f"{found.num_images} images and {len(found.skipped)} others of {len(files)} files")
    lines = [one.detail for one in found.skipped]
    for study in studies:
        if not study.rows or sum(row.num_slices for row in study.rows) > len(files):
            raise ValueError(f"a study with rows {study.rows}")
        lines += [row.why for row in study.rows]
        lines += [remark for one in (*study.series, *study.spare) for remark in one.remarks]
    for line in lines:
        if not line or len(line) > _MAX_LINE or _UNCLEAN.search(line):
            raise ValueError(f"an unclean line: {line!r}")
    for table in (tables.series_table(studies), tables.skipped_table(found.skipped)):
        tables.as_csv(table).encode()
    if not studies:
        return NO_IMAGE
    return CHOSEN if any(study.series for study in studies) else NOT_CHOSEN


def _one_image(study: SoundStudy, rng: random.Random) -> set[int]:
    return {rng.randrange(len(study.paths))}


def _some_images(study: SoundStudy, rng: random.Random) -> set[int]:
    share = rng.random()
    return {place for place in range(len(study.paths)) if rng.random() < share} or _one_image(study, rng)


def _one_series(study: SoundStudy, rng: random.Random) -> set[int]:
    folder = rng.choice(study.paths).parent
    return {place for place, path in enumerate(study.paths) if path.parent == folder}


def _all_images(study: SoundStudy, rng: random.Random) -> set[int]:
    return set(range(len(study.paths)))


_SCOPES = (_one_image, _some_images, _one_series, _one_series, _all_images)


def header_chunk(seed: int, number: int, studies: list[SoundStudy], keep: Path) -> Chunk:
    """Of each study once: outcomes, the number of changed headers, the slowest in CPU seconds, what was wrong."""
    rng = random.Random(f"{seed} {number}")
    found = Chunk()
    with tempfile.TemporaryDirectory() as name:
        for place, study in enumerate(studies):
            files, headers = fuzzed(study, Path(name), rng)
            found.headers += headers
            started = time.process_time()
            try:
                found.counts[outcome_of_headers(files)] += 1
            except Exception as error:
                found.wrong.append(f"{study.case}, {number} {place}: {type(error).__name__}: {error}")
                _keep(keep / f"wrong-{number}-{place}", files)
            took = time.process_time() - started
            found.slowest = max(found.slowest, took)
            if took > LIMIT_S:
                found.slow.append(f"{study.case}, {number} {place}: {took:.1f} s")
                _keep(keep / f"slow-{number}-{place}", files)
    return found


def _keep(folder: Path, files: list[InputFile]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file.path, folder / file.name)


def fuzz_headers(*, headers: int, seed: int, workers: int, keep: Path) -> bool:
    """Change so many headers and print what became of their studies; whether all went well."""
    found = Chunk()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(workers) as pool:
        studies = fuzzed_studies(Path(name) / "studies", seed=seed)
        try:
            for number in count(step=workers):
                batch = [pool.submit(header_chunk, seed, number + k, studies, keep) for k in range(workers)]
                for future in batch:
                    found.add(future.result())
                print(f"{found.headers:,} of {headers:,} headers, {len(found.wrong)} wrong", flush=True)
                if found.headers >= headers:
                    break
        except KeyboardInterrupt:
            print("stopped: what follows is what was done until then")
    took = time.perf_counter() - started
    total = sum(found.counts.values()) + len(found.wrong)
    print(f"\n{found.headers:,} changed headers in {total:,} studies in {took:.0f} s")
    said = ", ".join(f"{name} {found.counts[name]:,}" for name in OUTCOMES)
    print(f"{said}, anything else {len(found.wrong)}, crashes 0")
    print(f"slowest {found.slowest:.2f} s of one core, over {LIMIT_S:g} s {len(found.slow)}")
    for line in [*found.wrong[:20], *found.slow[:10]]:
        print(line)
    return not found.wrong and not found.slow
