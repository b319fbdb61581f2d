"""The stage `train`: its options, what it does, and its helpers."""
