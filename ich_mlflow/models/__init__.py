"""Kinds of networks, a folder each; losses and files of weights, which they share. No MLflow."""
