"""gate: metrics -> gate_checks; ends with 1 where the run is worse than the last published one (gate.max_drop)."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("gate")
