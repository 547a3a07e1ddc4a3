"""The version: the single source for the package, its metadata and every run's record."""

__version__ = "0.2.0"
