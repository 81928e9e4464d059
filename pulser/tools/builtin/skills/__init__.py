"""Learnbot's tools: what went wrong, made into something known."""
