"""Where real CT may lie that is no part of the project. The only place that says so."""

import os
from pathlib import Path

import pytest

#: PhysioNet's CT-ICH in one of its layouts: the folder that ICH_CT_ICH names, or one beside the repository.
CT_ICH = Path(os.environ.get("ICH_CT_ICH") or Path(__file__).parents[2] / "shared" / "ct-ich")
needs_ct_ich = pytest.mark.skipif(
    not CT_ICH.is_dir(),
    reason=f"CT-ICH, which is no part of the project, is not at {CT_ICH}: set ICH_CT_ICH to its folder",
)
