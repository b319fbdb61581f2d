"""MLflow: runs, registry, and the plugin that MLflow loads at start. With serving/, its only importer."""
