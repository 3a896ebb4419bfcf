"""See `tests.study.study`, which is a module of its own so that the processes it starts can import it."""

import sys

from tests.study.study import main

if __name__ == "__main__":
    sys.exit(main())
