#!/usr/bin/env bash
# The main job, small: constitution -> examples -> guard -> calibration -> report -> a live stream;
# then the gateway with the shipped guard, and a tour of it. About six minutes on two cores.
# Everything is written below out/quickstart; run it again and only what is missing is made. SERVE=1
# keeps the gateway up until Ctrl-C; PORT chooses its port. A full-sized twin is
# runs/shipped_guard.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-out/quickstart}
custodes="$BIN/custodes"

say() { printf '\n== %s\n' "$*"; }

say "1/6 the default constitution"
$custodes constitution check default

say "2/6 write labelled examples from it (grammar, no model needed)"
$custodes synth --constitution default --size tiny --set rows=32 --seed 0 \
    --set 'languages=[en]' --out "$OUT/synth"

say "3/6 train: hashed n-grams, then activations of the embedded model (fetched once)"
$custodes train --constitution default --size tiny --kept-out 0.2 \
    --examples "$OUT/synth/examples.parquet" --out "$OUT/run"

say "4/6 calibrate to 5 % false refusals on rows kept out of training, then evaluate"
$custodes calibrate --guard "$OUT/run/guard" --examples "$OUT/run/calibration.parquet" --budget 0.05
sets=()
if [ -n "${CUSTODES_DATA_DIR:-}" ]; then
    for set in simplesafetytests mt_vicuna_bench humaneval; do sets+=(--sets "$set"); done
else
    echo "CUSTODES_DATA_DIR is not set: measuring on generated rows alone, which flatters any guard."
fi
$custodes evaluate --guard "$OUT/run/guard" --examples "$OUT/run/test.parquet" \
    ${sets[@]+"${sets[@]}"} --rows 300 --out "$OUT/report"

say "5/6 two replies on their way through the guard"
$BIN/python examples/stream.py "$OUT/run/guard"

say "6/6 the gateway with the shipped guard, on the embedded model, and a tour of it"
log="$OUT/gateway.log"
database="sqlite:///$(cd "$OUT" && pwd)/gateway.db"
$custodes serve --config examples/tour.yaml --port "${PORT:-0}" \
    --set "database=$database" > "$log" 2>&1 &
gateway=$!
trap 'kill $gateway 2>/dev/null || true; wait $gateway 2>/dev/null || true' EXIT
# Its first line comes when it listens; the guard is read by then.
for _ in $(seq 1500); do
    url=$(sed -n 's/.*serving at \(http.*\)/\1/p' "$log")
    [ -n "$url" ] && break
    kill -0 $gateway 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.2
done
[ -n "$url" ] || { echo "the gateway did not start within five minutes:"; cat "$log"; exit 1; }
$BIN/python examples/tour.py "$url"
if [ "${SERVE:-0}" = 1 ]; then
    say "the report lies at $OUT/report/report.html"
    echo "the gateway serves at $url until Ctrl-C (its log: $log)"
    wait $gateway
    exit 0
fi
kill $gateway
wait $gateway || true
trap - EXIT
$custodes audit verify --database "$database"

say "done: the report lies at $OUT/report/report.html"
