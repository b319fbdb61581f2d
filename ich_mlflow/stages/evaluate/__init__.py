"""The stage `evaluate`: its options, what it does, and its helpers."""
