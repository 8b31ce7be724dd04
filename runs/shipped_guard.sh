#!/usr/bin/env bash
# Make the guard that custodes ships, and its twins of other seeds. Needs the public training sets
# (CUSTODES_DATA_DIR), some ninety minutes of one core for the first seed and half an hour for each
# other: what the language model says of the rows is kept.
# The small twin is runs/quickstart.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/shipped}
custodes="$BIN/custodes"

source runs/guard_rows.sh
guards=()
for seed in ${SEEDS:-0 1 2}; do
    $custodes train --constitution default --config runs/shipped_guard.yaml --set seed="$seed" \
        --out "$OUT/$seed" "${sources[@]}"
    # The benign pool: prompts of people to chat models that no stage was trained on.
    $custodes calibrate --guard "$OUT/$seed/guard" --out "$OUT/guard-$seed" --budget 0.005 \
        --most-rows 300 --alone attacks=0.25 \
        --examples "$OUT/$seed/calibration.parquet" --benign "$OUT/pool.parquet"
    # People's prompts have no replies: what is judged with and without its question has its own pool.
    $BIN/python runs/replies_pool.py "$OUT/replies_pool-$seed.parquet" --seed "$seed"
    $custodes calibrate --guard "$OUT/guard-$seed" --budget 0.005 \
        --benign "$OUT/replies_pool-$seed.parquet" --mode exchange --mode output
    guards+=(--guard "$OUT/guard-$seed")
done

# The first one's place, and its card; then measure all and complete the card with the figures.
$BIN/python runs/shipped_card.py "$OUT/guard-0"
$BIN/python benchmarks/guard/run.py --size full --part quality --part transforms \
    --label 'shipped guard' "${guards[@]}"
$BIN/python runs/shipped_card.py "$OUT/guard-0"
