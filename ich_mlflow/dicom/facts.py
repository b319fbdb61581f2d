"""How an image was taken and packed, by its header: what changes where a scanner or its protocol does. No identity."""

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ich_mlflow.dicom import header

#: Longer texts are no names of a manufacturer or kernel.
MAX_TEXT = 32


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """manufacturer, kernel: plain text of MAX_TEXT characters at most, '' where missing. syntax: transfer syntax."""

    manufacturer: str = ""
    kernel: str = ""
    syntax: str = ""


NO_FACTS = HeaderFacts()


def facts_of(dataset: Dataset, syntax: object = None) -> HeaderFacts:
    """The facts in a header. syntax: where it is known, and the data set has no meta header."""
    named = syntax or getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    # a kernel may have several values, which take pydicom's conversion
    kernel = header.text(dataset, "ConvolutionKernel")
    if kernel.startswith("["):
        kernel = header.first_text(dataset, "ConvolutionKernel")
    return HeaderFacts(
        manufacturer=plain(header.text(dataset, "Manufacturer")),
        kernel=plain(kernel),
        syntax=plain(str(named or "")),
    )


def plain(text: str) -> str:
    """Letters, digits and a few signs of a header's text: anything may stand in one."""
    return re.sub(r"[^A-Za-z0-9 ._+/-]", "", text)[:MAX_TEXT].strip()
