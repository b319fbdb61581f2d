"""The stage `preprocess`: its options, what it does, and its helpers."""
