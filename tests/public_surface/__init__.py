"""What users meet, held still while modules move.

Each test compares what the package does now with a JSON file under recorded/, which the code of 0.1 wrote. A change
that is meant is recorded anew by `RECORD_SURFACE=1 python -m pytest tests/public_surface`, and the difference read
before it is committed. What was taken away on purpose stands in a table of the test with its reason.
"""
