"""What dicom/probe.py starts: decodes JPEG-LS codestreams from its standard input, and says y or n to each.

Run by its path, so that it starts with nothing but NumPy and the decoder.
"""

import struct
import sys


def main() -> None:
    """Until the input ends. A byte first, when it is ready."""
    import jpeg_ls
    import numpy as np

    read, out = sys.stdin.buffer.read, sys.stdout.buffer
    out.write(b"r")
    out.flush()
    while len(size := read(8)) == 8:
        data = read(struct.unpack("<Q", size)[0])
        try:
            jpeg_ls.decode(np.frombuffer(data, np.uint8))
            said = b"y"
        except Exception:  # whatever it stumbles over, it can't be decoded
            said = b"n"
        out.write(said)
        out.flush()


if __name__ == "__main__":
    main()
