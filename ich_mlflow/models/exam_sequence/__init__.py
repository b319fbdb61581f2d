"""The exam sequence: a small network over the slices of a series, on what a slice CNN says of each, and its twin."""
