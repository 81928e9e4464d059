"""Puts the rooms together: the only place that knows which database, delivery and workers are meant."""
