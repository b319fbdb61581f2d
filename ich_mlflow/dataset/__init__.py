"""The stored set on disk: built from a source, split by patient, read in batches."""
