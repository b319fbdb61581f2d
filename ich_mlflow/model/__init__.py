"""Keras graphs: pixels in Hounsfield units to logits' probabilities. No files, no MLflow.

Importing it registers the project's layers and losses with Keras, so that saved models load.
"""

from ich_mlflow.model import layers, loss

__all__ = ["layers", "loss"]
