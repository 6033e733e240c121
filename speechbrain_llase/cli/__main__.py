"""`python -m speechbrain_llase.cli` runs the command line."""

import sys

from speechbrain_llase.cli import main

if __name__ == "__main__":
    sys.exit(main())
