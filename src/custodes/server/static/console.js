// The console's behavior: colors, keys, and pages that renew themselves. Works on what the
// templates mark by data- attributes; every page also works without it.
"use strict";

(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];

  // Colors: at once, before anything is painted.
  const stored = () => {
    try { return localStorage.getItem("custodes-theme"); } catch { return null; }
  };
  let theme = themes.includes(stored()) ? stored() : "system";
  const paint = () => {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
  };
  paint();

  const all = (selector) => [...document.querySelectorAll(selector)];

  const switchTheme = () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("custodes-theme", theme); } catch { /* then only for this page */ }
    paint();
    showTheme();
  };
  const showTheme = () => all("[data-theme-name]").forEach((each) => { each.textContent = theme; });

  // Keys: an element with data-key is clicked by it; "g o" is one key after the other.
  let pending = "";
  let forget = 0;
  // What takes letters; a radio takes none, and keys go on answering after it was clicked.
  const typing = (target) => {
    const field = target.closest("input, select, textarea, [contenteditable]");
    return Boolean(field) && !["radio", "checkbox", "button", "submit"].includes(field.type);
  };
  const press = (event) => {
    // Enter on a radio would press its form's first button: an answer that nobody chose.
    if (event.key === "Enter" && event.target.type === "radio") event.preventDefault();
    const sheet = document.getElementById("sheet");
    if (event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1) return;
    if (typing(event.target) || (sheet.open && event.key !== "?")) return;
    if (event.key === " ") return;
    const keys = pending ? `${pending} ${event.key}` : event.key;
    const wanted = all("[data-key]").find((each) => each.dataset.key === keys && each.offsetParent);
    clearTimeout(forget);
    pending = "";
    if (wanted) {
      event.preventDefault();
      if (wanted.matches("select, input")) wanted.focus(); else wanted.click();
    } else if (all("[data-key]").some((each) => each.dataset.key.startsWith(`${keys} `))) {
      pending = keys;
      forget = setTimeout(() => { pending = ""; }, 1500);
    } else if (keys === "j" || keys === "k") {
      step(keys === "j" ? 1 : -1);
    }
  };
  const step = (by) => {
    const rows = all("[data-row]");
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
    rows[Math.max(0, Math.min(rows.length - 1, next))].focus();
  };
  const toggleSheet = () => {
    const sheet = document.getElementById("sheet");
    if (sheet.open) sheet.close(); else sheet.showModal();
  };

  // Pages that renew themselves: not while paused or hidden.
  let paused = false;
  let last = Date.now();
  const beat = () => {
    const live = document.querySelector("[data-live]");
    if (!live || paused || document.hidden) return;
    if (Date.now() - last < 1000 * Number(live.dataset.live)) return;
    last = Date.now();
    live.dispatchEvent(new CustomEvent("refresh"));
  };
  const pause = (button) => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.querySelector("[data-pause-name]").textContent = paused ? "Paused" : "Live";
    if (!paused) { last = 0; beat(); }
  };
  const lost = (really) => { document.getElementById("lost").hidden = !really; };

  document.addEventListener("DOMContentLoaded", () => {
    all("[data-theme-switch], [data-sheet], [data-pause]").forEach((each) => { each.hidden = false; });
    all("[data-apply]").forEach((each) => { each.hidden = true; });
    all("[data-key]").forEach((each) => each.setAttribute("aria-keyshortcuts", each.dataset.key));
    showTheme();
    document.addEventListener("keydown", press);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.matches("[data-theme-switch]")) switchTheme();
      if (button.matches("[data-sheet]")) toggleSheet();
      if (button.matches("[data-pause]")) pause(button);
    });
    document.addEventListener("change", (event) => {
      const form = event.target.closest("form[data-submits]");
      if (form) form.requestSubmit();
    });
    // An empty filter stays out of the address.
    document.addEventListener("formdata", (event) => {
      if (!event.target.matches("[data-submits]")) return;
      for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });
    document.addEventListener("htmx:error", () => lost(true));
    document.addEventListener("htmx:response:error", () => lost(true));
    document.addEventListener("htmx:after:swap", () => lost(false));
    setInterval(beat, 500);
  });
})();
