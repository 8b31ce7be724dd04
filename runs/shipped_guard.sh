#!/usr/bin/env bash
# Make the guard that custodes ships. Needs the public training sets (CUSTODES_DATA_DIR) and about
# forty minutes of one core the first time; features are cached, so again takes a fraction.
# The small twin is runs/quickstart.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/shipped}
custodes="$BIN/custodes"

# English in depth, other languages in breadth, public jailbreak templates around public requests,
# people's prompts.
$custodes synth --constitution default --seed 0 --out "$OUT/english" \
    --set rows=120 --set 'languages=[en]' --set 'sides={input: 0.75, exchange: 0.25}' --set varied=0.2
$custodes synth --constitution default --seed 1 --out "$OUT/languages" \
    --set rows=12 --set 'languages=[es,de,fr,zh]' --set 'sides={input: 1.0}' --set varied=0.1
$BIN/python runs/jailbreaks.py "$OUT/jailbreaks.parquet" --each 1
$BIN/python runs/people.py "$OUT/people.parquet" "$OUT/pool.parquet"

# Only sets whose licence lets trained weights be released; custodes refuses the others.
$custodes train --constitution default --config runs/shipped_guard.yaml --out "$OUT/run" \
    --examples "$OUT/english/examples.parquet" --examples "$OUT/languages/examples.parquet" \
    --examples "$OUT/jailbreaks.parquet" --examples "$OUT/people.parquet" \
    --examples catqa --examples harmfulqa --examples gptfuzz_questions --examples cyberseceval_mitre \
    --examples gptfuzz_labelled_train --examples gpteacher_codegen --examples gpteacher_roleplay \
    --examples gsm8k_test --examples oasst_zh --examples awesome_prompts \
    --examples glaive_toolcall_300 --examples refusal_direction_harmless

# The benign pool: prompts of people to chat models that no stage was trained on.
$custodes calibrate --guard "$OUT/run/guard" --out "$OUT/guard" --budget 0.005 --most-rows 800 \
    --examples "$OUT/run/calibration.parquet" --benign "$OUT/pool.parquet"

# Its place, and its card; then measure it and complete the card with the figures.
$BIN/python runs/shipped_card.py "$OUT/guard"
$BIN/python benchmarks/guard/run.py --size full --part quality --label 'shipped guard'
$BIN/python runs/shipped_card.py "$OUT/guard"
