"""`python -m anime_ai`."""

import sys

from anime_ai.cli import main

if __name__ == "__main__":
    sys.exit(main())
