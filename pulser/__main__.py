"""``python -m pulser`` is ``pulser``."""

from pulser.cli import main

if __name__ == "__main__":
    main()
