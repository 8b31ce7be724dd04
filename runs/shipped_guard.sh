#!/usr/bin/env bash
# Make the guard that custodes ships, and its two twins of other seeds, and measure all three. Needs
# the public training sets (CUSTODES_DATA_DIR) and about three hours of one core the first time;
# what layers say of texts is cached, so a second seed takes some twenty-five minutes.
# The small twin is runs/quickstart.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/shipped}
SEEDS=${SEEDS:-0 1 2}
custodes="$BIN/custodes"

source runs/guard_rows.sh
# Replies as the guarded model writes them, beside those of the grammars.
$BIN/python runs/answered.py "$OUT/english/examples.parquet" "$OUT/answered.parquet" --rows 208
sources+=(--examples "$OUT/answered.parquet")

guards=()
for seed in $SEEDS; do
    $custodes train --constitution default --config runs/shipped_guard.yaml --set seed="$seed" \
        --out "$OUT/run$seed" "${sources[@]}"
    # The benign pool: prompts of people to chat models that no stage was trained on.
    $custodes calibrate --guard "$OUT/run$seed/guard" --out "$OUT/guard$seed" --budget 0.005 \
        --most-rows 800 --escalate 0.1 \
        --examples "$OUT/run$seed/calibration.parquet" --benign "$OUT/pool.parquet"
    guards+=(--guard "$OUT/guard$seed")
done

# The first seed's goes to its place, and its card is completed once there are figures.
$BIN/python runs/shipped_card.py "$OUT/guard0"
$BIN/python benchmarks/guard/run.py --size full --part quality --part transforms "${guards[@]}" \
    --label 'shipped guard'
$BIN/python runs/shipped_card.py "$OUT/guard0"
