"""``python -m bertrec`` is the program ``bertrec``."""

import sys

from bertrec.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
