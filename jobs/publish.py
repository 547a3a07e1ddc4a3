"""publish: one row in runs, once the run is whole: from then on the views show it."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("publish")
