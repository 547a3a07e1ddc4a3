"""jobs/embed.py under spark-submit; --help shows what it reads and writes, lib/graphseam/steps.py what it runs."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("embed")
