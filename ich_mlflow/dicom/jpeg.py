"""JPEG codestreams to stored values: lossless, and the lossy processes of 8 and 12 bits.

libjpeg-turbo decodes them, which imagecodecs brings: no plugin of pydicom's under a licence without conditions on those
who hand it on reads JPEG lossless (docs/decisions/0013).
"""

import numpy as np
from imagecodecs import jpeg8_decode

from ich_mlflow.dicom.codestream import start_of_frame

#: Of baseline, extended and lossless JPEG, all that DICOM allows. A progressive one of 1 MB can hold thousands of
#: scans of the whole image and keep the decoder busy for minutes.
_FRAMES = (0xC0, 0xC1, 0xC3)


def decode_jpeg(codestream: bytes) -> np.ndarray:
    """Stored values uint8 or uint16 [H, W], by the precision that the codestream has.

    Its size must have been compared with the header's before (codestream.image_shape): so much is allocated.
    Raises ValueError for another process, Jpeg8Error for a codestream that is damaged so that it can be noticed.
    Source: DICOM PS3.5 8.2.1, ITU-T T.81.
    """
    if start_of_frame(codestream) not in _FRAMES:
        raise ValueError("the codestream is neither baseline, extended nor lossless JPEG")
    return np.asarray(jpeg8_decode(codestream))
