"""What a network has learned from, over all the trainings that its weights come from: patients as hashes, and words.

An Ancestry goes where the weights go: beside serving.json, inside .keras files (slice_cnn/layers.py), and into the
files that pretrain writes. A hash of an id is no anonymisation: whoever can guess the id can compute it.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ich_mlflow.errors import ModelError
from ich_mlflow.system.whole import write_whole

ANCESTRY_FILE = "ancestry.npz"
#: What tells that a patient was seen, by the column of a stored set's table: a copy of the data may have its patients
#: renamed, and its studies not.
KINDS = {"patient_id": "patients", "study_uid": "studies", "series_uid": "series"}
_HASH_BYTES = 8
#: Ancestors that are named where they are told of in one line; of more it is said how many.
_MAX_SAID = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Ancestor:
    """Something that was learned from.

    name: as `run 0123…`. source, digest: of the stored set, '' where there is none. seen: the hashes of its training
    and validation patients, their studies and their series, by KINDS; empty where no patient was learned from.
    is_known: False where nothing tells what was learned from.
    """

    name: str
    source: str = ""
    digest: str = ""
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_known: bool = True

    @property
    def said(self) -> str:
        """`run 0123… (58 patients of phantom, digest 0123456789ab)`."""
        if not self.is_known:
            return f"{self.name} (what it learned from is not known)"
        if not self.seen:
            return f"{self.name} (no patients)"
        return f"{self.name} ({len(self.seen['patients']):,} patients of {self.source}, digest {self.digest[:12]})"

    def is_alike(self, other: "Ancestor") -> bool:
        """Whether both learned from the same patients, or are the same thing without patients."""
        if not self.seen or not other.seen:
            return not self.seen and not other.seen and self.name == other.name
        return self.digest == other.digest and all(
            np.array_equal(self.seen[kind], other.seen[kind]) for kind in KINDS.values()
        )


IMAGENET = Ancestor(name="ImageNet")
#: Of cohorts with seeds that no other phantom may have, so none of them is ever a test patient.
PHANTOMS = Ancestor(name="this project's phantoms")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """How many things of a kind (patients, studies or series) an ancestor has in common with others."""

    ancestor: Ancestor
    kind: str
    count: int


@dataclass(frozen=True, eq=False)
class Ancestry:
    """All that was learned from, the newest last: of a model that is its own training. Empty for random weights."""

    ancestors: tuple[Ancestor, ...] = ()

    def then(self, ancestor: Ancestor) -> "Ancestry":
        """The same with what was learned from next. The same patients again are one ancestor: the newer."""
        return Ancestry((*(one for one in self.ancestors if not one.is_alike(ancestor)), ancestor))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of ancestors of which nothing tells what they learned from."""
        return tuple(one.name for one in self.ancestors if not one.is_known)

    @property
    def said(self) -> str:
        """Every ancestor in one line, the newest first."""
        named = [one.said for one in reversed(self.ancestors)]
        more = [f"{len(named) - _MAX_SAID} more"] if len(named) > _MAX_SAID else []
        return "; ".join([*named[:_MAX_SAID], *more]) or "nothing before"

    def shared_with(self, ids: Mapping[str, Iterable[str]]) -> list[Shared]:
        """What ancestors have in common with those ids, the newest first: of each patients, else studies, else series.

        ids: by column, as KINDS.
        """
        hashed = {kind: hashes(ids[column]) for column, kind in KINDS.items()}
        found = []
        for one in reversed(self.ancestors):
            counts = {kind: len(np.intersect1d(seen, hashed[kind])) for kind, seen in one.seen.items()}
            kind = next((kind for kind in KINDS.values() if counts.get(kind)), None)
            if kind is not None:
                found.append(Shared(ancestor=one, kind=kind, count=counts[kind]))
        return found

    def to_bytes(self) -> bytes:
        """A file of arrays without pickle: `about`, JSON as bytes, and `<number>/<kind>` of each ancestor."""
        about = [
            {"name": one.name, "source": one.source, "digest": one.digest, "is_known": one.is_known}
            for one in self.ancestors
        ]
        arrays = {
            f"{number}/{kind}": seen
            for number, one in enumerate(self.ancestors)
            for kind, seen in one.seen.items()
        }
        note = np.frombuffer(json.dumps(about).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, about=note, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Ancestry":
        """The reverse of to_bytes. Raises ModelError for what another version of ich_mlflow wrote, or is damaged."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                return cls(
                    tuple(Ancestor(**one, seen=_seen(file, number)) for number, one in enumerate(about))
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ModelError(
                f"{ANCESTRY_FILE} is not as this version of ich_mlflow writes it ({type(error).__name__}): train the "
                "model again, or use the version that made it"
            ) from None

    def write(self, path: Path) -> None:
        write_whole(path, self.to_bytes())

    @classmethod
    def read(cls, path: Path) -> "Ancestry":
        """The reverse of write. Raises ModelError where there is no such file, or as from_bytes does."""
        try:
            return cls.from_bytes(path.read_bytes())
        except OSError:
            raise ModelError(
                f"the model holds no {path.name}, which says what patients it and its weights have learned from: "
                "train it again with this version"
            ) from None


def not_known(name: str) -> Ancestry:
    """Of weights that nothing tells of but their name."""
    return Ancestry((Ancestor(name=name, is_known=False),))


def hashes(ids: Iterable[str]) -> np.ndarray:
    """The first 8 bytes of each id's SHA-256, uint64 [n], sorted and each once. An empty id tells nothing: left out."""
    texts = {text for text in map(str, ids) if text}
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:_HASH_BYTES] for text in texts)
    return np.unique(np.frombuffer(digests, ">u8").astype(np.uint64))


def _seen(file: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The hashes of the ancestor of that number: of all kinds, or none."""
    if f"{number}/{KINDS['patient_id']}" not in file:
        return {}
    return {kind: file[f"{number}/{kind}"] for kind in KINDS.values()}
