"""Tools for documentation: format, changelog, API reference, links."""
