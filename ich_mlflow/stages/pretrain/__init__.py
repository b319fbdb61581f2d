"""The stage `pretrain`: its options, what it does, and its helpers."""
