"""Write one CT slice as DICOM, with the tags that a file of RSNA 2019 has."""

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from ich_mlflow.ct.hounsfield import WRAP
from ich_mlflow.errors import OptionError

#: Syntaxes by the names that `Encoding.syntax` takes.
_NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "big_endian": ExplicitVRBigEndian,
}
_BY_PYDICOM = {"rle": RLELossless, "jpeg_ls": JPEGLSLossless, "jpeg_2000": JPEG2000Lossless}
_BY_GDCM = {"jpeg_lossless": "JPEGLosslessProcess14", "jpeg_lossless_sv1": "JPEGLosslessProcess14_1"}
SYNTAXES = (*_NATIVE, *_BY_PYDICOM, *_BY_GDCM)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How HU become a file.

    bits_stored: 12 or 16. signed: PixelRepresentation 1. intercept: RescaleIntercept.
    wrapped: negative HU are stored modulo 4096 and the intercept is not subtracted, as in 123 files of RSNA.
    padding: stored value that is put into pixels below -1024 HU and named in PixelPaddingValue; None: neither.
    windows: several values of WindowCenter and WindowWidth, with leading zeros. syntax: one of SYNTAXES.
    """

    bits_stored: int = 16
    signed: bool = True
    intercept: int = -1024
    wrapped: bool = False
    padding: int | None = None
    windows: bool = False
    syntax: str = "explicit"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who and where: UIDs as RSNA writes them (no valid UIDs), ImagePositionPatient and -Orientation, mm."""

    sop_uid: str
    patient_id: str
    study_uid: str
    series_uid: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]


def require_encoders() -> None:
    """Raise OptionError unless all of SYNTAXES can be written here."""
    try:
        importlib.import_module("gdcm")
    except ImportError:
        raise OptionError("writing JPEG lossless files needs python-gdcm: pip install -e '.[dev]'") from None


def write_slice(path: Path, hu: np.ndarray, identity: Identity, encoding: Encoding) -> None:
    """Write HU int16 [H, W] to `path`. What the encoding can't hold is clipped to its range."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[identity.sop_uid])
    meta.TransferSyntaxUID = _NATIVE.get(encoding.syntax, ExplicitVRLittleEndian)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = identity.sop_uid
    dataset.Modality = "CT"
    dataset.PatientID = identity.patient_id
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.StudyID = ""
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in identity.position]
    dataset.ImageOrientationPatient = [f"{value:.6g}" for value in identity.orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.PixelSpacing = [f"{value:.6g}" for value in identity.pixel_spacing_mm]
    dataset.BitsAllocated = 16
    dataset.BitsStored = encoding.bits_stored
    dataset.HighBit = encoding.bits_stored - 1
    dataset.PixelRepresentation = int(encoding.signed)
    if encoding.padding is not None:
        dataset.PixelPaddingValue = encoding.padding
    many = encoding.windows
    dataset.WindowCenter = ["00040", "00600"] if many else "40"
    dataset.WindowWidth = ["00080", "02800"] if many else "80"
    dataset.RescaleIntercept, dataset.RescaleSlope = str(encoding.intercept), "1"
    values = _stored_values(hu, encoding)
    dataset.PixelData = values.astype(">u2" if encoding.syntax == "big_endian" else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    _compress(dataset, encoding.syntax)
    pydicom.dcmwrite(
        path,
        dataset,
        implicit_vr=encoding.syntax == "implicit",
        little_endian=encoding.syntax != "big_endian",
        enforce_file_format=True,
    )


def hu_range(encoding: Encoding) -> tuple[int, int]:
    """The lowest and highest HU that the encoding holds."""
    if encoding.wrapped:
        return -1000, WRAP - 1001
    bits = encoding.bits_stored
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if encoding.signed else (0, 2**bits - 1)
    return lowest + encoding.intercept, highest + encoding.intercept


def _stored_values(hu: np.ndarray, encoding: Encoding) -> np.ndarray:
    values = np.clip(hu.astype(np.int32), *hu_range(encoding))
    values = values % WRAP if encoding.wrapped else values - encoding.intercept
    if encoding.padding is not None:
        values[hu < -1024] = encoding.padding
    return values.astype(np.uint16) if not encoding.signed else values.astype(np.int16).view(np.uint16)


def _compress(dataset: FileDataset, syntax: str) -> None:
    if syntax in _BY_PYDICOM:
        dataset.compress(_BY_PYDICOM[syntax], generate_instance_uid=False)
    elif syntax in _BY_GDCM:
        _compress_by_gdcm(dataset, _BY_GDCM[syntax])


def _compress_by_gdcm(dataset: FileDataset, syntax: str) -> None:
    """JPEG lossless, which nothing else at hand can encode."""
    import gdcm  # an extra: only the making of such files needs it

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = f"{folder}/plain.dcm", f"{folder}/packed.dcm"
        dataset.save_as(plain, enforce_file_format=True)
        reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
        change = gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(plain)
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        done = reader.Read()
        change.SetInput(reader.GetImage())
        done = done and change.Change()
        writer.SetFileName(packed)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not (done and writer.Write()):
            raise RuntimeError(f"gdcm can't encode {syntax}")
        # Only the pixels are taken over: gdcm edits other tags as it sees fit.
        written = pydicom.dcmread(packed)
        dataset.PixelData = written.PixelData
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = written.file_meta.TransferSyntaxUID
