"""The stage `predict`: its options, what it does, and its helpers."""
