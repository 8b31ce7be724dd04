#!/usr/bin/env bash
# The main job, small: constitution -> examples -> guard -> calibration -> report -> a live stream.
# About five minutes on two cores. Everything is written below out/quickstart; run it again and only
# what is missing is made. A full-sized twin is runs/shipped_guard.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/quickstart}
custodes="$BIN/custodes"

say() { printf '\n== %s\n' "$*"; }

say "1/5 the default constitution"
$custodes constitution check default

say "2/5 write labelled examples from it (grammar, no model needed)"
$custodes synth --constitution default --size tiny --set rows=32 --seed 0 \
    --set 'languages=[en]' --out "$OUT/synth"

say "3/5 train: hashed n-grams, then activations of the embedded model (fetched once)"
$custodes train --constitution default --size tiny --kept-out 0.2 \
    --examples "$OUT/synth/examples.parquet" --out "$OUT/run"

say "4/5 calibrate to 5 % false refusals on rows kept out of training, then evaluate"
$custodes calibrate --guard "$OUT/run/guard" --examples "$OUT/run/calibration.parquet" --budget 0.05
sets=()
if [ -n "${CUSTODES_DATA_DIR:-}" ]; then
    for set in simplesafetytests mt_vicuna_bench humaneval; do sets+=(--sets "$set"); done
else
    echo "CUSTODES_DATA_DIR is not set: measuring on generated rows alone, which flatters any guard."
fi
$custodes evaluate --guard "$OUT/run/guard" --examples "$OUT/run/test.parquet" \
    ${sets[@]+"${sets[@]}"} --rows 600 --out "$OUT/report"

say "5/5 two replies on their way through the guard"
$BIN/python examples/stream.py "$OUT/run/guard"

say "done: the report lies at $OUT/report/report.html"
