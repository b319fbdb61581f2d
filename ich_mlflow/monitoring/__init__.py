"""What a deployed model saw: its records without identity, the log that holds them, and tests for drift."""
