"""MLflow: runs and registry. With serving/, its only importer."""
