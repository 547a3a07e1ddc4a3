#!/usr/bin/env bash
# Fills build/gpu with what tests/gpu/check.sh needs and the machine with the GPU lacks: `make gpu-pack`. That machine
# has no network, takes at most 64 MiB a call (this checkout counts, 3 MB), and has torch on Python 3.12, but no Spark.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}
PACK=build/gpu
MOST_BYTES=$((56 << 20))
SITE=$("$PYTHON" -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parents[1])')
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$PACK"
rm -f "$PACK"/*.tar "$PACK"/*.tar.gz

# Python files are the same for every version; METIS is compiled, so its wheel for that machine's Python is fetched.
pack_site() {
  local version
  mkdir -p "$WORK/site"
  (cd "$SITE" && tar --exclude=__pycache__ --exclude=pyspark/jars --exclude=pyspark/examples --exclude=pyspark/data \
    --exclude='pyspark/graphseam-classes-*' -cf - pyspark py4j delta graphframes pyspark-*.dist-info py4j-*.dist-info \
    delta_spark-*.dist-info graphframes_py-*.dist-info) | tar -C "$WORK/site" -xf -
  version=$("$PYTHON" -c 'from importlib.metadata import version; print(version("pymetis"))')
  "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 -d "$WORK/wheels" "pymetis==$version"
  "$PYTHON" -m zipfile -e "$WORK"/wheels/pymetis-*.whl "$WORK/site"
  tar -C "$WORK" -czf "$PACK/site.tar.gz" site
}

# Those of ../shared stay out of the repository: build/ is ignored by git.
pack_graphs() {
  local name
  mkdir -p "$WORK/graphs"
  cp -r tests/data/lastfm_asia "$WORK/graphs/"
  for name in ppi blogcatalog ca_condmat; do
    if [ -d "../shared/data/$name" ]; then
      mkdir -p "$WORK/graphs/$name"
      cp ../shared/data/"$name"/*.parquet "$WORK/graphs/$name/"
    else
      echo "gpu-pack: ../shared/data/$name is not here, and the check will miss it" >&2
    fi
  done
  tar -C "$WORK" -czf "$PACK/graphs.tar.gz" graphs
}

# What Spark, Hadoop's client, Delta and log4j name by reflection too, so more than jdeps would list: an error there
# would cost a call. java.desktop: java.beans, which Jackson and Hadoop look for.
pack_jre() {
  local modules=java.base,java.compiler,java.datatransfer,java.desktop,java.instrument,java.logging,java.management
  modules+=,java.management.rmi,java.naming,java.net.http,java.prefs,java.rmi,java.scripting,java.security.jgss
  modules+=,java.security.sasl,java.sql,java.transaction.xa,java.xml,java.xml.crypto,jdk.attach,jdk.charsets
  modules+=,jdk.crypto.ec,jdk.httpserver,jdk.incubator.vector,jdk.jfr,jdk.management,jdk.naming.dns
  modules+=,jdk.net,jdk.nio.mapmode,jdk.security.auth,jdk.security.jgss,jdk.unsupported,jdk.xml.dom,jdk.zipfs
  jlink --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --compress=2 \
    --generate-cds-archive --output "$WORK/jre" >/dev/null
  rm -f "$WORK/jre/lib/server/classes_nocoops.jsa"  # for heaps above 32 GB
  tar -C "$WORK" -czf "$PACK/jre.tar.gz" jre
}

# Left out are the jars of what no session of ours asks for: other cluster managers, Hive and its metastore, Spark
# Connect, MLlib and its linear algebra, the Scala shell, native libraries of other systems. Everything that Spark's
# core, its SQL, Hadoop's client, Delta and Unity Catalog's client (which Delta links) may load stays.
# `jdeps --missing-deps` finds no class of Spark's core, SQL and network or of Delta that names one left out.
left_out='^(kubernetes-|vertx-|volcano-|zjsonpatch-|spark-(kubernetes|yarn|connect_|connect-client|mllib|hive|repl|pipelines)'
left_out+='|breeze|spire|cats-kernel|algebra_|JTransforms|JLargeArrays|arpack|lapack|blas-'
left_out+='|hive-(beeline|cli|common|exec|jdbc|metastore|serde|service|shims)|datanucleus|derby|javax\.jdo|jdo-api|HikariCP'
left_out+='|scala-compiler|jline|rocksdbjni|netty-.*-(osx|windows|linux-aarch|linux-riscv))'

pack_jars() {
  local rocks part
  mkdir -p "$WORK/jars"
  find "$SITE/pyspark/jars" -maxdepth 1 -name '*.jar' -printf '%f\n' | grep -vE "$left_out" | sort > "$WORK/names"
  (cd "$SITE/pyspark/jars" && xargs cp -t "$WORK/jars" < "$WORK/names")
  # 72 MB for a dozen systems, larger than a call: its classes, which Spark links, and Linux' library alone
  for rocks in "$SITE"/pyspark/jars/rocksdbjni-*.jar; do
    cp "$rocks" "$WORK/jars/"
    "$PYTHON" -m gpu.slim_jar "$WORK/jars/$(basename "$rocks")" librocksdbjni-linux64.so
  done
  (cd "$WORK/jars" && stat -c '%s %n' -- *.jar) | sort -rn | awk -v most="$MOST_BYTES" '
    { for (part = 1; part <= parts && held[part] + $1 > most; part++); if (part > parts) parts = part
      held[part] += $1 + 1024; print part, $2 }' > "$WORK/parts"
  for part in $(cut -d' ' -f1 "$WORK/parts" | sort -un); do
    awk -v part="$part" '$1 == part { print $2 }' "$WORK/parts" | tar -C "$WORK/jars" -cf "$PACK/jars-$part.tar" -T -
  done
}

# The calls as the device tool takes them: a command, and the ignored files that travel with the checkout. The last part
# of the jars, which is seldom full, goes with the rest if a call takes them together.
print_calls() {
  local archive parts=("$PACK"/jars-*.tar) last=("$PACK/jre.tar.gz" "$PACK/site.tar.gz" "$PACK/graphs.tar.gz")
  if [ "$(cat "${last[@]}" "${parts[-1]}" | wc -c)" -le "$MOST_BYTES" ]; then
    last+=("${parts[-1]}")
    unset 'parts[-1]'
  fi
  echo; du -h --apparent-size "$PACK"/*.tar "$PACK"/*.tar.gz; echo
  echo "Part 1, one call, timeout_s 540:"
  echo "  run command=\"tests/gpu/check.sh part1\" carry=[\"$PACK/site.tar.gz\", \"$PACK/graphs.tar.gz\"]"
  echo "If it broke off, copy the gpu-check.json that came back to build/gpu-results, and add \"build/gpu-results\" to carry."
  echo
  echo "Part 2, one after the other while the machine is warm (30 s), timeout_s 120 for all but the last, which takes 400:"
  for archive in "${parts[@]}"; do
    echo "  run command=\"tests/gpu/check.sh unpack\" carry=[\"$archive\"]"
  done
  echo "  run command=\"tests/gpu/check.sh part2\" carry=[$(printf '"%s", ' "${last[@]}" | sed 's/, $//')]"
}

export PYTHONPATH=tests
pack_site
pack_graphs
pack_jre
pack_jars
for archive in "$PACK"/*.tar "$PACK"/*.tar.gz; do
  if [ "$(stat -c %s "$archive")" -gt $((60 << 20)) ]; then
    echo "gpu-pack: $archive is larger than a call takes" >&2
    exit 1
  fi
done
print_calls
