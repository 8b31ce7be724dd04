#!/usr/bin/env bash
# Make the guard that custodes ships. Needs the public training sets (CUSTODES_DATA_DIR) and about
# forty minutes of one core the first time; features are cached, so again takes a fraction.
# The small twin is runs/quickstart.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/shipped}
custodes="$BIN/custodes"

source runs/guard_rows.sh
$custodes train --constitution default --config runs/shipped_guard.yaml --out "$OUT/run" "${sources[@]}"

# The benign pool: prompts of people to chat models that no stage was trained on.
$custodes calibrate --guard "$OUT/run/guard" --out "$OUT/guard" --budget 0.005 --most-rows 800 \
    --examples "$OUT/run/calibration.parquet" --benign "$OUT/pool.parquet"

# Its place, and its card; then measure it and complete the card with the figures.
$BIN/python runs/shipped_card.py "$OUT/guard"
$BIN/python benchmarks/guard/run.py --size full --part quality --part transforms --label 'shipped guard'
$BIN/python runs/shipped_card.py "$OUT/guard"
