"""Numbers of things in a sentence, right for none, one and many."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 slice`, `2,000 slices`, `0 slices`. noun: in the singular; plural: where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
