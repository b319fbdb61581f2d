"""What is said of files and series that are left out. Pure."""

from collections import Counter
from collections.abc import Sequence

from ich_mlflow.intake.plan import Study
from ich_mlflow.intake.survey import ARCHIVE, Skipped, StudyWithoutCT
from ich_mlflow.system.counting import counted


def left_out_said(reasons: Counter[str]) -> str:
    """` (left out: 12 not dicom)`; '' where nothing is."""
    if not reasons:
        return ""
    said = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
    return f" (left out: {said})"


def without_ct_said(studies: Sequence[StudyWithoutCT]) -> str:
    """How many studies have no CT image, of which modalities they are instead, and where they are named."""
    modalities = ", ".join(sorted({name or "no Modality" for one in studies for name in one.modalities}))
    num_files = sum(one.num_files for one in studies)
    return (
        f"not scored: {counted(len(studies), 'study', 'studies')} without a CT image ({modalities}, "
        f"{counted(num_files, 'file')}; skipped.csv names them)"
    )


def archives_said(skipped: Sequence[Skipped]) -> str:
    """What is wrong with the first archive that was not unpacked; '' where there is none."""
    return next((f" (an archive: {one.detail})" for one in skipped if one.reason == ARCHIVE), "")


def why_not_said(studies: Sequence[Study]) -> str:
    """Why the other series are not scored, without the numbers and words that tell one from another."""
    whys = Counter(
        row.why.split(":")[0].split(" (")[0] for study in studies for row in study.rows if not row.chosen
    )
    said = "; ".join(f"{count:,} {why}" for why, count in whys.most_common())
    return f" (not: {said})" if said else ""
