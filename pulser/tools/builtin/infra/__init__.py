"""Arkie's tools: is this configuration sound, and how many instances will the load take."""
