"""pipeline: all steps in one session, from input files to the published run; without --run-id a new run is made."""

from graphseam.pipeline import submit
from graphseam.runs import STEPS

if __name__ == "__main__":
    submit(*STEPS)
