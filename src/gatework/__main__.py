"""`python -m gatework`: the `gatework` command, where it is not on the path."""

import sys

from gatework.cli import main

if __name__ == "__main__":
    sys.exit(main())
