"""Long campaigns against the promises about interruption and untrusted files; the tests run a small part of them.

    python -m tests.campaign kills --count 200     # runs that are killed at random moments, and resumed
    python -m tests.campaign inputs --count 5000   # mutated files through every reader, some through the scripts

Every case has a number, from which its random choices follow: `--only N` runs it again. What fails is kept in
`--out_dir`. Exits with 1 when anything failed.
"""

import argparse
import os
import resource
import sys

from tests.campaign.cases import inputs, kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=("kills", "inputs"))
    parser.add_argument("--count", type=int, default=200, help="kills, or inputs")
    parser.add_argument("--scripts", type=int, default=200, help="how many of the inputs go through the real scripts")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="run this input alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="inputs at once")
    parser.add_argument("--reasons", type=int, default=20, help="list so many of the most frequent messages")
    parser.add_argument("--out_dir", default="experiments/campaign", help="where it works, and leaves what failed")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return {"kills": kills, "inputs": inputs}[args.campaign](args)


if __name__ == "__main__":
    sys.exit(main())
