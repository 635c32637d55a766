"""The console's commands over pools, under load."""

TESTS = []
