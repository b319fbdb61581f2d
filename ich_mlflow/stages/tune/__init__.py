"""The stage `tune`: its options, what it does, and its helpers."""
