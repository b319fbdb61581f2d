"""Entry points: flags in, one stage run."""
