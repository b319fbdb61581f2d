"""One module an entry point, of the same name; results.py is what train and evaluate have in common."""
