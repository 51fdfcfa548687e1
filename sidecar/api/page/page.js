"use strict";
// Follows the sidecar: fetches this page again, shows what changed, and says when it does not answer.
// A part that did not change stays as it is; focus, scrolling, opened tables and selected text are kept.
(() => {
  const root = document.documentElement;
  const main = document.getElementById("page");
  const live = document.getElementById("live");
  const offline = document.getElementById("offline");
  const everyMs = Number(root.dataset.refresh) * 1000;
  const patienceMs = 10000;
  const shown = new Map(); // id of a part → its markup as the sidecar sent it
  let timer = 0;
  let asking = false;
  let answeredAt = new Date();
  let silent = false;

  const say = (text) => { live.textContent = text; };
  const clock = (at) => `${at.toISOString().slice(11, 19)} UTC`;
  const parts = (of) => of.querySelectorAll(":scope > section[id]");

  const copy = async (line, button) => {
    try {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      getSelection().selectAllChildren(line);
    }
  };

  const addCopyButtons = (part) => {
    for (const line of part.querySelectorAll(".command pre[id]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.id = `copy-${line.id}`;
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy the command: ${line.previousElementSibling.textContent}`);
      button.addEventListener("click", () => copy(line.firstElementChild, button));
      line.after(button);
    }
  };

  const holdsSelection = (part) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(part);
  };

  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = [...old.querySelectorAll("details[open]")].map((one) => one.id);
    const scrolled = [...old.querySelectorAll(".scroll, pre")].map((one) => [one.id, one.scrollLeft, one.scrollTop]);
    old.replaceChildren(...fresh.childNodes);
    addCopyButtons(old);
    for (const id of opened) {
      const one = document.getElementById(id);
      if (one) one.open = true;
    }
    for (const [id, left, top] of scrolled) {
      const one = id && document.getElementById(id);
      if (one) one.scrollTo({ left, top, behavior: "instant" });
    }
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  };

  const show = (page) => {
    const fresh = page.getElementById("page");
    if (!fresh) throw new Error("something else answers at this address");
    if (page.documentElement.dataset.build !== root.dataset.build) {
      location.reload(); // another version of the sidecar, whose style and script this page may not use
      return;
    }
    for (const part of parts(fresh)) {
      const old = document.getElementById(part.id);
      const markup = part.innerHTML;
      if (!old || shown.get(part.id) === markup || (part.id !== "state" && holdsSelection(old))) continue;
      shown.set(part.id, markup);
      replace(old, part);
    }
    if (main.dataset.said !== fresh.dataset.said) say(`The state is now: ${fresh.dataset.said}.`);
    main.dataset.said = fresh.dataset.said;
    main.dataset.status = fresh.dataset.status;
    document.title = page.title;
    document.getElementById("icon").href = page.getElementById("icon").getAttribute("href");
  };

  const answered = () => {
    answeredAt = new Date();
    if (!silent) return;
    silent = false;
    offline.hidden = true;
    root.classList.remove("is-offline");
    say("The sidecar answers again.");
  };

  const unanswered = (why) => {
    const line = document.createElement("p");
    line.textContent =
      `The sidecar no longer answers (${why}). What you see is of ${clock(answeredAt)}; it is asked again every ` +
      `${everyMs / 1000} seconds. If this lasts: does the container still run, and does the port-forward?`;
    offline.replaceChildren(line);
    offline.hidden = false;
    root.classList.add("is-offline");
    document.title = `No answer · ${document.title.replace(/^No answer · /, "")}`;
    if (!silent) say(line.textContent);
    silent = true;
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    const giveUp = new AbortController();
    const late = setTimeout(() => giveUp.abort(), patienceMs);
    try {
      const answer = await fetch(location.pathname, {
        cache: "no-store", credentials: "same-origin", redirect: "error", signal: giveUp.signal,
      });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      answered();
    } catch (problem) {
      const gone = problem instanceof TypeError ? "no connection" : problem.message;
      unanswered(giveUp.signal.aborted ? `silent for ${patienceMs / 1000} seconds` : gone);
    } finally {
      clearTimeout(late);
      asking = false;
      timer = setTimeout(refresh, everyMs);
    }
  };

  for (const part of parts(main)) shown.set(part.id, part.innerHTML);
  addCopyButtons(main);
  if (!location.protocol.startsWith("http")) return; // a saved copy
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  timer = setTimeout(refresh, everyMs);
})();
