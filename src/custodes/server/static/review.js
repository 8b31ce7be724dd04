// Review's behavior: the next case is on the page before the last answer is acknowledged, drafts
// are kept, quotes are jumped to. Every page also works without it.
"use strict";

(() => {
  const parts = document.getElementById("parts");
  const find = (selector) => document.querySelector(selector);
  const place = () => document.getElementById("card-place");
  const card = () => document.getElementById("card");
  const caseOf = (element) => (element ? element.dataset.case : "");

  let ahead = null; // the card after this one, as it came
  let sending = Promise.resolve(); // answers go one after the other
  let waiting = 0;

  let leaving = false; // to sign in again
  const refusal = (why, status) => Object.assign(new Error(why), { status });
  const ask = async (address, options = {}) => {
    const response = await fetch(address, {
      credentials: "same-origin",
      ...options,
      headers: { "HX-Request": "true", ...options.headers },
    });
    const { status } = response;
    if (status === 401) {
      leaving = true;
      lose();
      location.reload();
      throw refusal("sign in again", status);
    }
    if (!response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const said = page.querySelector("main p:not(.status)");
      throw refusal(said ? said.textContent.trim() : `status ${status}`, status);
    }
    return response.status === 204 ? "" : response.text();
  };
  const post = (address, fields) => ask(address, {
    method: "POST",
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ word: parts.dataset.word, ...fields }),
    keepalive: true,
  });

  const trouble = (why) => {
    const line = document.getElementById("trouble");
    line.textContent = why || "";
    line.hidden = !why;
  };
  const made = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content;
  };
  const announce = () => {
    const now = card();
    if (!now) return;
    document.getElementById("news").textContent = caseOf(now) ? `Case ${caseOf(now)}` : "Nothing waits";
    now.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    quote = 0;
    if (caseOf(now)) history.replaceState(null, "", `${parts.dataset.base}/cases/${caseOf(now)}`);
  };

  // The next card, fetched while this one is judged.
  const fetchAhead = async () => {
    const at = caseOf(card());
    if (!at) return;
    try {
      const html = await ask(`${parts.dataset.base}/ahead?after=${at}`);
      if (caseOf(card()) === at) ahead = html ? { after: at, html } : null;
    } catch { ahead = null; }
  };
  const showAll = (html) => { // card and side, as the server sees them
    parts.replaceChildren(made(html));
    ahead = null;
    announce();
    fetchAhead();
  };
  const showSide = (html) => document.getElementById("side-place").replaceChildren(made(html));

  // What is on its way stays in the tab until the server has it: a session that ran out sends
  // whoever judges to the sign-in and back.
  const KEPT = "custodes-review-unsent";
  const whoever = () => (find(".who") ? find(".who").textContent.trim() : "");
  const kept = () => {
    try { return JSON.parse(sessionStorage.getItem(KEPT)) || {}; } catch { return {}; }
  };
  const hold = (all) => {
    try { sessionStorage.setItem(KEPT, JSON.stringify(all)); } catch { /* then not beyond this page */ }
  };
  const keep = (address, fields, lost = false) => {
    const all = kept();
    if (fields) {
      const { word, ...said } = fields; // the word is the session's that ran out
      all[address] = { who: whoever(), said, lost };
    } else delete all[address];
    hold(all);
  };
  // A page that is only reloaded while an answer is on its way loses none.
  const lose = () => hold(Object.fromEntries(
    Object.entries(kept()).map(([address, each]) => [address, { ...each, lost: true }])));
  const fill = (form, said) => {
    form.querySelector("[name=note]").value = said.note || "";
    form.querySelectorAll(".sure input").forEach((each) => { each.checked = each.value === said.confidence; });
    form.querySelectorAll("[name=answer]").forEach((each) => {
      each.classList.toggle("before", each.value === said.answer);
    });
  };
  const restore = () => {
    const form = find("[data-answers]");
    for (const [address, { who, said, lost }] of Object.entries(kept())) {
      const here = form && form.getAttribute("action") === address;
      const mine = lost && who === whoever(); // not another rater's, at the same screen
      if (!mine || !here) keep(address, null);
      if (!mine) continue;
      if (here) fill(form, said);
      const what = said.answer ? `Your answer “${said.answer}”` : "Your draft";
      const where = here ? "" : ` to case ${(address.match(/cases\/(\d+)/) || [])[1]}`;
      const note = !here && said.note ? ` Its note was: ${said.note}` : "";
      trouble(`${what}${where} was not stored before you had to sign in: give it again.${note}`);
    }
  };

  const fieldsOf = (form) => Object.fromEntries(new FormData(form));
  const answer = (form, submitter) => {
    const fields = { ...fieldsOf(form), answer: submitter.value };
    const address = form.getAttribute("action");
    const at = caseOf(card());
    // Sent again, an answer that was refused for good (409: others judged the case meanwhile, say)
    // is refused again: then the case is not shown once more.
    const failed = (error, again) => {
      if (error.status === 401) return;
      keep(address, null);
      if (error.status !== 409) again();
      trouble(`Case ${at}: not stored: ${error.message}`);
    };
    keep(address, fields);
    clearTimeout(saving);
    trouble("");
    const first = card().dataset.first === "yes";
    const ready = !first && ahead && ahead.after === caseOf(card()) ? ahead : null;
    if (!ready) {
      const enable = (really) => form.querySelectorAll("button").forEach((each) => {
        each.disabled = !really;
      });
      enable(false);
      sending = sending.then(() => post(address, fields)).then((html) => {
        keep(address, null);
        showAll(html);
      }).catch(async (error) => {
        failed(error, () => enable(true));
        if (error.status === 409) await next();
      });
      return;
    }
    const before = card();
    ahead = null;
    place().replaceChildren(made(ready.html));
    const shows = caseOf(card());
    announce();
    waiting += 1;
    sending = sending.then(() => post(address, { ...fields, shows })).then((html) => {
      keep(address, null);
      waiting -= 1;
      showSide(html);
      if (!waiting) fetchAhead();
    }).catch((error) => { // the answer is not lost: its card comes back as it was
      waiting -= 1;
      failed(error, () => {
        place().replaceChildren(before);
        announce();
      });
      if (error.status === 409 && !waiting) fetchAhead();
    });
  };
  const next = async () => { // what the server has now; the line that says why stays
    try { showAll(await ask(parts.dataset.base)); } catch (error) { trouble(error.message); }
  };
  const send = (form) => {
    trouble("");
    const fields = fieldsOf(form);
    sending = sending.then(() => post(form.action, fields)).then(showAll)
      .catch((error) => trouble(error.message));
  };

  // Drafts: kept by the server shortly after the last stroke.
  let saving = 0;
  const save = () => {
    clearTimeout(saving);
    const form = find("[data-answers]");
    const at = caseOf(card());
    if (!form || !at) return;
    const mark = form.querySelector("[data-saved]");
    mark.textContent = "";
    saving = setTimeout(() => {
      const fields = fieldsOf(form);
      sending = sending.then(() => post(`${parts.dataset.base}/cases/${at}/draft`, fields))
        .then(() => { mark.textContent = "Draft kept"; })
        .catch((error) => {
          if (error.status === 401) keep(form.getAttribute("action"), fields, true);
          mark.textContent = `Draft not kept: ${error.message}`;
        });
    }, 250);
  };

  // Quotes, confidence, note, search.
  let quote = 0;
  const jump = (number) => {
    const spots = [...document.querySelectorAll("mark.quote[id]")];
    if (!spots.length) return;
    quote = ((number - 1) % spots.length + spots.length) % spots.length + 1;
    const spot = spots[quote - 1];
    document.querySelectorAll("mark.at").forEach((each) => each.classList.remove("at"));
    spot.classList.add("at");
    spot.scrollIntoView({ block: "center" });
    spot.focus({ preventScroll: true });
  };
  const surer = (by) => {
    const all = [...document.querySelectorAll(".sure input")];
    const at = all.findIndex((each) => each.checked);
    const next = at < 0 ? 2 : Math.max(0, Math.min(all.length - 1, at + by));
    all[next].checked = true;
    save();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-jump]");
    if (link) {
      event.preventDefault();
      const spots = [...document.querySelectorAll("mark.quote[id]")];
      jump(spots.findIndex((each) => each.dataset.quote === link.dataset.jump) + 1);
    }
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-step]")) jump(quote + Number(button.dataset.step));
    if (button.matches("[data-surer]")) surer(Number(button.dataset.surer));
    if (button.matches("[data-note]")) find("#note").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.matches("textarea, input")) event.target.blur();
  });
  if (!parts) return;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-answers]") && event.submitter) {
      event.preventDefault();
      answer(form, event.submitter);
    } else if (form.matches("[data-undoes], [data-skips]")) {
      event.preventDefault();
      send(form);
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target.closest("[data-answers]")) save();
  });
  window.addEventListener("beforeunload", (event) => { if (waiting && !leaving) event.preventDefault(); });
  restore();
  fetchAhead();
})();
