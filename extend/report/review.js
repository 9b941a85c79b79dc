"use strict";
(() => {
  const ROWS = 50;
  const CARRIED_SHOWN = 200;
  const HIDDEN = new RegExp(
    "(?![\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u{110bd}\\u{110cd}])" + // signs of number, drawn
    "[\\p{Cf}\\p{Cc}\\p{Co}\\p{Cn}\\p{Cs}\\p{Zl}\\p{Zp}\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
    "\\u3164\\ufe00-\\ufe0f\\uffa0\\u{e0100}-\\u{e01ef}]", "u");
  const LABELS = {
    0xad: "SHY", 0x34f: "CGJ", 0x61c: "ALM", 0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM", 0x200f: "RLM",
    0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ",
    0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
  };
  const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
  const VETO = "veto", APPROVE = "approve";
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const pieces = sheet.pieces.map(([spelled, text, continues, count, words]) => ({ spelled, text, continues, count, words }));
  const known = new Set(pieces.map((piece) => piece.spelled));
  const at = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en");

  // What was decided, and where it is kept.

  const decided = new Map();
  const carried = new Set();
  const KEY = `extend-review:${sheet.id}`;
  let unsaved = false;
  const memory = (() => {
    try {
      window.localStorage.setItem(`${KEY}:probe`, "1");
      window.localStorage.removeItem(`${KEY}:probe`);
      return window.localStorage;
    } catch {
      return null;
    }
  })();

  function remember() {
    unsaved = true;
    const of = (kind) => [...decided].filter(([, choice]) => choice === kind).map(([spelled]) => spelled);
    try {
      memory?.setItem(KEY, JSON.stringify({ veto: of(VETO), approve: of(APPROVE), carried: [...carried] }));
    } catch {
      tell("This browser has no room left to remember your choices: download veto.txt before you close the page.");
    }
  }

  function recall() {
    let kept = {};
    try {
      kept = JSON.parse(memory?.getItem(KEY) ?? "{}") ?? {};
    } catch { /* not ours: begin anew */ }
    const list = (value, otherwise = []) => (Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : otherwise);
    decided.clear();
    carried.clear();
    for (const kind of [APPROVE, VETO]) for (const spelled of list(kept[kind])) if (known.has(spelled)) decided.set(spelled, kind);
    for (const spelled of list(kept.carried, sheet.vetoed)) if (!known.has(spelled)) carried.add(spelled);
  }

  function decide(spelled, choice) {
    if (decided.get(spelled) === choice) decided.delete(spelled);
    else decided.set(spelled, choice);
    remember();
    showCounts();
  }

  // Text of files goes into text nodes alone, each in its own direction.

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function direction(text) {
    const letter = text.match(/\p{L}/u);
    return letter ? (RIGHT_TO_LEFT.test(letter[0]) ? "rtl" : "ltr") : sheet.direction;
  }

  const codeOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  const labelOf = (character) => LABELS[character.codePointAt(0)] ?? codeOf(character);
  const labelled = (character) => make("span", { class: "label", dir: "ltr", title: `invisible character ${codeOf(character)}` }, labelOf(character));

  /** Append text[start:end]; what cannot be seen becomes a label, but a joiner between letters keeps its work. */
  function write(element, text, start = 0, end = text.length) {
    let run = "", place = start;
    for (const character of text.slice(start, end)) {
      const joiner = character === "\u200c" || character === "\u200d";
      const inside = place > 0 && place + 1 < text.length;
      if (HIDDEN.test(character) && !(joiner && inside)) {
        if (run) element.append(run);
        element.append(labelled(character));
        run = "";
      } else run += character;
      place += character.length;
    }
    if (run) element.append(run);
    return element;
  }

  const bdi = (text, name = "") => make("bdi", { dir: direction(text), lang: sheet.language, class: name });

  /** A piece by itself: a stroke where it joins, a circle for a sign that needs a letter, its joiners named. */
  function pieceOf(text, continues, name) {
    const element = bdi(text, continues ? `${name} inside` : name);
    if (/^\p{M}/u.test(text)) element.append("\u25cc");
    write(element, text);
    const joiners = new Set([...text.slice(1, -1)].filter((character) => character === "\u200c" || character === "\u200d"));
    for (const joiner of joiners) element.append(labelled(joiner));
    return element;
  }

  /** What a spelled piece stands for: `##` continues a word, `▁` begins one (and may stand alone). */
  function bare(spelled, place) {
    if (place > 0 && spelled.length > 2 && spelled.startsWith("##")) return spelled.slice(2);
    return place === 0 && spelled.startsWith("\u2581") ? spelled.slice(1) : spelled;
  }

  function cut(word, spelledPieces) {
    const chips = make("span", { class: "chips", dir: direction(word) });
    spelledPieces.forEach((spelled, place) => {
      chips.append(spelled === sheet.unknown ? make("span", { class: "chip unknown", dir: "ltr" }, "cannot read")
        : pieceOf(bare(spelled, place) || spelled, place > 0, "chip"));
    });
    return chips;
  }

  /** A sign is drawn with the letter before it, so its mark begins there. */
  function clusterStart(word, start) {
    while (start > 0 && /^[\p{M}\u200c\u200d]/u.test(word.slice(start))) start -= /[\udc00-\udfff]/.test(word[start - 1]) ? 2 : 1;
    return start;
  }

  /** The word with every place of the piece marked; its letters stay joined. */
  function wordWith(piece, word, after) {
    const element = bdi(word, "word");
    const texts = after.map(bare);
    const exact = texts.join("") === word;
    let place = 0;
    const mark = (from, end) => {
      const start = Math.max(place, clusterStart(word, from));
      write(element, word, place, start);
      element.append(write(make("mark"), word, start, end));
      place = end;
    };
    if (exact) {
      texts.reduce((start, text, index) => {
        if (after[index] === piece.spelled) mark(start, start + text.length);
        return start + text.length;
      }, 0);
    } else {
      const start = word.indexOf(piece.text, piece.continues);
      if (start >= 0) mark(start, start + piece.text.length);
    }
    write(element, word, place);
    return element;
  }

  function exampleOf(piece, [word, count, before, after]) {
    const times = make("span", { class: "times", title: "times in the text" }, `\u00d7${number(count)}`);
    const arrow = make("span", { class: "arrow", role: "img", "aria-label": "with the new pieces" }, "\u2192");
    return make("div", { class: "example" }, make("span", { class: "found" }, wordWith(piece, word, after), times),
      cut(word, before), make("span", { class: "now" }, arrow, cut(word, after)));
  }

  function choiceOf(piece, choice, sign, told) {
    const button = make("button", { type: "button", class: choice, "data-choice": choice }, make("span", { "aria-hidden": "true" }, sign), told);
    button.addEventListener("click", () => {
      decide(piece.spelled, choice);
      showRow(button.closest("li"), piece);
    });
    return button;
  }

  function rowOf(piece) {
    const head = make("div", { class: "head" }, pieceOf(piece.text, piece.continues, "piece"),
      make("span", { class: "times" }, `\u00d7${number(piece.count)}`));
    const examples = make("div", { class: "examples" }, ...piece.words.map((place) => exampleOf(piece, sheet.words[place])));
    if (!piece.words.length) examples.append(make("p", { class: "none" }, "in no word of the text"));
    const choices = make("div", { class: "choices", role: "group" }, choiceOf(piece, APPROVE, "\u2713", "Approve"), choiceOf(piece, VETO, "\u2715", "Veto"));
    choices.setAttribute("aria-label", piece.text);
    return showRow(make("li", {}, head, examples, choices), piece);
  }

  function showRow(row, piece) {
    const choice = decided.get(piece.spelled);
    row.className = choice ?? "";
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    return row;
  }

  // The view: which pieces, in which order, which fifty of them.

  let view = pieces, first = 0;
  const keyOf = (text) => text.normalize("NFC").toLowerCase().replace(/[\u200c\u200d]/gu, "");
  const orders = {
    count: () => pieces.slice().sort((a, b) => b.count - a.count),
    rare: () => pieces.slice().sort((a, b) => a.count - b.count),
    alphabet: () => {
      let collator;
      try {
        collator = new Intl.Collator([sheet.language, "und"]);
      } catch {
        collator = new Intl.Collator();
      }
      return pieces.slice().sort((a, b) => collator.compare(a.text, b.text) || a.continues - b.continues);
    },
  };
  const ordered = new Map();

  function showView() {
    const order = at("sort").value, show = at("show").value, sought = at("filter").value;
    if (!ordered.has(order)) ordered.set(order, orders[order]());
    const key = keyOf(sought);
    const wanted = (piece) => (show === "all" || (decided.get(piece.spelled) ?? "open") === show)
      && (!sought || piece.spelled === sought || keyOf(piece.text).includes(key));
    view = ordered.get(order).filter(wanted);
    first = 0;
    showRows();
  }

  function showRows() {
    at("rows").replaceChildren(...view.slice(first, first + ROWS).map(rowOf));
    at("rows").start = first + 1;
    at("empty").hidden = view.length > 0;
    const pages = Math.max(1, Math.ceil(view.length / ROWS)), page = first / ROWS + 1;
    at("page").value = page;
    at("page").max = pages;
    at("pages").textContent = number(pages);
    at("previous").disabled = page === 1;
    at("next").disabled = page === pages;
    showCounts();
  }

  function turnTo(page) {
    const pages = Math.max(1, Math.ceil(view.length / ROWS));
    first = (Math.min(Math.max(1, Math.trunc(page) || 1), pages) - 1) * ROWS;
    showRows();
    at("rows").scrollIntoView({ block: "start" });
  }

  function showCounts() {
    let vetoed = 0;
    for (const choice of decided.values()) vetoed += choice === VETO;
    const told = [[vetoed, "vetoed"], [decided.size - vetoed, "approved"], [pieces.length - decided.size, "open"]];
    if (view.length < pieces.length) told.push([view.length, "shown"]);
    at("counts").replaceChildren(...told.flatMap(([count, name]) => [make("span", {}, make("b", {}, number(count)), ` ${name}`), " "]));
    at("progress").value = pieces.length ? decided.size / pieces.length : 1;
    const earlier = at("earlier");
    earlier.hidden = !carried.size;
    earlier.firstElementChild.textContent = `Vetoed earlier (${number(carried.size)})`;
    if (!earlier.hidden) earlier.querySelector("ul").replaceChildren(...[...carried].slice(0, CARRIED_SHOWN).map(carriedOf));
  }

  function carriedOf(spelled) {
    const inside = spelled.length > 2 && spelled.startsWith("##");
    const button = make("button", { type: "button", title: "let this veto go" }, "\u2715");
    button.setAttribute("aria-label", `let ${spelled} go`);
    button.addEventListener("click", () => {
      carried.delete(spelled);
      remember();
      showCounts();
    });
    return make("li", {}, pieceOf(bare(spelled, inside ? 1 : 0) || spelled, inside, "chip"), button);
  }

  function tell(message) {
    at("notice").textContent = message;
    at("notice").hidden = !message;
  }

  // Files: one piece a line as spelled; a line that begins with "# " is a comment.

  function vetoFile() {
    const vetoed = pieces.filter((piece) => decided.get(piece.spelled) === VETO).map((piece) => piece.spelled);
    return [...sheet.comments, ...carried, ...vetoed].map((line) => `${line}\n`).join("");
  }

  function download() {
    const link = make("a", { download: "veto.txt", href: URL.createObjectURL(new Blob([vetoFile()], { type: "text/plain;charset=utf-8" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    unsaved = false;
  }

  async function load(file) {
    const lines = (await file.text()).split(/\r?\n/);
    const named = [...new Set(lines.filter((line) => line && !line.startsWith("# ")))];
    const here = named.filter((spelled) => known.has(spelled));
    for (const spelled of named) if (known.has(spelled)) decided.set(spelled, VETO);
      else carried.add(spelled);
    remember();
    showView();
    const others = named.length - here.length;
    tell(`${number(here.length)} vetoes read from ${file.name}.` + (others ? ` ${number(others)} more are of pieces that are not on this page; they stay in the file you download.` : ""));
  }

  // Keys in the list: arrows move, A and V decide and move on. By key position, so any keyboard layout works.

  function move(button, step) {
    const row = button.closest("li"), name = button.dataset.choice;
    const beside = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (!beside && (step > 0 ? at("next") : at("previous")).disabled) return;
    if (!beside) turnTo(first / ROWS + 1 + step);
    const goal = beside ?? (step > 0 ? at("rows").firstElementChild : at("rows").lastElementChild);
    const target = goal.querySelector(`[data-choice=${name}]`);
    target.focus({ preventScroll: true });
    goal.scrollIntoView({ block: "nearest" });
  }

  at("rows").addEventListener("keydown", (event) => {
    const button = event.target.closest("button");
    if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const choice = { KeyA: APPROVE, KeyV: VETO }[event.code];
    if (!step && !choice) return;
    event.preventDefault();
    if (!choice) return move(button, step);
    const chosen = button.closest("li").querySelector(`[data-choice=${choice}]`);
    chosen.click();
    if (chosen.getAttribute("aria-pressed") === "true") move(chosen, 1);
  });
  for (const id of ["sort", "show"]) at(id).addEventListener("change", showView);
  at("filter").addEventListener("input", showView);
  at("previous").addEventListener("click", () => turnTo(first / ROWS));
  at("next").addEventListener("click", () => turnTo(first / ROWS + 2));
  at("page").addEventListener("change", () => turnTo(Number(at("page").value)));
  at("download").addEventListener("click", download);
  at("load").addEventListener("change", async () => {
    const [file] = at("load").files;
    if (file) await load(file);
    at("load").value = "";
  });
  at("clear").addEventListener("click", () => {
    if (!decided.size || !window.confirm("Forget every approval and veto made on this page?")) return;
    decided.clear();
    remember();
    showView();
  });
  window.addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    recall();
    showRows();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!memory && unsaved) event.preventDefault();
  });
  recall();
  if (!memory) tell("This browser does not remember choices for this page: download veto.txt before you close it, and load it again to go on.");
  showView();
})();
