"""Tools for code: lint and tests."""
