// The arena's page: who plays, which level, what was said. The server alone decides what passes.
"use strict";
const $ = (id) => document.getElementById(id);
const keyed = document.body.dataset.key === "1";
let state = null, level = 1, turns = [];

const player = () => sessionStorage.getItem("arena-player") || "";
const headers = () => {
  const found = { "content-type": "application/json" };
  if (keyed) found.authorization = "Bearer " + (sessionStorage.getItem("arena-key") || "");
  return found;
};

async function ask(path, options) {
  const response = await fetch(path, { headers: headers(), ...options });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ? body.error.message : response.statusText);
  return body;
}

function wrong(message) { $("wrong").textContent = message; $("wrong").hidden = !message; }

function line(kind, text) {
  const found = document.createElement("p");
  found.className = kind; found.textContent = text;
  $("talk").append(found);
}

function choose(number) {
  level = number; turns = []; $("talk").replaceChildren(); show();
}

function show() {
  $("levels").replaceChildren(...state.levels.map((each) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button"; button.textContent = each.passed ? "✓" : each.level;
    button.setAttribute("aria-label", `Level ${each.level}${each.passed ? ", passed" : each.question ? "" : ", locked"}`);
    button.disabled = each.question === null;
    if (each.passed) button.className = "passed";
    if (each.level === level) button.setAttribute("aria-current", "step");
    button.onclick = () => choose(each.level);
    item.append(button);
    return item;
  }));
  const now = state.levels[level - 1];
  $("level-title").textContent = `Level ${level} of ${state.levels.length}${now.passed ? ", passed" : ""}`;
  $("question").textContent = now.question;
  $("leaders").replaceChildren(...state.leaders.map((each) => {
    const row = document.createElement("tr");
    [each.player, each.levels, each.attempts].forEach((value, place) => {
      const cell = document.createElement("td");
      cell.textContent = value; if (place) cell.className = "figure";
      row.append(cell);
    });
    return row;
  }));
  $("who").textContent = player(); $("leave").hidden = false;
  $("door").hidden = true; $("game").hidden = false;
}

async function enter() {
  try {
    state = await ask("/arena/state?player=" + encodeURIComponent(player()));
    level = state.open || state.levels.length;
    wrong(""); show();
  } catch (error) { wrong(error.message); $("door").hidden = false; $("game").hidden = true; }
}

$("door").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("arena-player", $("player").value.trim());
  if (keyed) sessionStorage.setItem("arena-key", $("key").value.trim());
  enter();
};
$("leave").onclick = () => { sessionStorage.clear(); location.reload(); };
$("again").onclick = () => choose(level);
$("say").onsubmit = async (event) => {
  event.preventDefault();
  const said = $("message").value.trim();
  if (!said) return;
  const messages = [...turns, { role: "user", content: said }];
  line("user", said); $("send").disabled = true; $("busy").textContent = "The model writes …"; wrong("");
  try {
    const body = JSON.stringify({ level, player: player(), strategy: $("strategy").value, messages });
    const told = await ask("/arena/attempts", { method: "POST", body });
    if (told.reply) line("assistant", told.reply);
    const share = told.grade === null ? "" : ` The reply tells ${Math.round(100 * told.grade)} % of the rubric.`;
    if (told.passed) line("outcome passed", `Level ${level} passed.${share}`);
    else if (told.stopped) line("outcome stopped", `Stopped at the ${told.stopped === "input" ? "message" : "reply"}.`);
    else line("outcome short", `Not enough.${share}`);
    if (!told.stopped) turns = [...messages, { role: "assistant", content: told.reply }];
    state = told.state; $("message").value = "";
    show();
  } catch (error) { wrong(error.message); }
  $("send").disabled = false; $("busy").textContent = "";
};
if (player() && (!keyed || sessionStorage.getItem("arena-key"))) enter();
