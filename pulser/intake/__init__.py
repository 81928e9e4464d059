"""Where work comes in: validated, routed, ranked and written in one transaction."""
