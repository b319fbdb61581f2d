"""The search over hyperparameters. The only importer of Optuna."""
