"""jobs/pipeline.py under spark-submit: all steps in one session, from input files to the published run."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("pipeline")
