"""prune: remove runs that the [prune] section does not keep from every table, then files that no table needs."""

from graphseam.prune import submit_prune

if __name__ == "__main__":
    submit_prune()
