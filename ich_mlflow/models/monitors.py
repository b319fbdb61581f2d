"""What early stopping, and a search, can go by: a record each."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """A figure of an epoch, whether the highest or the lowest is best, and what a reader calls it."""

    figure: str
    direction: Literal["maximize", "minimize"]
    title: str

    def goodness(self, figures: dict[str, float]) -> float:
        """The higher the better; -inf where the epoch has no such figure."""
        value = figures.get(self.figure)
        if value is None:
            return float("-inf")
        return value if self.direction == "maximize" else -value


MONITORS: dict[str, Monitor] = {
    "val_loss": Monitor(
        figure="val_loss", direction="minimize", title="recalibrated validation cross-entropy"
    ),
    "val_auc": Monitor(figure="val/auc/macro", direction="maximize", title="mean validation AUC"),
}
