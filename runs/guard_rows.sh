# What runs/shipped_guard.sh and runs/encoder_guard.sh train on; sourced by them, from the root.
# Sets `sources`, the --examples of `custodes train`, and writes below $OUT.

# English in depth, other languages in breadth, public jailbreak templates around public requests,
# people's prompts. (The shipped guard, of constitution 1.1, was made with four languages beside
# English and one copy of each template: the rows here are those of the next one.)
$custodes synth --constitution default --seed 0 --out "$OUT/english" \
    --set rows=120 --set 'languages=[en]' --set 'sides={input: 0.75, exchange: 0.25}' --set varied=0.2
$custodes synth --constitution default --seed 1 --out "$OUT/languages" \
    --set rows=50 --set 'languages=[es,de,fr,zh,ar,hi,id,it,ja,ko,nl,pl,pt,ru,th,tr,vi]' --set 'sides={input: 1.0}' --set varied=0.1
$BIN/python runs/jailbreaks.py "$OUT/jailbreaks.parquet" --each 2
$BIN/python runs/people.py "$OUT/people.parquet" "$OUT/pool.parquet"

# Only sets whose licence lets trained weights be released; custodes refuses the others.
sources=()
for name in "$OUT"/{english/examples,languages/examples,jailbreaks,people}.parquet \
    catqa harmfulqa gptfuzz_questions cyberseceval_mitre \
    gptfuzz_labelled_train gpteacher_codegen gpteacher_roleplay \
    gsm8k_test oasst_zh awesome_prompts glaive_toolcall_300 refusal_direction_harmless; do
    sources+=(--examples "$name")
done
