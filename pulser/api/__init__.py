"""The HTTP API, one file per noun, named as in the URL. Doors translate; they decide nothing."""
