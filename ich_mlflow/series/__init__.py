"""What a series is, by its headers: non-contrast head CT or not, and which of several is best."""
