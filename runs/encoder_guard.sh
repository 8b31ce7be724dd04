#!/usr/bin/env bash
# A guard that reads through a tuned MiniLM: twenty times cheaper than the shipped one, and weaker
# (benchmarks/guard). Needs the public training sets (CUSTODES_DATA_DIR), the extra `train`, and
# about half an hour of one core.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/encoder}
custodes="$BIN/custodes"

source runs/guard_rows.sh
$custodes train --constitution default --config runs/encoder_guard.yaml --out "$OUT/run" "${sources[@]}"

# The benign pool: prompts of people to chat models that no stage was trained on.
$custodes calibrate --guard "$OUT/run/guard" --out "$OUT/guard" --budget 0.005 --most-rows 800 \
    --examples "$OUT/run/calibration.parquet" --benign "$OUT/pool.parquet"

$BIN/python benchmarks/guard/run.py --size full --part quality --guard "$OUT/guard"
