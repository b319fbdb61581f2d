"""The demonstration models that come with the package, a record each."""

from dataclasses import dataclass

BACKBONE = "efficientnet-b0"
PHANTOM, CT_ICH = "phantom", "ctich"


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A demonstration model.

    files        names of its networks' weights, one a member
    num_classes  the class schemes that it comes in
    learned_from what it learned from, in words
    caveat       what whoever serves it must know
    """

    files: tuple[str, ...]
    num_classes: tuple[int, ...]
    learned_from: str
    caveat: str


DEMONSTRATIONS: dict[str, Demonstration] = {
    CT_ICH: Demonstration(
        files=tuple(f"{BACKBONE}-{CT_ICH}-{fold}" for fold in range(5)),
        num_classes=(5, 4),
        learned_from="50 patients of CT-ICH, by five networks that each left a fifth of them out",
        caveat=(
            "Fifty trauma patients of one hospital are few: three subtypes have five positive patients or fewer. "
            "It is not for patients."
        ),
    ),
    PHANTOM: Demonstration(
        files=(f"{BACKBONE}-{PHANTOM}",),
        num_classes=(5, 4, 6),
        learned_from="phantoms that this project made",
        caveat="Trained on phantoms, not on patients, and not for patients.",
    ),
}


def demonstration_of(num_classes: int) -> str:
    """The best that comes in that class scheme: of patients before of phantoms."""
    return next(name for name, one in DEMONSTRATIONS.items() if num_classes in one.num_classes)
