"""The machine beneath: whole files, locks, processes, quiet output, provenance, the Spark session."""
