"""Nouns and rules. Pure: nothing here reads a file, a socket, a clock or the environment by itself."""
