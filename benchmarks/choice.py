"""Which series predict chooses in studies as hospitals export them: right, wrong with a remark, wrong in silence.

    python -m benchmarks.choice --studies 520

Phantom studies of four vendors and five languages (phantom/exports.py), by the survey, plan and glance at pixels that
predict uses, without the network. A study is right where the right series was chosen, or none where none is right, and
where something has to be said it is. Exits with 1 where one is wrong in silence.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ich_mlflow.intake.files import files_of
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.plan import Study, plan
from ich_mlflow.intake.survey import survey
from ich_mlflow.phantom.exports import Export, write_exports

RIGHT, NEEDLESS, REMARKED, SILENT = (
    "right",
    "right, needless remark",
    "wrong with a remark",
    "wrong in silence",
)
OUTCOMES = (RIGHT, NEEDLESS, REMARKED, SILENT)


def outcome(export: Export, studies: list[Study]) -> str:
    """What became of a study, which may have been torn into several."""
    if len(studies) != 1:
        return SILENT
    chosen = [series.series_uid for series in studies[0].series]
    remarks = [remark for series in studies[0].series for remark in series.remarks]
    expected = [export.right] if export.right else []
    if chosen == expected:
        if export.needs_remark and not remarks:
            return SILENT
        return NEEDLESS if remarks and not export.needs_remark else RIGHT
    return REMARKED if remarks or not chosen else SILENT


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=520)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=64, help="rows and columns of an image")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        exports = write_exports(
            Path(folder) / "studies", studies=arguments.studies, seed=arguments.seed, rows=arguments.rows
        )
        started = time.perf_counter()
        found = survey(files_of(Path(folder) / "studies"), workers=arguments.workers)
        planned: dict[str, list[Study]] = {}
        for study in plan(found.studies, look=why_no_head, ends=why_cut):
            planned.setdefault(study.study_uid, []).append(study)
        seconds = time.perf_counter() - started
    counts: dict[str, Counter[str]] = {}
    for export in exports:
        said = outcome(export, planned.get(export.study_uid, []))
        counts.setdefault(export.case, Counter())[said] += 1
        if said != RIGHT:
            print(f"{export.case}: {said}")
            for study in planned.get(export.study_uid, []):
                print(f"    remarks: {[one.remarks for one in study.series]}")
                for row in study.rows:
                    print(f"    {row.description!r}, {row.num_slices} slices: {row.why}")
    print(f"\n{found.num_images:,} images of {len(exports):,} studies, chosen in {seconds:.0f} s\n")
    print(f"| study | {' | '.join(OUTCOMES)} |\n|---|---|---|---|---|")
    total = sum(counts.values(), Counter())
    for case, of_case in [*counts.items(), ("all", total)]:
        print(f"| {case.replace('_', ' ')} | {' | '.join(str(of_case[one]) for one in OUTCOMES)} |")
    sys.exit(bool(total[SILENT]))


if __name__ == "__main__":
    main()
