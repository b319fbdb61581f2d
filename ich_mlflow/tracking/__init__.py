"""MLflow: runs, registry, and the plugin that MLflow loads at start. With serving/, its only importer."""

# MLflow loads tracking.plugin while it is being imported itself. Were the plugin first to import it, the
# plugin would be asked for while half made.
import mlflow  # noqa: F401
