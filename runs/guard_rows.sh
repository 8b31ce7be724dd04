# What runs/shipped_guard.sh trains on; sourced by it, from the root.
# Sets `sources`, the --examples of `custodes train`, and writes below $OUT.

# English in depth, other languages in breadth, replies of the embedded model itself, public
# jailbreak templates around public requests, people's prompts.
$custodes synth --constitution default --seed 0 --out "$OUT/english" \
    --set rows=120 --set 'languages=[en]' --set 'sides={input: 0.75, exchange: 0.25}' --set varied=0.2
$custodes synth --constitution default --seed 1 --out "$OUT/languages" \
    --set rows=50 --set 'languages=[es,de,fr,zh,ar,hi,id,it,ja,ko,nl,pl,pt,ru,th,tr,vi]' --set 'sides={input: 1.0}' --set varied=0.1
$BIN/python runs/answered.py "$OUT/english/examples.parquet" "$OUT/answered.parquet" --rows 208
$BIN/python runs/people.py "$OUT/people.parquet" "$OUT/pool.parquet"
$BIN/python runs/jailbreaks.py "$OUT/jailbreaks.parquet" --each 2 \
    --harmless awesome_prompts "$OUT/people.parquet"
$BIN/python runs/replies.py "$OUT/replies.parquet"

# Only sets whose licence lets trained weights be released; custodes refuses the others.
sources=()
for name in "$OUT"/{english/examples,languages/examples,jailbreaks,people,answered,replies}.parquet \
    catqa harmfulqa gptfuzz_questions cyberseceval_mitre \
    gpteacher_codegen gpteacher_roleplay \
    gsm8k_test oasst_zh awesome_prompts glaive_toolcall_300 refusal_direction_harmless; do
    sources+=(--examples "$name")
done
