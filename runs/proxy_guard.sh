#!/usr/bin/env bash
# The guard of the proxy domain (home fermentation, harmless): constitution -> examples -> guard ->
# calibration. Some twenty minutes of one core; features and replies are cached, so again takes a
# fraction. With CUSTODES_DATA_DIR, ordinary traffic of the public sets is trained on and calibrated
# on, too; without it, generated rows alone, which flatters.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/proxy}
CONSTITUTION=${CONSTITUTION:-fermentation}
custodes=${CUSTODES:-"$BIN/custodes"}

$custodes synth --constitution "$CONSTITUTION" --seed 0 --out "$OUT/synth" \
    --set rows="${ROWS:-150}" --set 'sides={input: 0.6, exchange: 0.4}' --set varied=0.35

# A model's replies do not read like the grammar's: what the guarded model itself says to the same prompts.
"$BIN/python" runs/answered.py "$OUT/synth/examples.parquet" "$OUT/answered.parquet" \
    --rows "${ANSWERED:-300}" --model 'embedded={"dtype": "int8"}'

examples=(--examples "$OUT/synth/examples.parquet" --examples "$OUT/answered.parquet")
# The benign pool holds the permitted rules' own rows, too: on ordinary traffic alone, which never speaks
# of food, a threshold could stop all of cooking and keep its budget.
benign=(--benign "$OUT/run/calibration.parquet")
if [ -n "${CUSTODES_DATA_DIR:-}" ]; then
    for set in gpteacher_codegen gpteacher_roleplay gsm8k_test awesome_prompts; do
        examples+=(--examples "$set")
    done
    for set in arena_1k_prompts self_instruct; do benign+=(--benign "$set"); done
fi
$custodes train --constitution "$CONSTITUTION" --config runs/proxy_guard.yaml --out "$OUT/run" \
    "${examples[@]}"
$custodes calibrate --guard "$OUT/run/guard" --examples "$OUT/run/calibration.parquet" \
    --out "$OUT/guard" --budget "${BUDGET:-0.0075}" --most-rows 400 ${benign[@]+"${benign[@]}"}
# The same guard as a cascade: the first stage passes a tenth of benign traffic on to the second.
if [ "${CASCADE:-1}" = 1 ]; then
    $custodes calibrate --guard "$OUT/run/guard" --examples "$OUT/run/calibration.parquet" \
        --out "$OUT/cascade" --budget "${BUDGET:-0.0075}" --most-rows 400 --escalate 0.1 \
        ${benign[@]+"${benign[@]}"}
fi
