"""Times as they are typed. Apart from the windows: options need neither NumPy nor pydicom."""

import re
from datetime import UTC, datetime, timedelta

#: The reference where none is named.
REFERENCE_EXAMS = 200
#: A day or a time.
TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?"


def parse_time(text: str, *, now: datetime | None = None) -> datetime:
    """A day, a time (UTC where it names no zone), or so many days ago. Raises ValueError for what is none."""
    ago = re.fullmatch(r"(\d{1,4})d", text)
    if ago:
        return (now or datetime.now(UTC)) - timedelta(days=int(ago[1]))
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
