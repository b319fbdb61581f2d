"""The params of a request: how it wants to be answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.types import DataType, ParamSchema, ParamSpec

from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.serving.refusal import Refusal

SLICE, EXAM = "slice", "exam"
FAIL, SKIP = "fail", "skip"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """operating_point: one of RULES. explain: heat maps. aggregate: slice or exam. on_error: fail or skip. abstain:
    whether an exam may be uncertain, where the model version can tell."""

    operating_point: str
    explain: bool = False
    aggregate: str = SLICE
    on_error: str = FAIL
    abstain: bool = True

    def __post_init__(self) -> None:
        """Raises Refusal for a value that is none of those."""
        for name, known in (
            ("operating_point", RULES),
            ("aggregate", (SLICE, EXAM)),
            ("on_error", (FAIL, SKIP)),
        ):
            if getattr(self, name) not in known:
                raise Refusal(f"params: {name} is none of {', '.join(known)}")
        if self.explain and self.aggregate == EXAM:
            raise Refusal("params: explain is of slices, ask without aggregate=exam")

    @classmethod
    def of(cls, params: Mapping[str, Any] | None, *, decides_by: str) -> "Asked":
        """Of a request's params; what they lack is as param_schema says."""
        return cls(**{"operating_point": decides_by, **(params or {})})


def param_schema(decides_by: str) -> ParamSchema:
    """What MLflow checks params against, with the defaults. decides_by: the model's own operating point."""
    return ParamSchema(
        [
            ParamSpec("operating_point", DataType.string, decides_by),
            ParamSpec("explain", DataType.boolean, False),
            ParamSpec("aggregate", DataType.string, SLICE),
            ParamSpec("on_error", DataType.string, FAIL),
            ParamSpec("abstain", DataType.boolean, True),
        ]
    )
