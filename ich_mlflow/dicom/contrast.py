"""What a CT image's tags say of contrast agent. Descriptions of series are series/words.py's matter."""

import re
from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset

from ich_mlflow.dicom import header


class Contrast(IntEnum):
    """How surely an image was made with contrast agent."""

    NONE = 0
    DOUBTFUL = 1
    CERTAIN = 2


#: Words that say that there was none, in the languages of scanners' protocols; n/a and w/o are two words each.
_NO = frozenset(
    [
        "n", "no", "non", "not", "nil", "none", "null", "na", "a", "nd", "unknown", "unk", "unspecified",
        "undefined", "nothing", "other", "without", "w", "o", "wo", "sans", "sin", "senza", "sem", "ohne", "kein",
        "keine", "keines", "ninguno", "aucun", "nessuno", "zonder", "bez", "utan", "uden", "plain", "nativ",
        "native", "nc", "ncct", "unenhanced", "pre", "false",
    ]
)  # fmt: skip
#: Words that say nothing by themselves.
_NEUTRAL = frozenset(
    [
        "contrast", "contraste", "contrasto", "kontrast", "kontrastmittel", "km", "c", "cm", "mdc", "medium",
        "media", "medio", "agent", "iv", "i", "v", "used", "applied", "given", "injected", "injection", "enhanced",
        "enhancement", "de", "di", "of", "the", "x", "ml", "cc", "mg",
    ]
)  # fmt: skip
#: Agents by their names' stems (WHO's list of iodinated agents and the brands in use), amounts, and words for it.
_AGENT = re.compile(
    r"\bio(?:hexol|pamidol|promid|dixanol|versol|meprol|bitridol|xaglat|xitalam|pentol|trolan)|diatrizoat|amidotrizo|"
    r"omnipa|visipa|isovue|niopam|iopam|ultravist|iomer|imeron|optiray|oxilan|xenetix|accupa|solutrast|scanlux|hexabrix|"
    r"conray|telebrix|urografin|gado|magnevist|dotarem|jod|yod|iod|\d ?(?:ml|cc|mg|g i)\b|\biv\b|i\.v\.|contrast|"
    r"kontrast|\bkm\b|\bmdc\b|enhanc|inject|inyec|applied|\by(?:es)?\b|\bja\b|\bs[ií]\b|\boui\b|\btrue\b"
)
#: Routes that don't lead into the vessels of the head.
_NOT_VENOUS = re.compile(r"oral|\bpo\b|rect|intrathec")
_AMOUNTS = (
    "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration",
    "ContrastBolusIngredientConcentration",
)  # fmt: skip
_TIMES = ("ContrastBolusStartTime", "ContrastBolusStopTime")
_SEQUENCE = "ContrastBolusAgentSequence"
KEYWORDS = (
    "ContrastBolusAgent", *_AMOUNTS, *_TIMES, _SEQUENCE, "ContrastBolusIngredient", "ContrastBolusRoute",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastTags:
    """How surely the tags name contrast agent, and the keyword of the tag that says it most surely; '' of none."""

    contrast: Contrast = Contrast.NONE
    keyword: str = ""


NO_CONTRAST = ContrastTags()


def contrast_tags(dataset: Dataset) -> ContrastTags:
    """What the tags of DICOM PS3.3 C.7.6.4 (Contrast/Bolus Module) say.

    Amounts above nothing, times, ingredients and a filled sequence are certain, and an agent that is known or whose
    text speaks of one. An agent of unknown text and a route alone are doubtful: protocols fill them in beforehand.
    """
    found = [(_of_agent(header.text(dataset, "ContrastBolusAgent")), "ContrastBolusAgent")]
    found += [
        (Contrast.CERTAIN, name) for name in _AMOUNTS if any(x > 0 for x in header.numbers(dataset, name))
    ]
    found += [(Contrast.CERTAIN, name) for name in _TIMES if header.text(dataset, name).strip("0.: ")]
    if _has_items(dataset, _SEQUENCE):
        found.append((Contrast.CERTAIN, _SEQUENCE))
    if _of_agent(header.text(dataset, "ContrastBolusIngredient")):
        found.append((Contrast.CERTAIN, "ContrastBolusIngredient"))
    route = header.text(dataset, "ContrastBolusRoute")
    if _of_agent(route) and not _NOT_VENOUS.search(route.lower()):
        found.append((Contrast.DOUBTFUL, "ContrastBolusRoute"))
    contrast, keyword = max(found, key=lambda one: one[0])
    return ContrastTags(contrast=contrast, keyword=keyword if contrast else "")


def _of_agent(text: str) -> Contrast:
    said = text.lower()
    words = {word for word in re.findall(r"[^\W_]+", said) if word.strip("0")}
    if not words or (words & _NO and words <= _NO | _NEUTRAL):
        return Contrast.NONE
    return Contrast.CERTAIN if _AGENT.search(said) and not words & _NO else Contrast.DOUBTFUL


def _has_items(dataset: Dataset, keyword: str) -> bool:
    try:
        return len(dataset.get(keyword) or ()) > 0
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        return header.has_value(dataset, keyword)
