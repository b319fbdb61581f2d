"""How good a model is on slices with known labels: arrays in, numbers out; no files and no MLflow."""
