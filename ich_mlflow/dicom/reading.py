"""Which of two readings of the same bits is a CT's, where the header or the codestream contradicts itself."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ich_mlflow.ct.hounsfield import to_hounsfield, unwrap_12_bit
from ich_mlflow.dicom.layout import Layout, Rescale
from ich_mlflow.dicom.padding import HIGHEST_HU, joined_to_border
from ich_mlflow.errors import SliceError

#: Around every head there is air.
_AIR_HU = -500


class Bits(NamedTuple):
    """So many of the 16 bits of a value are used, above `unused` low ones; whether the highest of them is a sign."""

    stored: int
    signed: bool
    unused: int = 0


class Reading(NamedTuple):
    """bits: how values are read. remark: what was contradictory; '' where nothing was."""

    bits: Bits
    remark: str = ""


def used_bits(values: np.ndarray, bits: Bits) -> np.ndarray:
    """Values uint16 [H, W] with the bits that are not used dropped, sign extended where signed.

    int16 [H, W] where that holds them, uint16 [H, W] for 16 bits unsigned. What stands in the unused bits is
    undefined. Source: DICOM PS3.5 8.1.1.
    """
    values = values >> bits.unused if bits.unused else values
    above = 16 - bits.stored
    if bits.signed:
        return (values << above).view(np.int16) >> above if above else values.view(np.int16)
    return (values & np.uint16(0xFFFF >> above)).view(np.int16) if above else values


def hounsfield(stored: np.ndarray, bits: Bits, rescale: Rescale) -> np.ndarray:
    """Hounsfield units int16 [H, W], clipped to [-1024, 32767], of values as used_bits gives them.

    12-bit unsigned files with an intercept of 0 or 1 hold negative HU modulo 4096 and are unwrapped.
    """
    if bits.stored == 12 and not bits.signed and rescale.slope == 1 and rescale.intercept in (0, 1):
        return to_hounsfield(unwrap_12_bit(stored), slope=1, intercept=0)
    return to_hounsfield(stored, slope=rescale.slope, intercept=rescale.intercept)


def reading_of(
    values: np.ndarray, layout: Layout, rescale: Rescale, sign: tuple[int, bool] | None, name: str
) -> Reading:
    """How values uint16 [H, W] are read. Raises SliceError where a contradiction can't be settled by the pixels.

    sign: precision of a JPEG 2000 codestream, and whether it is of signed numbers; None for any other. What was encoded
    as negative is negative; where the codestream is unsigned and PixelRepresentation 1, the pixels decide. They also do
    where HighBit is not BitsStored - 1.
    """
    plain = Bits(layout.bits_stored, layout.signed)
    if sign is not None and sign[1] != layout.signed:
        precision, signed = sign
        remark = "the sign in its JPEG 2000 codestream contradicts PixelRepresentation"
        if signed:
            return Reading(Bits(min(precision, 16), signed=True), remark)
        bits = min(precision, layout.bits_stored)
        both = Bits(bits, signed=True), Bits(bits, signed=False)
        return Reading(_settled(values, both, rescale, name, "PixelRepresentation"), remark)
    if layout.high_bit == layout.bits_stored - 1:
        return Reading(plain)
    remark = f"its HighBit {layout.high_bit} contradicts BitsStored {layout.bits_stored}"
    if layout.high_bit < layout.bits_stored:
        fewer = Bits(layout.high_bit + 1, layout.signed)
        if not layout.signed:  # whatever needs more bits uses them
            return Reading(plain if values.max() >> fewer.stored else fewer, remark)
        return Reading(_settled(values, (plain, fewer), rescale, name, "HighBit"), remark)
    shift = layout.high_bit + 1 - layout.bits_stored
    shifted = values.any() and not (values & np.uint16((1 << shift) - 1)).any()
    return Reading(plain._replace(unused=shift) if shifted else plain, remark)


def _settled(values: np.ndarray, both: Sequence[Bits], rescale: Rescale, name: str, keyword: str) -> Bits:
    """The one of two readings that is a CT's: with air, and nothing above what CT measures but at the border.

    Where both are, they differ in bone, or in padding at the border.
    """
    first, second = (hounsfield(used_bits(values, one), one, rescale) for one in both)
    differing = first != second
    if not differing.any():
        return both[0]
    likely = [bits for bits, hu in zip(both, (first, second), strict=True) if _is_likely(hu)]
    if len(likely) == 1:
        return likely[0]
    outside = joined_to_border(differing)
    if likely and (outside == differing).all():  # padding, which is lower than anything
        return both[0] if first[differing].mean() < second[differing].mean() else both[1]
    if likely and not outside.any():  # bone, which is higher
        return both[0] if first[differing].mean() > second[differing].mean() else both[1]
    raise SliceError(
        f"{name} has a {keyword} that contradicts its pixels, which can be read in two ways: export it again",
        reason="unsupported_pixels",
        tag=keyword,
    )


def _is_likely(hu: np.ndarray) -> bool:
    beyond = hu > HIGHEST_HU
    return bool((hu <= _AIR_HU).any() and not (beyond & ~joined_to_border(beyond)).any())
