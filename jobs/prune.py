"""prune: remove from every table the runs that [prune] does not keep, then the files that no table needs."""

from graphseam.prune import submit_prune

if __name__ == "__main__":
    submit_prune()
