"""What makes an image unlike a slice of a head CT in Hounsfield units: said as warnings, for a person to look."""

import cv2
import numpy as np

#: Fractions of the whole square image that slices of head CT keep within. Measured at 256x256 on the 1,530 slices of
#: CT-ICH at hand (air 0.42 to 0.91, bone 0 to 0.16) and 1,747 slices of phantoms (0.37 to 0.99, 0 to 0.15), with room.
AIR_RANGE = (0.25, 0.99)
BONE_MAX = 0.22
AIR_BELOW_HU, BONE_ABOVE_HU = -300, 300
#: Share of the body's outline that is air: at most 0.14 on the slices of CT-ICH (sinuses, mouth), 0.1 on phantoms.
#: Lungs are a third of a chest.
LUNGS_MIN = 0.25
#: What unlike_head looks for.
UNLIKE_HEAD = "not like a head CT"
WINDOW_ONLY = "window only"
#: How what a file says amiss, and was read nevertheless, is told from what is unlike head CT.
READ_WITH_CARE = "read with care"
#: Sides of the field of view in mm that head CT is reconstructed to, with room.
FIELD_OF_VIEW_MM = (120.0, 420.0)
#: Beyond this a slice is no axial one: gantries tilt by 30 at most.
MAX_TILT_DEGREES = 45.0
#: Displayed images have no more grey values than this.
_GREY_VALUES = 256


def content_warnings(hu: np.ndarray, stored: np.ndarray) -> list[str]:
    """What is unlike head CT about the values of HU [H, W]; [] for an ordinary slice. stored: at the stored size."""
    if int(hu.max()) - int(hu.min()) < _GREY_VALUES:
        return [
            f"{WINDOW_ONLY}: the values span fewer than 256, as of an 8-bit displayed image; Hounsfield units are "
            "needed"
        ]
    found = []
    air, bone = (
        np.count_nonzero(mask) / mask.size for mask in (stored < AIR_BELOW_HU, stored > BONE_ABOVE_HU)
    )
    if not AIR_RANGE[0] <= air <= AIR_RANGE[1]:
        low, high = (round(100 * side) for side in AIR_RANGE)
        found.append(f"{UNLIKE_HEAD}: {100 * air:.0f} % of it is air, expected {low} to {high} %")
    if bone > BONE_MAX:
        found.append(
            f"{UNLIKE_HEAD}: {100 * bone:.0f} % of it is bone or metal, expected at most {100 * BONE_MAX:.0f} %"
        )
    inside = enclosed_air(stored)
    if inside > LUNGS_MIN:
        found.append(f"{UNLIKE_HEAD}: {100 * inside:.0f} % of the body is air, as where there are lungs")
    return found


def enclosed_air(stored: np.ndarray) -> float:
    """Share of the largest body's outline that is air inside it, 0 to 1, of HU [S, S]. 0 where there is no body.

    At every second row and column: lungs are large.
    """
    air = np.ascontiguousarray(stored[::2, ::2] < AIR_BELOW_HU).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - air, connectivity=4)
    if count < 2:
        return 0.0
    body = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).view(np.uint8)
    # Outside is what is joined to a frame around the image.
    around = cv2.copyMakeBorder(1 - body, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, parts = cv2.connectedComponents(around, connectivity=4)
    outline = (parts != parts[0, 0])[1:-1, 1:-1]
    return float(np.count_nonzero(outline & (air > 0)) / np.count_nonzero(outline))


def unlike_head(warnings: list[str]) -> bool:
    """Whether a slice's warnings say that its values are no head CT's."""
    return any(text.startswith((UNLIKE_HEAD, WINDOW_ONLY)) for text in warnings)


def geometry_warnings(
    shape: tuple[int, int], pixel_spacing_mm: tuple[float, float] | None, tilt_degrees: float | None = None
) -> list[str]:
    """What is unlike an axial head CT about its size, rows and columns, and its tilt; [] where that is not known."""
    found = []
    if pixel_spacing_mm is not None:
        between_rows, between_columns = pixel_spacing_mm
        sides = (shape[0] * between_rows, shape[1] * between_columns)
        low, high = FIELD_OF_VIEW_MM
        if not all(low <= side <= high for side in sides):
            found.append(f"the field of view is not of {low:.0f} to {high:.0f} mm, as a head's is")
        if abs(between_rows / between_columns - 1) > 0.01:
            found.append("its pixels are not square, which the model takes them to be")
    if tilt_degrees is not None and tilt_degrees > MAX_TILT_DEGREES:
        found.append("not an axial slice")
    return found
