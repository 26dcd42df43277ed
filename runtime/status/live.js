// Brings the page up to date every few seconds while it is looked at. What is
// the same stays as it is, so that focus, selection and scrolling do too.
"use strict";
(() => {
  const every = 5000;
  const bar = document.querySelector(".bar nav");
  const box = document.createElement("p");
  const says = document.createElement("span");
  const button = document.createElement("button");
  let paused = false, stopped = "", timer = 0;

  box.className = "live";
  says.setAttribute("role", "status");
  button.type = "button";
  button.className = "mild small";
  box.append(says, button);
  bar.before(box);
  button.addEventListener("click", () => {
    paused = !paused && !stopped;
    stopped = "";
    tell();
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  tell();
  plan();

  function tell() {
    // A reader of the screen hears it when the refresh stops, not each time it runs.
    const text = stopped || (paused ? "Paused" : "Live");
    if (says.textContent !== text) says.textContent = text;
    button.textContent = paused || stopped ? "Resume" : "Pause";
    button.title = paused || stopped ? "Go on bringing this page up to date" : "Stop bringing this page up to date every 5 s";
    box.classList.toggle("on", !paused && !stopped);
  }

  function plan() {
    clearTimeout(timer);
    timer = setTimeout(refresh, every);
  }

  async function refresh() {
    if (paused || stopped || document.hidden) return;
    if (busy()) return plan();
    clearTimeout(timer);
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(4 * every) });
      if (!answer.ok) throw new Error("the server answered " + answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!paused && !busy()) for (const part of ["main", ".badges"]) renew(document.querySelector(part), page.querySelector(part));
    } catch (err) {
      const why = /^the server/.test(err.message) ? err.message : "the server does not answer";
      stopped = "Stopped at " + new Date().toLocaleTimeString() + ": " + why;
    }
    tell();
    plan();
  }

  // Whoever fills in a form or selects text is not to be disturbed.
  function busy() {
    const selection = getSelection();
    return !!document.activeElement.closest("main form") || !selection.isCollapsed && document.querySelector("main").contains(selection.anchorNode) ||
      [...document.querySelectorAll("main input, main select")].some(changed);
  }

  function changed(field) {
    if (field.type === "hidden") return false;
    if (field.options) return ![...field.options].every((o) => o.selected === o.defaultSelected) && [...field.options].some((o) => o.defaultSelected);
    return field.value !== field.defaultValue;
  }

  function renew(old, now) {
    if (!old || !now) return;
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || old.id !== now.id) return old.replaceWith(now);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== now.data) old.data = now.data;
      return;
    }
    for (const a of [...old.attributes]) if (!now.hasAttribute(a.name) && a.name !== "open") old.removeAttribute(a.name);
    for (const a of now.attributes) if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    const were = [...old.childNodes], are = [...now.childNodes];
    are.forEach((node, i) => (i < were.length ? renew(were[i], node) : old.append(node)));
    were.slice(are.length).forEach((node) => node.remove());
  }
})();
