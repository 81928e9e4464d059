"""The tools that come with Pulser: one module each, ``TOOL`` says what it is."""
