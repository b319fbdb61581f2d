"""`mlflow run . -e tune`: TuneOptions in, ich_mlflow/stages/tune/tune.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import TuneOptions

if __name__ == "__main__":
    sys.exit(launch(TuneOptions, "ich_mlflow.stages.tune.tune:tune"))
