"""Why a series is no non-contrast scan of a head, and what a reader of its result should know. Pure."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ich_mlflow.dicom.contrast import Contrast
from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.series.series import BY_INSTANCE, BY_POSITION, MAX_TILT_DEGREES, Series
from ich_mlflow.series.words import derived_from, says_head, says_other_part
from ich_mlflow.system.counting import counted

#: Neck and head are 400 mm high at most; what covers more is a scan of the body.
MAX_COVERAGE_MM = 400.0
#: Head CT of RSNA 2019 has up to 500 mm (512 pixels of 0.977 mm); extended fields of view are of bodies.
MAX_FIELD_OF_VIEW_MM = 520.0
#: Another reconstruction may begin and end so much earlier or later.
_EDGE_MM = 10.0
#: No scan of a head has more: a greater InstanceNumber counts something else, and not what is missing.
_MAX_IMAGES = 10_000
#: Of BodyPartExamined, what says nothing.
_ANY_PART = ("", "other", "unknown", "trauma", "wholebody", "whole body", "body")


def why_never(series: Series, *, takes_doubtful: bool) -> str:
    """Why it is no non-contrast axial scan of a head, by its headers; '' where nothing speaks against it.

    takes_doubtful: whether contrast that only a doubtful word or tag names does not speak against it.
    """
    if series.header.has_frames:
        return "Enhanced CT, which is not read: convert it to single CT images (dcm4che's emf2sf does)"
    if all(one.is_localizer for one in series.headers):
        return "localizer"
    # What part of the body it is comes first: the C of C-spine is no contrast.
    return (
        _why_no_head(series) or _why_no_scan(series) or _why_contrast(series, takes_doubtful=takes_doubtful)
    )


def is_undecided(series: Series) -> bool:
    """Whether its words don't say that it is of a head, so that its pixels should."""
    return not says_head(f"{series.header.body_part} {series.header.description}")


def _why_no_head(series: Series) -> str:
    # The series' own words count before its study's: a study of head and chest holds series of both.
    part, own = series.header.body_part.lower(), series.header.description
    if says_other_part(part) and not says_head(part) and not says_head(own):
        return "another part of the body, by BodyPartExamined"
    if says_other_part(own) and not says_head(own):
        return "another part of the body, by its description"
    study = series.header.study_description
    if part in _ANY_PART and not says_head(own) and says_other_part(study) and not says_head(study):
        return "another part of the body, by the study's description"
    if series.coverage_mm > MAX_COVERAGE_MM:
        return f"it covers {series.coverage_mm:.0f} mm of the body, expected {MAX_COVERAGE_MM:.0f} at most"
    view = float(np.median([max(one.field_of_view_mm) for one in series.headers]))
    if view > MAX_FIELD_OF_VIEW_MM:
        return f"its field of view is {view:.0f} mm, expected {MAX_FIELD_OF_VIEW_MM:.0f} at most"
    return ""


def _why_no_scan(series: Series) -> str:
    tilt = float(np.median([one.tilt_degrees for one in series.headers]))
    if tilt > MAX_TILT_DEGREES:
        return f"not axial: its normal is {tilt:.0f} degrees from the body axis"
    kinds = Counter(derived_from(one.image_type, one.description) for one in series.headers)
    kind, count = kinds.most_common(1)[0]
    if kind and count > len(series.headers) / 2:
        return kind
    if series.is_phases:
        num_located = sum(math.isfinite(one.position_mm) for one in series.headers)
        return f"several images at one position: {num_located} at {len(series.positions_mm)}"
    return ""


def _why_contrast(series: Series, *, takes_doubtful: bool) -> str:
    level, by = series.contrast
    return f"contrast, by {by}" if level > (Contrast.DOUBTFUL if takes_doubtful else Contrast.NONE) else ""


def remarks_of(series: Series, *, first_number: int, num_of_acquisition: int) -> list[str]:
    """What makes a series without a finding no head without a bleed, by its own headers.

    first_number: as first_number_of gives it. num_of_acquisition: images of
    the study that its acquisition gave, in all series.
    """
    found = [f"less than a whole head: {series.why_short}"] if series.why_short else []
    found += ["bone kernel: there was no other"] if series.is_bone else []
    level, by = series.contrast
    found += [f"perhaps with contrast agent, by {by}"] if level else []
    if series.ordered_by == BY_INSTANCE:
        found.append("slices without a position: in the order of InstanceNumber")
    elif series.ordered_by != BY_POSITION:
        found.append(f"slices without a position: in the order of {series.ordered_by}")
    if series.num_gaps:
        found.append(f"{counted(series.num_gaps, 'gap')} between its slices")
    if first_number > 1:
        missing = counted(first_number - 1, "slice") if first_number < _MAX_IMAGES else "slices"
        found.append(f"its first InstanceNumber is {first_number}: {missing} may be missing at an end")
    promised = max(one.images_in_acquisition for one in series.headers)
    if promised > num_of_acquisition:
        found.append(
            f"ImagesInAcquisition is {promised} and there are {num_of_acquisition}: slices may be missing"
        )
    return found


def first_number_of(series_uid: str, headers: Sequence[ImageHeader]) -> int:
    """The least InstanceNumber of a series, whatever became of the image; 1 where the numbers run on through a study.

    Some vendors go on counting from series to series: a localizer has 1 and 2, the head 3 to 34. That is so where no
    number stands in two series of the study, and its other series have all numbers below the series' own.
    headers: of all images of the study.
    """
    numbers: dict[str, set[int]] = {}
    for header in headers:
        numbers.setdefault(header.series_uid, set()).add(header.instance_number)
    first = min(numbers[series_uid])
    used = set[int]().union(*numbers.values())
    is_distinct = len(used) == sum(map(len, numbers.values()))
    # Counted before they are listed: a header may say any number.
    goes_on = is_distinct and first <= len(used) and used >= set(range(1, first))
    return 1 if goes_on else first


def is_another_scan(series: Series, best: Series) -> bool:
    """Whether it was scanned apart from the best one, or shows what that does not. Reconstructions do neither."""
    if series.is_repeat and series.header.series_uid == best.header.series_uid:
        return True
    mine, theirs = (acquisitions_of(one) for one in (series, best))
    if mine and theirs and not mine & theirs:
        return True
    if not len(series.positions_mm) or not len(best.positions_mm):
        return False
    room = _EDGE_MM + (0 if math.isnan(best.step_mm) else best.step_mm)
    ends = series.positions_mm, best.positions_mm
    return bool(ends[0][0] < ends[1][0] - room or ends[0][-1] > ends[1][-1] + room)


def acquisitions_of(series: Series) -> set[str]:
    """Numbers of the scans that it was made from; empty where they are not said."""
    return {one.acquisition for one in series.headers} - {""}


def another_scan_text(others: Sequence[Series]) -> str:
    """That another scan was not scored; '' of none. Of few slices that were taken again, how many."""
    if not others:
        return ""
    if all(one.is_repeat and one.why_short for one in others):
        again = sum(len(one.headers) for one in others)
        return f"{counted(again, 'slice')} taken again and not scored"
    return "another scan of the head is in the study and was not scored: series=all scores it"
