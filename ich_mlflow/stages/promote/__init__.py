"""The stage `promote`: its options, what it does, and its helpers."""
