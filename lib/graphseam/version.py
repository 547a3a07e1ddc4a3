"""The version, which the package, its metadata and every run's record take from here."""

__version__ = "0.2.0"
