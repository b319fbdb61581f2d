"""The batches that a network over series learns from: one series each, a row a slice and one of the exam."""

from collections.abc import Sequence

import numpy as np

from ich_mlflow.dataset.batches import Order, OrderedBatches


class SeriesBatches(OrderedBatches):
    """Batches (inputs float32 [n, C], targets float32 [n + 1, L], weights float32 [n + 1]) of one series each.

    inputs: of each of S series [n, C], its slices from the neck up. slice_targets: of each [n, L], or None where only
    the exam is labelled. exam_targets [S, L]. order: indices of series for an epoch number; as they stand where None.

    Keras divides the sum of weighted losses by the n + 1 rows. A slice's weight is (n + 1) / 2n and the exam's
    (n + 1) / 2, so that a step's loss is half the mean over the slices and half the exam's; of a series whose slices
    are not labelled it is half the exam's alone. So an exam has the same say in each series.

    `targets` and predict's outputs have the rows series by series, each with its slices, then its exam; unlabelled
    slices have zeros there, which no weight tells apart. One device: several can't share a series. Raises ValueError
    where lists or their series differ in length, or a series has no slice.
    """

    def __init__(
        self,
        inputs: Sequence[np.ndarray],
        slice_targets: Sequence[np.ndarray | None],
        exam_targets: np.ndarray,
        *,
        order: Order | None = None,
    ) -> None:
        _expect_fitting(inputs, slice_targets, exam_targets)
        self._inputs = inputs
        self._rows_of = [_rows(*one) for one in zip(inputs, slice_targets, exam_targets, strict=True)]
        self._is_labelled = [targets is not None for targets in slice_targets]
        super().__init__(exam_targets, batch_size=1, order=order)  # to the parent an example is a series

    @property
    def num_slices(self) -> int:
        """Rows that an epoch shows: its slices and one for each of its exams, as many as predict gives."""
        return sum(len(self._rows_of[series]) for series in self.order)

    @property
    def batch_size(self) -> int:
        """Series of a batch: one."""
        return 1

    @property
    def targets(self) -> np.ndarray:
        """Targets float32 [N + S, L] of the series as they stand; `order` says how the epoch draws from them."""
        return np.concatenate(self._rows_of)

    def inputs(self, places: np.ndarray) -> np.ndarray:
        (series,) = self.order[places]
        return self._inputs[series]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        series = self.order[index]
        rows = self._rows_of[series]
        weights = np.full(len(rows), len(rows) / 2, dtype=np.float32)
        weights[:-1] = weights[:-1] / (len(rows) - 1) if self._is_labelled[series] else 0
        return self._inputs[series], rows, weights

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [N + S, L] of the series as they stand, to those of slices [N, L] and of exams [S, L].

        Raises ValueError for another number of rows.
        """
        ends = np.cumsum([len(one) for one in self._rows_of])
        if len(rows) != ends[-1]:
            raise ValueError(
                f"{len(rows)} rows, expected {ends[-1]}: pass a row for each slice and each of {len(ends)} exams"
            )
        return np.delete(rows, ends - 1, axis=0), rows[ends - 1]


def _rows(inputs: np.ndarray, slices: np.ndarray | None, exam: np.ndarray) -> np.ndarray:
    """Targets float32 [n + 1, L] of a series."""
    known = np.zeros((len(inputs), len(exam))) if slices is None else slices
    return np.concatenate([known, exam[None]]).astype(np.float32)


def _expect_fitting(
    inputs: Sequence[np.ndarray], slice_targets: Sequence[np.ndarray | None], exam_targets: np.ndarray
) -> None:
    if not len(inputs) == len(slice_targets) == len(exam_targets) > 0:
        raise ValueError(
            f"inputs of {len(inputs)}, slice targets of {len(slice_targets)} and exam targets of {len(exam_targets)} "
            "series, expected as many of each, one or more: pass all of each series"
        )
    for number, (one, targets) in enumerate(zip(inputs, slice_targets, strict=True)):
        if not len(one) or (targets is not None and len(targets) != len(one)):
            raise ValueError(
                f"series {number} has {len(one)} slices and targets of {'none' if targets is None else len(targets)}, "
                "expected one slice or more and as many targets: pass both of each slice, or None for targets"
            )
