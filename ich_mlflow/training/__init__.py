"""Hyperparameters and recipes, augmentation, and the fit itself."""
