"""The scripts of review's pages, run by Node on a document of a few lines: keys and failures.

What they look like in a browser is tested in `test_server_review_browser`.
"""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

STATIC = files("custodes.server").joinpath("static")


def run_js(script):
    """What a script told: the last line that it printed, as JSON."""
    done = subprocess.run(
        [NODE, "-"], input=script, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


CONSOLE = """
const heard = {}; const clicked = [];
const button = (key) => ({dataset: {key}, offsetParent: 1, matches: () => false,
  click() { clicked.push(key); }, setAttribute() {}, focus() {}});
const buttons = [button("1"), button("2")];
global.document = {documentElement: {dataset: {}},
  querySelectorAll: (s) => (s === "[data-key]" ? buttons : []), querySelector: () => null,
  addEventListener: (name, hears) => (heard[name] ||= []).push(hears),
  getElementById: () => ({open: false})};
global.localStorage = {getItem: () => null}; global.setInterval = () => {};
%s
heard.DOMContentLoaded[0]();
const press = (key, type) => {
  let prevented = false;
  const target = {type, closest: () => (type ? target : null)};
  heard.keydown.forEach((f) => f({key, target, preventDefault() { prevented = true; }}));
  return [clicked.splice(0), prevented];
};
const kinds = [undefined, "radio", "checkbox", "text", "search", "textarea"];
console.log(JSON.stringify(Object.fromEntries(
  kinds.map((type) => [type || "none", [press("2", type), press("Enter", type)]]))));
"""


def test_keys_answer_while_a_radio_has_the_focus_and_enter_there_does_not():
    found = run_js(CONSOLE % STATIC.joinpath("console.js").read_text())
    answers, stays = [["2"], True], [[], False]
    assert found["none"] == [answers, stays]
    assert found["radio"] == [answers, [[], True]]  # Enter would press the form's first button
    assert found["checkbox"] == [answers, stays]
    for kind in ("text", "search", "textarea"):
        assert found[kind] == [stays, stays]


REVIEW = """
const heard = {}, held = STORED, asked = [], tell = {reloads: 0};
const card = (html) => ({dataset: {case: (html.match(/\\d+/) || [""])[0], first: ""}, html,
  focus() {}});
let shown = card("CARD 1");
const trouble = {textContent: "", hidden: true};
const note = {value: ""}, choices = ["harmful", "benign"].map((value) => ({value, marked: false,
  classList: {toggle(_, really) { choices.find((c) => c.value === value).marked = really; }}}));
const form = {
  matches: (s) => s === "[data-answers]", action: "http://x/b/cases/1/answer",
  getAttribute: () => `/b/cases/${shown.dataset.case}/answer`,
  fields: [["word", "old"], ["note", "flour"], ["confidence", "0.9"]],
  querySelector: () => note,
  querySelectorAll: (s) => (s === "[name=answer]" ? choices : []),
};
const elements = {
  parts: {dataset: {base: "/b", word: "w"}, replaceChildren(c) { shown = card(c.html); }},
  "card-place": {replaceChildren(c) { shown = c.html ? card(c.html) : c; }},
  "side-place": {replaceChildren() {}}, trouble, news: {},
};
global.document = {
  getElementById: (id) => (id === "card" ? shown : elements[id]),
  querySelector: (s) => (s === "[data-answers]" ? form
    : s === ".who" ? {textContent: " WHO "} : null),
  querySelectorAll: () => [],
  addEventListener: (name, hears) => (heard[name] ||= []).push(hears),
  createElement: () => ({set innerHTML(html) { this.content = {html}; }}),
};
global.window = {addEventListener() {}, scrollTo() {}};
global.history = {replaceState() {}};
global.location = {reload() { tell.reloads += 1; }};
global.sessionStorage = {getItem: (n) => held[n] || null, setItem(n, v) { held[n] = v; }};
global.FormData = class { constructor(f) { this.f = f.fields; }
  [Symbol.iterator]() { return this.f[Symbol.iterator](); } };
global.DOMParser = class { parseFromString(t) {
  return {querySelector: () => ({textContent: t})}; } };
const replies = REPLIES;
global.fetch = async (address, options) => {
  const path = address.replace("http://x", "");
  asked.push(path);
  const [status, html] = (replies[path] || []).shift() || [204, ""];
  return {status, ok: status < 400, text: async () => html};
};
SCRIPT
const settle = () => new Promise((done) => setTimeout(done, 30));
(async () => {
  await settle();
  if (ANSWER) {
    const event = {target: form, submitter: {value: "benign"}, preventDefault() {}};
    heard.submit.forEach((f) => f(event));
    await settle();
  }
  console.log(JSON.stringify({...tell, card: shown.dataset.case, trouble: trouble.textContent,
    hidden: trouble.hidden, asked, held, note: note.value,
    marked: choices.filter((c) => c.marked).map((c) => c.value)}));
})();
"""


def judge_page(replies, *, answer=True, stored=None, who="ann"):
    script = REVIEW.replace("STORED", json.dumps(stored or {}), 1)
    script = script.replace("REPLIES", json.dumps(replies), 1).replace("WHO", who, 1)
    script = script.replace("ANSWER", json.dumps(answer), 1)
    return run_js(script.replace("SCRIPT", STATIC.joinpath("review.js").read_text(), 1))


def kept_in(found):
    return json.loads(found["held"].get("custodes-review-unsent", "{}"))


def test_an_answer_that_is_refused_for_good_brings_the_next_case():
    refused = [409, "others judged it meanwhile"]
    found = judge_page({"/b/cases/1/answer": [refused], "/b": [[200, "CARD 5"]]})
    assert found["card"] == "5"
    assert found["trouble"] == "Case 1: not stored: others judged it meanwhile"
    assert found["hidden"] is False
    assert kept_in(found) == {}
    # The same where the next case is on the page already: it stays.
    ahead = {"/b/ahead?after=1": [[200, "CARD 2"]], "/b/cases/1/answer": [refused]}
    found = judge_page(ahead)
    assert (found["card"], found["trouble"][:18]) == ("2", "Case 1: not stored")
    # What may be stored another time comes back.
    ahead["/b/ahead?after=1"], ahead["/b/cases/1/answer"] = [[200, "CARD 2"]], [[503, "not now"]]
    found = judge_page(ahead)
    assert (found["card"], found["trouble"]) == ("1", "Case 1: not stored: not now")


def test_an_answer_survives_a_session_that_ran_out():
    found = judge_page({"/b/cases/1/answer": [[401, ""]]})
    assert found["reloads"] == 1
    (kept,) = kept_in(found).values()
    assert kept["said"] == {"answer": "benign", "note": "flour", "confidence": "0.9"}
    # Also where something else is refused first, while the answer is on its way.
    ahead = {"/b/ahead?after=1": [[401, ""]], "/b/cases/1/answer": [[401, ""]]}
    assert all(each["lost"] for each in kept_in(judge_page(ahead)).values())
    # Signed in again, at the same case: the fields are back and stay until the server has them.
    again = judge_page({}, answer=False, stored=found["held"])
    assert (again["note"], again["marked"]) == ("flour", ["benign"])
    assert "Your answer “benign” was not stored" in again["trouble"]
    assert kept_in(again) == kept_in(found)
    given = judge_page({"/b/cases/1/answer": [[200, "CARD 3"]]}, stored=found["held"])
    assert (given["card"], kept_in(given)) == ("3", {})
    # At another case it is said whose answer is missing.
    stored = {"/b/cases/9/answer": kept}
    stored = {"custodes-review-unsent": json.dumps(stored)}
    other = judge_page({}, answer=False, stored=stored)
    assert "to case 9 was not stored" in other["trouble"]
    assert "flour" in other["trouble"]
    assert other["note"] == ""
    # A page that was only reloaded while an answer was on its way says nothing.
    reloaded = {"/b/cases/1/answer": {**kept, "lost": False}}
    reloaded = {"custodes-review-unsent": json.dumps(reloaded)}
    plain = judge_page({}, answer=False, stored=reloaded)
    assert (plain["note"], plain["trouble"], kept_in(plain)) == ("", "", {})
    # To another rater at the same screen nothing is shown.
    bob = judge_page({}, answer=False, stored=found["held"], who="bob")
    assert (bob["note"], bob["trouble"], kept_in(bob)) == ("", "", {})
