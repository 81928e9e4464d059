"""The log of what happened: its catalogue, how it is read and followed."""
