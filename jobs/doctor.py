"""doctor: check what the driver and each executor have, before a run is submitted."""

from graphseam.doctor import submit

if __name__ == "__main__":
    submit()
