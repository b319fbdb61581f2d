"""The weights that come with ich_mlflow: data alone, beside the package, whose code every model version carries.

docs/weights.md says how they were made, NOTICE whose they are.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
