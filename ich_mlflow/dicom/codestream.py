"""What a compressed image says of its own size, before anything is decoded.

A decoder allocates what the codestream asks for, whatever DICOM's Rows and Columns say: a file of a kilobyte can
ask for gigabytes.
"""

import struct
from enum import Enum

_SOI = b"\xff\xd8"
_J2K_START = b"\xff\x4f\xff\x51"
#: Start of frame of every JPEG process, and of JPEG-LS. C4, C8 and CC mean other things.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
#: Markers without a length: TEM, restarts, start and end of image.
_BARE = {0x01, *range(0xD0, 0xDA)}


def image_shape(codestream: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG, JPEG-LS or JPEG 2000 codestream; None where it does not say.

    Source: ITU-T T.81 B.2.2, T.87 C.2.2 (frame header), T.800 A.5.1 (SIZ).
    """
    if codestream.startswith(_J2K_START) and len(codestream) >= 42:
        x, y, x_offset, y_offset = struct.unpack(">4I", codestream[8:24])
        return y - y_offset, x - x_offset, int.from_bytes(codestream[40:42], "big")
    place = _frame_header(codestream)
    if place is None:
        return None
    rows, columns, components = struct.unpack(">HHB", codestream[place + 5 : place + 10])
    return rows, columns, components


#: Of a CT slice compressed by any known writer there are at most some hundred packets, one tile and one scan.
MAX_PACKETS, MAX_TILES, MAX_SCANS = 2**15, 1024, 4
_COD, _SOT, _START_OF_SCAN = b"\xff\x52", b"\xff\x90", b"\xff\xda"


def expect_modest(codestream: bytes) -> None:
    """Raise ValueError for a codestream that would keep a decoder busy, whatever the size of its image.

    JPEG and JPEG-LS: more than MAX_SCANS scans. JPEG 2000: more than MAX_TILES tiles, or MAX_PACKETS packets, which
    its tiles, layers and precincts make. Source: ITU-T T.81 B.2.3, T.800 A.5.1 (SIZ), A.6.1 (COD), B.6.
    """
    if not codestream.startswith(_J2K_START):
        if codestream.count(_START_OF_SCAN) > MAX_SCANS:
            raise ValueError("the codestream has more scans than a picture of one component needs")
        return
    tiles, tile = _tiles(codestream)
    if tiles > MAX_TILES:
        raise ValueError("the codestream has too many tiles")
    if tiles * _packets_of_tile(codestream, tile) > MAX_PACKETS:
        raise ValueError("the codestream has too many packets")


def _tiles(codestream: bytes) -> tuple[int, tuple[int, int]]:
    """How many tiles, and width and height of one, within the image."""
    x, y, x0, y0, width, height, tile_x0, tile_y0 = struct.unpack(">8I", codestream[8:40])
    if not (width and height) or tile_x0 > x0 or tile_y0 > y0:
        raise ValueError("the codestream has no tiles")
    across, down = -(-(x - tile_x0) // width), -(-(y - tile_y0) // height)
    return across * down, (min(width, x - x0), min(height, y - y0))


def _packets_of_tile(codestream: bytes, tile: tuple[int, int]) -> int:
    """Layers times precincts of all resolutions, by the main header's COD; 0 where it has none."""
    place = 2
    while place + 4 <= len(codestream) and codestream[place : place + 2] != _SOT:
        length = int.from_bytes(codestream[place + 2 : place + 4], "big")
        if codestream[place : place + 2] == _COD:
            style, _, layers, _, levels = struct.unpack(">BBHBB", codestream[place + 4 : place + 10])
            sizes = codestream[place + 14 : place + 2 + length] if style & 1 else b"\xff" * 33
            if levels > 32 or len(sizes) <= levels:
                raise ValueError("the codestream has more levels than there are")
            return int(layers) * sum(
                _precincts(tile, levels - resolution, sizes[resolution]) for resolution in range(levels + 1)
            )
        place += 2 + max(length, 2)
    return 0


def _precincts(tile: tuple[int, int], halvings: int, size: int) -> int:
    """Of a resolution that is the tile halved so often; size: exponents of width (low four bits) and height."""
    (width, height), low, high = tile, size & 15, size >> 4
    across, down = (max(1, -(-side // 2**halvings)) for side in (width, height))
    return -(-across // 2**low) * -(-down // 2**high)


class Family(Enum):
    """What a compressed image is compressed by, as its first bytes say."""

    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    RLE = "RLE"


def family_of(codestream: bytes) -> Family | None:
    """The family of a codestream; None where it is of none that is known.

    DICOM's run lengths begin with the number of segments, of 16 bits two, and the places where those begin.
    Source: ITU-T T.81, T.87, T.800; DICOM PS3.5 G.5.
    """
    if codestream.startswith(_J2K_START):
        return Family.JPEG_2000
    frame = start_of_frame(codestream)
    if frame is not None:
        return Family.JPEG_LS if frame == 0xF7 else Family.JPEG
    starts = struct.unpack("<16I", codestream[:64]) if len(codestream) >= 64 else ()
    if starts[:2] == (2, 64) and 64 < starts[2] < len(codestream) and not any(starts[3:]):
        return Family.RLE
    return None


def jpeg_2000_sign(codestream: bytes) -> tuple[int, bool] | None:
    """Bits of a JPEG 2000 codestream's first component, and whether they are signed; None of any other.

    Source: ITU-T T.800 A.5.1 (Ssiz).
    """
    if not codestream.startswith(_J2K_START) or len(codestream) < 43:
        return None
    return (codestream[42] & 0x7F) + 1, bool(codestream[42] & 0x80)


def start_of_frame(codestream: bytes) -> int | None:
    """The second byte of the marker that starts the frame: C0 for baseline JPEG, C3 for lossless; None without one."""
    place = _frame_header(codestream)
    return None if place is None else codestream[place + 1]


def _frame_header(codestream: bytes) -> int | None:
    """Where the frame header's marker stands; None where there is no whole header."""
    if not codestream.startswith(_SOI):
        return None
    place = 2
    while place + 10 <= len(codestream) and codestream[place] == 0xFF:
        marker = codestream[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _START_OF_FRAME:
            return place
        else:
            length = 0 if marker in _BARE else int.from_bytes(codestream[place + 2 : place + 4], "big")
            place += 2 + length
    return None
