#!/usr/bin/env bash
# Make the guard that custodes ships. Needs the public training sets (CUSTODES_DATA_DIR) and about
# forty minutes on two cores the first time; features are cached, so again takes about two. The guard that
# ships was made from version 1.0 of the constitution, as it stood at commit f160c91.
# The small twin is runs/quickstart.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/shipped}
custodes="$BIN/custodes"

# English in depth, other languages in breadth.
$custodes synth --constitution default --seed 0 --out "$OUT/english" \
    --set rows=150 --set 'languages=[en]' --set 'sides={input: 0.7, exchange: 0.3}' --set varied=0.25
$custodes synth --constitution default --seed 1 --out "$OUT/languages" \
    --set rows=30 --set 'languages=[es,de,fr,zh]' --set 'sides={input: 1.0}' --set varied=0.1

# Only sets whose licence lets trained weights be released; custodes refuses the others.
$custodes train --constitution default --config runs/shipped_guard.yaml --out "$OUT/run" \
    --examples "$OUT/english/examples.parquet" --examples "$OUT/languages/examples.parquet" \
    --examples catqa --examples harmfulqa --examples gptfuzz_questions --examples cyberseceval_mitre \
    --examples gptfuzz_labelled_train --examples gpteacher_codegen --examples gpteacher_roleplay \
    --examples gsm8k_test --examples oasst_zh --examples awesome_prompts \
    --examples glaive_toolcall_300 --examples refusal_direction_harmless

# The benign pool: prompts of people to chat models, from sources that no stage was trained on.
$custodes calibrate --guard "$OUT/run/guard" --out "$OUT/guard" --budget 0.01 --most-rows 800 \
    --examples "$OUT/run/calibration.parquet" --benign arena_1k_prompts --benign self_instruct

# Its place, and its card; then measure it and complete the card with the figures.
$BIN/python runs/shipped_card.py "$OUT/guard"
$BIN/python benchmarks/constitution/run.py --size full --part quality
$BIN/python runs/shipped_card.py "$OUT/guard"
