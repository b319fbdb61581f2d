"""The table of model families."""

from typing import Any

from ich_mlflow.models.exam_sequence.reader import SequenceReader
from ich_mlflow.models.family import Family
from ich_mlflow.models.slice_cnn.reader import SliceReader

SLICE_CNN, EXAM_SEQUENCE = "slice_cnn", "exam_sequence"
FAMILIES: dict[str, Family] = {
    one.name: one
    for one in (
        Family(
            name=SLICE_CNN,
            text="a CNN that looks at one slice",
            open=SliceReader,
            recipe="reference",
            demo_recipe="demo",
            options=("weights", "augmentation"),
        ),
        Family(
            name=EXAM_SEQUENCE,
            text="a small network over the slices of a series, which reads what a slice_cnn gives for each slice "
            "(slice_model=)",
            open=SequenceReader,
            recipe="exam-sequence",
            options=("slice_model",),
            reads_series=True,
            says_exams=True,
        ),
    )
}


def family_of(hyperparameters: Any) -> Family:
    """The family whose hyperparameters those are. Raises ValueError for an object of no family."""
    for one in FAMILIES.values():
        if type(hyperparameters) is one.hyperparameters:
            return one
    raise ValueError(f"{type(hyperparameters).__name__} is of no family of {', '.join(FAMILIES)}")
