"""What the operating system does for the rest: files that are whole or not there."""
