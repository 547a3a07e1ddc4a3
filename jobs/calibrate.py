"""calibrate: what each step costs on this cluster, from a few runs over made-up graphs; `graphseam plan` reads it."""

from graphseam.calibrate import submit

if __name__ == "__main__":
    submit()
