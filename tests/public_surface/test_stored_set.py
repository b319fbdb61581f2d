"""The stored set is what it was: files, columns and kinds of number, manifest, and on fixed phantoms every bit."""

import json

import numpy as np
import pandas as pd

from tests.public_surface.recorded import expect, expect_bits, floats, is_recorded_on_this_machine, names_in


def test_its_format_is_the_recorded_one(phantoms):
    manifest = json.loads((phantoms / "manifest.json").read_text())
    shard = np.load(phantoms / "hu-00000.npy")
    columns = pd.read_parquet(phantoms / "slices.parquet").dtypes
    now = {
        "files": sorted(path.name for path in phantoms.iterdir()),
        "manifest": names_in(manifest),
        "schema_version": manifest["schema_version"],
        "columns": {name: str(kind) for name, kind in columns.items()},
        "shard": {"dtype": shard.dtype.str, "size": list(shard.shape[1:])},
        "quarantine": (phantoms / "quarantine.csv").read_text().splitlines()[0],
    }
    expect("stored-set-format", now)


def test_the_same_phantoms_give_the_same_set(phantoms, hu):
    """The digest is the manifest's own, of pixels, identity, labels and split."""
    expect_bits("stored-set-pixels", {"mean_hu": floats(hu.mean(axis=(1, 2)))}, tolerance=0.5)
    if is_recorded_on_this_machine("stored-set-pixels"):  # the phantoms' noise may round otherwise elsewhere
        expect("stored-set-digest", json.loads((phantoms / "manifest.json").read_text())["digest"])
