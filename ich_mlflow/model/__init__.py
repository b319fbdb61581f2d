"""Keras graphs: pixels in Hounsfield units to logits' probabilities. No files, no MLflow."""
