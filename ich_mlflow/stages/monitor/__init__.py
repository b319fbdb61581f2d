"""The stage `monitor`: its options, what it does, and its helpers."""
