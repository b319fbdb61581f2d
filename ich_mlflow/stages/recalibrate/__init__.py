"""The stage `recalibrate`: its options, what it does, and its helpers."""
