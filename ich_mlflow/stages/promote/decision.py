"""What comes of the gates: whether to promote, and why, in words."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One condition: what was found, with its numbers and the limit."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and the gates that say why. replaced: gates that failed and were passed over on demand."""

    promote: bool
    gates: tuple[Gate, ...]
    replaced: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that failed."""
        return tuple(gate.name for gate in self.gates if not gate.passed)

    def lines(self) -> list[str]:
        """One line a gate, aligned."""
        width = max(len(gate.name) for gate in self.gates)
        said = [
            f"{'passed' if gate.passed else 'FAILED'}  {gate.name:<{width}}  {gate.said}"
            for gate in self.gates
        ]
        also = [f"promoted all the same (replace=true): {', '.join(self.replaced)}"] if self.replaced else []
        return said + also

    def why(self) -> str:
        """In one sentence: what failed and how, or what the first gate, the mean AUC, said."""
        failed = [gate for gate in self.gates if not gate.passed and gate.name not in self.replaced]
        also = f"; replace=true passed over {', '.join(self.replaced)}" if self.replaced else ""
        return "; ".join(f"{gate.name}: {gate.said}" for gate in failed or self.gates[:1]) + also

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "promote": self.promote,
            "replaced": list(self.replaced),
            "gates": [{"gate": one.name, "passed": one.passed, "said": one.said} for one in self.gates],
        }
