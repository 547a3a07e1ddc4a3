"""`python -m graphseam.cli` is the command `graphseam`."""

from graphseam.cli import main

if __name__ == "__main__":
    main()
