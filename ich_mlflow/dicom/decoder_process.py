"""What dicom/decoders.py starts: decodes codestreams from its standard input, within so many bytes of memory."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from ich_mlflow.dicom.decoders import ANSWER, REQUEST
from ich_mlflow.dicom.pixels import decode


def main() -> None:
    """Until the input ends. A byte first, when it is ready."""
    read, out = sys.stdin.buffer.read, sys.stdout.buffer
    limit_memory(int(sys.argv[1]))
    out.write(b"r")
    out.flush()
    while len(sizes := read(REQUEST.size)) == REQUEST.size:
        num_tags, num_frame = REQUEST.unpack(sizes)
        tags, frame = json.loads(read(num_tags)), read(num_frame)
        try:
            values = np.ascontiguousarray(decode(image_of(frame, tags), frame))
            rows, columns = values.shape
            said = ANSWER.pack(b"y", values.dtype.str.encode("ascii"), rows, columns) + values.tobytes()
        except Exception:  # whatever it stumbles over, it can't be decoded
            said = ANSWER.pack(b"n", b"", 0, 0)
        out.write(said)
        out.flush()


def image_of(frame: bytes, tags: dict[str, Any]) -> Dataset:
    """As much of an image as decoding its frame needs."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(tags["TransferSyntaxUID"])
    for name, value in tags.items():
        if name != "TransferSyntaxUID":
            setattr(dataset, name, value)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def limit_memory(more: int) -> None:
    """Let this process have so many bytes more than it has now. Where the system has no such limit, there is none."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
