#!/usr/bin/env bash
# The check on a real GPU, in the repository's root or from anywhere: docs/gpu.md says what it measures.
#
#   tests/gpu/check.sh [part1 | part2 | all] [--again] [--only SECTION ...]
#   tests/gpu/check.sh unpack          # only unpack what build/gpu holds: Spark's jars come in several calls
#
# Results: $OUT/gpu-check.json and $OUT/gpu-check.log (build/gpu-results unless OUT is set). Without a GPU it is a dry run.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-build/gpu-results}
SCRATCH=${GPU_CHECK_SCRATCH:-/tmp/graphseam-gpu}
export OUT GPU_CHECK_SCRATCH="$SCRATCH"
mkdir -p "$OUT" "$SCRATCH"

# What build/gpu holds and this machine has not unpacked yet. A machine that is still warm has kept the earlier parts.
unpack() {
  local archive mark target
  for archive in build/gpu/*.tar build/gpu/*.tar.gz; do
    [ -f "$archive" ] || continue
    mark="$SCRATCH/.unpacked-$(basename "$archive")"
    [ "$mark" -nt "$archive" ] && continue
    case $archive in
      */jars-*) target="$SCRATCH/site/pyspark/jars" ;;
      *) target="$SCRATCH" ;;
    esac
    mkdir -p "$target"
    tar -xf "$archive" -C "$target" --no-same-owner
    touch "$mark"
    echo "unpacked $archive"
  done
}

check() {
  export PYTHONPATH="$PWD/lib:$PWD/tests" PYTHONUNBUFFERED=1
  # a Python that has Spark keeps its own; what is packed is for another version of Python
  "$PYTHON" -c 'import pyspark, pymetis' 2>/dev/null || PYTHONPATH="$PYTHONPATH:$SCRATCH/site"
  if [ -x "$SCRATCH/jre/bin/java" ]; then export JAVA_HOME="$SCRATCH/jre"; fi
  "$PYTHON" -m gpu.check "$@"
}

unpack
[ "${1:-}" = unpack ] && exit 0
check "$@" 2>&1 | tee "$OUT/gpu-check.log"
