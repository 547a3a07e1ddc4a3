"""export: one run's rows of a public table or view, as Parquet files in a directory."""

from graphseam.export import submit_export

if __name__ == "__main__":
    submit_export()
