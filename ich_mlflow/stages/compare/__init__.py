"""The stage `compare`: its options, what it does, and its helpers."""
