"""Whether a candidate model takes the champion's place. Decides only; tracking.registry moves the alias."""

import math
from dataclasses import dataclass

VAL_AUC_MACRO = "val/auc/macro"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What is known of a model version when it is compared.

    name: for people, such as `ich-5class version 3`.
    num_classes: its class scheme, 4, 5 or 6.
    metric_value: of the metric compared, the mean validation AUC unless told otherwise; None if not logged.
    data_digest: of the validation slices it was measured on; None if not logged.
    """

    name: str
    num_classes: int
    metric_value: float | None
    data_digest: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and every reason and remark with its numbers, one sentence each."""

    promote: bool
    reasons: tuple[str, ...]


def compare(
    candidate: Contender, champion: Contender | None, *, metric_name: str = VAL_AUC_MACRO
) -> Decision:
    """Promote the candidate where there is no champion or the candidate's metric is strictly higher.

    Refuses where the candidate's metric or the champion's is missing or not finite, and where the class
    schemes differ. Where the two were measured on different data the numbers can't be compared: that is
    said in the reasons and does not refuse, since otherwise no new data set could ever bring a champion.
    """
    candidate_value = _finite(candidate.metric_value)
    if candidate_value is None:
        return _refusal(
            f"{candidate.name} has {metric_name} = {candidate.metric_value}, expected a finite number: "
            "train it again with validation patients that have the labels"
        )
    if champion is None:
        reason = f"there is no champion yet; {candidate.name} has {metric_name} = {candidate_value:.4f}"
        return Decision(True, (reason,))
    if candidate.num_classes != champion.num_classes:
        return _refusal(
            f"{candidate.name} predicts {candidate.num_classes} classes and the champion {champion.name} "
            f"{champion.num_classes}: their {metric_name} are over different labels"
        )
    champion_value = _finite(champion.metric_value)
    if champion_value is None:
        return _refusal(
            f"the champion {champion.name} has {metric_name} = {champion.metric_value}, so nothing can be "
            "shown to be better: log its metric or take the champion alias away"
        )
    gain = candidate_value - champion_value
    word = "higher than" if gain > 0 else "equal to" if gain == 0 else "lower than"
    reason = (
        f"{candidate.name} has {metric_name} = {candidate_value:.4f}, {word} the champion "
        f"{champion.name}'s {champion_value:.4f} ({gain:+.2g})"
    )
    return Decision(gain > 0, (reason, *_data_remarks(candidate, champion)))


def _refusal(reason: str) -> Decision:
    return Decision(False, (reason,))


def _data_remarks(candidate: Contender, champion: Contender) -> tuple[str, ...]:
    if candidate.data_digest is None or champion.data_digest is None:
        return ("the validation data of one of the two is not recorded: the numbers may not be comparable",)
    if candidate.data_digest != champion.data_digest:
        return (
            "measured on different data, so the numbers are not comparable: validation digest "
            f"{candidate.data_digest} of {candidate.name}, {champion.data_digest} of {champion.name}",
        )
    return ()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
