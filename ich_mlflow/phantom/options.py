"""What a phantom cohort can be told."""

from dataclasses import dataclass

from ich_mlflow.errors import OptionError

#: Raise when the same options make other images: cohorts on disk are then made anew.
GENERATOR_VERSION = 1
#: Share of exams with each of labels.SUBTYPES that gives about RSNA 2019's share of positive slices
#: (0.4, 4.8, 3.5, 4.7, 6.3 %), measured on 200 exams of this generator.
RSNA_EXAM_RATES = (0.02, 0.19, 0.15, 0.15, 0.15)


@dataclass(frozen=True, kw_only=True)
class CohortOptions:
    """A cohort, complete: the same options make the same images, whatever else is made beside them.

    exams                number of exams; every eighth is a second exam of the patient before
    seed                 0 or more
    exam_rate            share of exams that show each subtype, 0..1; None for shares that give RSNA-like slices
    min_blood_area_mm2   a slice is positive for a subtype when more than this area of its blood is on it
                         (20 mm² is a 4.5 mm square: what a reader can be expected to see)
    rows                 rows and columns of a slice
    """

    exams: int
    seed: int = 0
    exam_rate: float | None = None
    min_blood_area_mm2: float = 20.0
    rows: int = 512

    def __post_init__(self) -> None:
        if self.exams < 1:
            raise OptionError(f"exams is {self.exams}, expected 1 or more")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}, expected 0 or more")
        if self.exam_rate is not None and not 0 <= self.exam_rate <= 1:
            raise OptionError(f"exam_rate is {self.exam_rate}, expected 0 to 1, or None for RSNA-like rates")
        if not self.min_blood_area_mm2 >= 0:
            raise OptionError(f"min_blood_area_mm2 is {self.min_blood_area_mm2}, expected 0 or more")
        if not 64 <= self.rows <= 1024:
            raise OptionError(f"rows is {self.rows}, expected 64 to 1024")

    @property
    def exam_rates(self) -> tuple[float, ...]:
        """Share of exams with each of labels.SUBTYPES."""
        return RSNA_EXAM_RATES if self.exam_rate is None else (self.exam_rate,) * 5
