"""Alembic's scripts, for both databases."""
