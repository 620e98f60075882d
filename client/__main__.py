"""`python -m client upload FOLDER --site SITE`, or `winnow upload ...` where `make client` has made that one file."""

import sys

from client.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
