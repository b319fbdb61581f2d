"""Entry points: flags in, one workflow call out."""
