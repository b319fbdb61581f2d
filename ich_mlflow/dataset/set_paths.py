"""The stored sets that a text names. Imports nothing, so that options can be checked at once."""

from pathlib import Path

SEPARATOR = ","


def paths_of(data: str) -> list[str]:
    """The stored sets that a text names, separated by commas; a folder of that very name is one."""
    if Path(data).is_dir():
        return [data]
    return [name.strip() for name in data.split(SEPARATOR)]
