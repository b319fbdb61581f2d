"""The stage `main`: its options, what it does, and its helpers."""
