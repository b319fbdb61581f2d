"""The stage `demonstrate`: its options, what it does, and its helpers."""
