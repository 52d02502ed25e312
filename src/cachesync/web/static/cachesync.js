// Replaces parts of the page by those that the server renders for another URL. The page also works without this script.
"use strict";

(() => {
  const TYPING_MS = 150; // a pause in typing after which the search starts
  const WRITING_MS = 500; // a pause after which the URL is updated: Safari allows three changes a second
  const BUSY_MS = 200; // how long a request may take before the page shows that it is busy
  const REST_MS = matchMedia("(pointer: coarse)").matches ? 700 : 250; // a pause before a change is announced
  const UNFINISHED_MS = 3000; // how long an unfinished query is shown as a hint before it is shown as an error
  const AGAIN = 2; // retries of a request that a busy server refused
  const TOAST_MS = 5000; // how long a visible message stays
  const PARTS = ["kept", "orders", "problem", "warnings", "chosen", "answer", "freshness"];

  const byId = (id) => document.getElementById(id);
  const form = byId("search");
  const { q: box, arch } = form.elements;
  const sort = byId("sort");
  const latest = byId("latest");
  const results = byId("results"); // only the search page has it
  const status = byId("status");
  const home = new URL(form.action).pathname;

  const store = {
    get(name) {
      try {
        return localStorage.getItem(`cachesync.${name}`);
      } catch {
        return null;
      }
    },
    set(name, value) {
      try {
        localStorage.setItem(`cachesync.${name}`, value);
      } catch {
        // Storage may be disabled; then nothing is remembered.
      }
    },
  };

  // --- messages -------------------------------------------------------------------------------------------------------

  let announcing;

  function announce(text, isShown = false) {
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      status.className = isShown ? "toast" : "hidden";
      status.textContent = text;
      if (isShown) announcing = setTimeout(() => (status.className = "hidden"), TOAST_MS);
    }, REST_MS);
  }

  function paragraph(text, name) {
    const made = document.createElement("p");
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  const typingHint = byId("typing");
  const usualHint = [...typingHint.childNodes];
  let unfinished;

  // A query is often invalid while it is being typed, so the error is first shown in place of the hint.
  function showUnfinished(...paragraphs) {
    if (byId("problem").firstElementChild) return showProblem(...paragraphs);
    const said = paragraphs.findLast((each) => each.matches("p")).textContent;
    const wanted = /\bexpected (.*)/s.exec(said);
    typingHint.textContent = wanted ? `Expected ${wanted[1]}` : said;
    typingHint.className = "hint unfinished";
    unfinished = setTimeout(showProblem, UNFINISHED_MS, ...paragraphs);
  }

  function hideUnfinished() {
    clearTimeout(unfinished);
    typingHint.replaceChildren(...usualHint);
    typingHint.className = "hint";
  }

  function showProblem(...paragraphs) {
    hideUnfinished();
    const made = document.createElement("div");
    made.className = "problem";
    made.append(...paragraphs, paragraph("The results below are those of the last search.", "hint"));
    byId("problem").replaceChildren(made);
    announce(made.textContent.trim());
  }

  // --- history: a committed search has its own entry, one that is being typed replaces the entry ----------------------

  const normal = (search) => new URLSearchParams(search).toString();
  const address = (search) => (search ? `${home}?${search}` : home);
  let committed = normal(location.search);
  let typed = null; // the search that is shown and not yet committed
  let writing;

  function recordTyped(search) {
    typed = search;
    clearTimeout(writing);
    writing = setTimeout(() => history.replaceState(null, "", address(search)), WRITING_MS);
  }

  function dropTyped() {
    clearTimeout(writing);
    if (typed !== null) history.replaceState(null, "", address(committed));
    typed = null;
  }

  function push(search) {
    if (search !== committed) history.pushState(null, "", address(search));
    committed = search;
  }

  function settle() {
    const search = typed;
    dropTyped();
    if (search !== null) push(search);
  }

  // --- searching ------------------------------------------------------------------------------------------------------

  let last = 0; // the number of the newest request; responses to older ones are ignored
  let fetching = new AbortController();
  let typing;
  let shown = committed; // the search whose answer is on the page

  function asked() {
    const filled = [...new FormData(form)].filter(([, value]) => value);
    return new URLSearchParams(filled).toString();
  }

  // `how`: "type", "enter" (commits typed text), "choose" (commits another change), or "pop" (it is in the history).
  async function show(search, how, again = AGAIN) {
    const mine = ++last;
    clearTimeout(typing);
    fetching.abort();
    fetching = new AbortController();
    const busy = setTimeout(() => results.setAttribute("aria-busy", "true"), BUSY_MS);
    let response, text;
    try {
      response = await fetch(form.dataset.parts + (search && `?${search}`), { signal: fetching.signal });
      text = await response.text();
    } catch {
      if (mine === last) showProblem(paragraph("The server can't be reached. Try again in a moment."));
      return;
    } finally {
      clearTimeout(busy);
      if (mine === last) results.removeAttribute("aria-busy");
    }
    if (mine !== last) return;
    const wait = response.status === 503 && again > 0 && response.headers.get("Retry-After");
    if (wait) {
      results.setAttribute("aria-busy", "true");
      typing = setTimeout(show, wait * 1000, search, how, again - 1);
      return;
    }
    const parts = new DOMParser().parseFromString(text, "text/html");
    if (!response.ok || !parts.getElementById("answer")) {
      const said = parts.querySelectorAll("#problem .problem > *");
      if (said.length && how === "type" && response.status === 400) showUnfinished(...said);
      else if (said.length) showProblem(...said);
      else showProblem(paragraph(`The server answered ${response.status}. Try again in a moment.`));
      return;
    }
    update(parts);
    shown = search;
    if (how === "type") recordTyped(search);
    else if (how === "pop") [typed, committed] = [null, search];
    else {
      if (how === "enter") dropTyped();
      else settle();
      push(search);
      if (arch.value) store.set("arch", arch.value);
    }
    announce(byId("answer").dataset.said);
  }

  // Keeps the answer that is shown: it is the one to what is typed.
  function stay() {
    last++;
    fetching.abort();
    results.removeAttribute("aria-busy");
    hideUnfinished();
    byId("problem").replaceChildren();
  }

  function update(parts) {
    hideUnfinished();
    document.title = parts.getElementById("answer").dataset.title;
    const focused = document.activeElement;
    for (const id of PARTS) byId(id).replaceWith(parts.getElementById(id));
    updateFacets(byId("facets"), parts.getElementById("facets"));
    sort.options[0].textContent = byId("orders").dataset.usual;
    if (!focused.isConnected) results.focus({ preventScroll: true });
  }

  function updateFacets(shown, updated) {
    const before = new Map([...shown.children].map((facet) => [facet.dataset.facet, facet]));
    let previous = null;
    for (let facet of [...updated.children]) {
      const old = before.get(facet.dataset.facet);
      before.delete(facet.dataset.facet);
      if (!old) {
        if (previous) previous.after(facet);
        else shown.prepend(facet);
      } else if (old.matches(":focus-within, :hover")) {
        merge(old, facet);
        facet = old;
      } else {
        const { scrollTop } = old.querySelector("ul");
        facet.open = old.open;
        old.replaceWith(facet);
        facet.querySelector("ul").scrollTop = scrollTop;
      }
      previous = facet;
    }
    for (const gone of before.values()) gone.remove();
  }

  // Nothing moves in a facet while it is in use: values keep their places, and new ones are appended.
  function merge(old, updated) {
    const rows = new Map([...updated.querySelectorAll("li")].map((row) => [row.querySelector("input").value, row]));
    for (const row of old.querySelectorAll("li")) {
      const input = row.querySelector("input");
      const now = rows.get(input.value);
      rows.delete(input.value);
      input.checked = now?.querySelector("input").checked ?? false;
      row.querySelector("[data-count]").textContent = now?.querySelector("[data-count]").textContent ?? "0";
    }
    old.querySelector("ul").append(...rows.values());
    old.querySelector("summary").replaceChildren(...updated.querySelector("summary").childNodes);
    const [links, updatedLinks] = [old, updated].map((facet) => facet.querySelector(".sizes"));
    const wasThere = links?.contains(document.activeElement);
    links?.remove();
    if (updatedLinks) old.append(updatedLinks);
    if (wasThere) (updatedLinks?.querySelector("a") ?? old.querySelector("summary")).focus({ preventScroll: true });
  }

  function fill(search) {
    const said = new URLSearchParams(search);
    const order = said.get("sort") ?? "";
    box.value = said.get("q") ?? "";
    arch.value = said.get("arch") ?? "";
    latest.checked = said.getAll("tag").includes("latest");
    if (![...sort.options].some((option) => option.value === order)) sort.add(new Option(order, order));
    sort.value = order;
  }

  function choose() {
    if (results) show(asked(), "choose");
  }

  if (results) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      show(asked(), "enter");
    });
    document.addEventListener("change", ({ target }) => {
      if (target.form !== form || target === box) return;
      if (target.name === "tag" && target.checked) {
        for (const other of form.elements)
          if (other.name === "tag" && (other === latest) !== (target === latest)) other.checked = false;
      }
      if (target === sort) byId("orders").replaceChildren(); // a chosen order replaces all others
      choose();
    });
    window.addEventListener("popstate", () => {
      fill(location.search);
      show(normal(location.search), "pop");
    });
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    const button = event.target.closest("button.copy");
    if (button) copy(button);
    if (!link || !results) return;
    const isPlain = !(event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (!isPlain || link.origin !== location.origin || link.pathname !== home || link.hash) return settle();
    event.preventDefault();
    const isPaging = link.closest(".paging");
    fill(link.search);
    show(normal(link.search), "choose").then(() => {
      if (!isPaging) return;
      results.focus({ preventScroll: true });
      results.scrollIntoView();
    });
  });

  // --- suggestions ----------------------------------------------------------------------------------------------------

  const list = document.createElement("ul");
  let suggesting = 0;

  list.id = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Packages");
  box.after(list);
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", list.id);
  box.setAttribute("aria-expanded", "false");

  async function suggest() {
    const mine = ++suggesting;
    const text = box.value.trim();
    let found = [];
    if (text.length > 1 && !/[@%+~=/^:]/.test(text)) {
      try {
        const response = await fetch(`${form.dataset.suggest}?${new URLSearchParams({ q: text, limit: 8 })}`);
        if (response.ok) found = (await response.json()).suggestions;
      } catch {
        // Searching works without suggestions.
      }
    }
    if (mine !== suggesting || active()) return; // nothing moves while one is selected
    if (document.activeElement !== box || (found.length === 1 && found[0].package === text)) found = [];
    list.replaceChildren(...found.map(option));
    list.hidden = !found.length;
    box.setAttribute("aria-expanded", String(!list.hidden));
    box.removeAttribute("aria-activedescendant");
  }

  function option({ package: name, specs, why }, number) {
    const made = document.createElement("li");
    const value = document.createElement("bdi");
    const count = document.createElement("span");
    made.id = `suggestion-${number}`;
    made.dataset.package = name;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", "false");
    value.textContent = name;
    count.className = "count";
    const reason = { alias: "also called so, ", typo: "similar, " }[why] ?? "";
    count.textContent = `${reason}${specs.toLocaleString("en")} ${specs === 1 ? "spec" : "specs"}`;
    made.append(value, " ", count);
    return made;
  }

  function close() {
    suggesting++;
    list.hidden = true;
    list.replaceChildren();
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  }

  const active = () => list.querySelector("[aria-selected=true]");

  // Moves to the next or previous option; 0 deselects all of them.
  function activate(step) {
    const options = [...list.children];
    const at = options.indexOf(active());
    const next = step && options.at(at < 0 && step > 0 ? 0 : (Math.max(at, 0) + step) % options.length);
    for (const each of options) each.setAttribute("aria-selected", String(each === next));
    if (!next) return box.removeAttribute("aria-activedescendant");
    box.setAttribute("aria-activedescendant", next.id);
    next.scrollIntoView({ block: "nearest" });
  }

  function take(chosen) {
    box.value = chosen.dataset.package;
    close();
    form.requestSubmit();
  }

  function typedOn() {
    clearTimeout(typing);
    clearTimeout(unfinished);
    activate(0);
    typing = setTimeout(() => {
      suggest();
      if (results && asked() === shown) stay();
      else if (results) show(asked(), "type");
    }, TYPING_MS);
  }

  box.addEventListener("input", (event) => event.isComposing || typedOn());
  box.addEventListener("compositionend", typedOn);
  box.addEventListener("blur", close);
  form.addEventListener("submit", close);
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", (event) => {
    const chosen = event.target.closest("[role=option]");
    if (chosen) take(chosen);
  });

  box.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const isOpen = !list.hidden;
    if (event.key === "ArrowDown" && isOpen) activate(1);
    else if (event.key === "ArrowUp" && isOpen) activate(-1);
    else if (event.key === "ArrowDown" && results?.querySelector("a.hit")) results.querySelector("a.hit").focus();
    else if (event.key === "Enter" && active()) take(active());
    else if (event.key === "Escape" && isOpen) close();
    else if (event.key === "Escape" && box.value) {
      box.value = "";
      typedOn();
    } else return;
    event.preventDefault();
  });

  // --- keys -----------------------------------------------------------------------------------------------------------

  const shortcut = byId("shortcut");
  const isOn = shortcut.querySelector("input");
  shortcut.hidden = false;
  isOn.checked = store.get("shortcut") !== "off";
  isOn.addEventListener("change", () => store.set("shortcut", isOn.checked ? "on" : "off"));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target, key } = event;
    if (key === "/" && isOn.checked && !target.closest("input:not([type=checkbox]), select, textarea")) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if ((key === "ArrowDown" || key === "ArrowUp") && target.matches("a.hit") && !event.shiftKey) {
      event.preventDefault();
      const hits = [...document.querySelectorAll("a.hit")];
      const next = hits.indexOf(target) + (key === "ArrowDown" ? 1 : -1);
      (next < 0 ? box : (hits[next] ?? target)).focus();
    }
  });

  // --- copying, and the remembered machine ----------------------------------------------------------------------------

  async function copy(button) {
    const before = button.previousElementSibling;
    const codes = before.matches("code") ? [before] : [...before.querySelectorAll("code")];
    const text = codes.map((code) => code.textContent).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      announce(codes.length > 1 ? `Copied ${codes.length} commands` : `Copied ${text}`, true);
    } catch {
      const end = codes.at(-1);
      getSelection().setBaseAndExtent(codes[0], 0, end, end.childNodes.length);
      announce("The browser doesn't allow copying. The text is selected: copy it with Ctrl+C or ⌘C.", true);
    }
  }

  const remembered = byId("remembered");
  const machine = store.get("arch");
  if (machine && !arch.value && results) {
    remembered.querySelector("bdi").textContent = machine;
    remembered.hidden = false;
    remembered.addEventListener("click", () => {
      arch.value = machine;
      remembered.hidden = true;
      arch.focus();
      choose();
    });
  }

  const from = document.referrer && new URL(document.referrer);
  if (!results && from && from.origin === location.origin && from.pathname === home && from.search) {
    const link = document.createElement("a");
    const back = paragraph("", "back");
    link.href = from.href;
    link.textContent = "Back to the results";
    back.append(link);
    byId("main").prepend(back);
  }

  document.documentElement.classList.add("scripted");
  const filters = byId("filters");
  if (filters && !CSS.supports("selector(::details-content)") && matchMedia("(min-width: 64rem)").matches)
    filters.open = true;
  if (box.value !== box.defaultValue) typedOn();
})();
