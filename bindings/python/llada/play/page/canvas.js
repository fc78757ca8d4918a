// The canvas of one decoder: a cell for each token, tinted by how sure the model is, and what would be done to it.
import { el, percent, svg, tint } from "./dom.js";

const STATES = ["prompt", "mask", "draft", "settled"];
const FLASHES = { unmask: "--sure", replace: "--edit", insert: "--in", delete: "--out", remask: "--pale" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// What the last step did, by the position where it is seen afterwards.
export function changes(state, mask) {
  const found = new Array(state.canvas.length).fill(null);
  for (const [place, kind, old, , , , last] of state.events) {
    if (kind === "insert") {
      found.splice(last, 1);
      found.splice(place, 0, { kind, old: null });
    } else if (kind === "delete") {
      found.splice(place, 1);
      found.splice(last, 0, null);
      if (old !== mask && last > place && !found[place]) found[place] = { kind, old };
    } else if (place < found.length) {
      found[place] = { kind, old };
    }
  }
  return found;
}

// Edits by position: what is written there, what comes in before it, whether it goes.
function planned(edits) {
  const plan = new Map();
  for (const [place, token, , kind] of edits ?? []) {
    const here = plan.get(place) ?? { write: null, inserts: [], gone: false };
    if (kind === "write") here.write = token;
    else if (kind === "insert") here.inserts.push(token);
    else here.gone = true;
    plan.set(place, here);
  }
  return plan;
}

export class Canvas {
  // onchoose(position) when a cell is pointed at for good. `name` tells several canvases apart.
  constructor(name, onchoose) {
    this.name = name;
    this.cells = [];
    this.keys = [];
    this.labels = [];
    this.rest = el("span", { class: "rest" });
    this.map = svg("svg", { class: "map", preserveAspectRatio: "none", "aria-hidden": "true" });
    const onclick = event => {
      const cell = event.target.closest("[data-position]");
      onchoose(cell === null ? null : Number(cell.dataset.position));
    };
    const about = { class: "canvas", role: "listbox", tabindex: 0, "aria-label": `canvas ${name}` };
    this.body = el("div", { ...about, onclick });
  }

  // `plan`: the edits that are shown before they are done; `certain`: whether they are the proposal. `other`: the state
  // beside it, with which it is compared.
  draw(state, model, { selected, plan, certain, other }) {
    const fresh = state.node !== this.state?.node;
    this.state = state;
    this.model = model;
    const moved = changes(state, model.mask), edits = planned(plan), locked = new Set(state.locked);
    const flow = [];
    state.canvas.forEach((token, place) => {
      const cell = (this.cells[place] ??= this.newCell(place));
      const look = this.look(place, moved[place], edits.get(place) ?? null, certain);
      if (locked.has(place)) look.classes.push("locked");
      if (place === selected) look.classes.push("chosen");
      if (other && differs(state, other, place)) look.classes.push("differs");
      const key = JSON.stringify(look);
      if (key !== this.keys[place]) paint(cell, place, look);
      this.keys[place] = key;
      cell.setAttribute("aria-selected", place === selected);
      if (fresh && moved[place] && !calm.matches) flash(cell, moved[place].kind);
      if (place % state.blockLength === 0) flow.push(this.label(place / state.blockLength));
      flow.push(cell);
    });
    const blocks = state.blocks - Math.ceil(state.canvas.length / state.blockLength);
    this.rest.textContent = blocks > 0 ? `+ ${blocks} ${blocks === 1 ? "block" : "blocks"} of masks` : "";
    if (this.count !== flow.length) this.body.replaceChildren(...flow, this.rest);
    this.count = flow.length;
    if (selected === null) this.body.removeAttribute("aria-activedescendant");
    else this.body.setAttribute("aria-activedescendant", `${this.name}-${selected}`);
    if (fresh) this.drawMap();
  }

  newCell(place) {
    return el("span", { id: `${this.name}-${place}`, role: "option", "data-position": place });
  }

  text(token) {
    if (token === this.model.mask) return "░";
    return this.model.ends.includes(token) ? "∎" : this.state.texts[token] ?? `${token} `;
  }

  // How a position is drawn: what comes before it, what stands there, and what is to stand there.
  look(place, change, edit, certain) {
    const { state, model } = this, token = state.canvas[place], reason = state.reasons[place];
    const kind = STATES[Number(state.states[place])], masked = kind === "mask";
    const thought = masked ? state.thoughts[place] : -1, guessed = thought >= 0 && thought !== model.mask;
    const sure = masked ? (thought >= 0 ? state.thoughtSure[place] : null) : state.sure[place] ?? null;
    const classes = ["cell", kind];
    if (change) classes.push(`did-${change.kind}`);
    else if (reason.endsWith("edit")) classes.push("edited");
    if (reason === "host") classes.push("host");
    if (guessed) classes.push(["forwarded", "proposed"].includes(state.phase) ? "ghost" : "stale");
    if (edit) classes.push("plan", certain ? "certain" : "possible");
    if (edit?.gone) classes.push("goes");
    const writes = edit !== null && edit.write !== null;
    if (writes) classes.push(masked ? "fills" : "replaces");
    return {
      classes,
      sure,
      before: edit?.inserts.map(each => this.text(each)).join("") ?? "",
      shown: this.text(guessed ? thought : token),
      after: writes && edit.write !== (masked ? thought : token) ? this.text(edit.write) : "",
    };
  }

  label(block) {
    const label = (this.labels[block] ??= el("span", { class: "block", "aria-hidden": "true", "data-block": block }));
    const { state } = this, now = Math.floor(state.active[0] / state.blockLength);
    label.classList.toggle("now", block === now && state.phase !== "finished");
    return label;
  }

  // All of it on a line, blocks to come as well: neighbours that look alike are drawn as one.
  drawMap() {
    const { state } = this, length = state.blocks * state.blockLength, parts = [];
    const kind = place => (place < state.canvas.length ? STATES[Number(state.states[place])] : "mask");
    const level = place => (["prompt", "mask"].includes(kind(place)) ? 0 : Math.round(8 * (state.sure[place] ?? 0)));
    for (let first = 0, place = 1; place <= length; place++) {
      if (place < length && kind(place) === kind(first) && level(place) === level(first)) continue;
      const rect = svg("rect", { x: first, y: 0, width: place - first, height: 1, class: kind(first) });
      if (level(first)) rect.style.fill = tint(level(first) / 8, 3);
      parts.push(rect);
      first = place;
    }
    const [start, stop] = state.phase === "finished" ? [0, 0] : state.active;
    parts.push(svg("rect", { x: start, y: 0.86, width: stop - start, height: 0.14, class: "now" }));
    this.map.setAttribute("viewBox", `0 0 ${length} 1`);
    this.map.replaceChildren(...parts);
  }

  // The position in the line above (-1) or below (1), as it is drawn.
  beside(place, way) {
    const here = this.cells[place].getBoundingClientRect();
    let best = place, least = Infinity;
    this.state.canvas.forEach((_, other) => {
      const box = this.cells[other].getClientRects()[0];
      if (!box || way * (box.top - here.top) < 4) return;
      const far = 20 * Math.abs(box.top - here.top) + Math.abs(box.left - here.left);
      if (far < least) [best, least] = [other, far];
    });
    return best;
  }
}

// Both have written there, and not the same.
function differs(state, other, place) {
  const written = [state, other].every(each => "23".includes(each.states[place] ?? "1"));
  return written && state.canvas[place] !== other.canvas[place];
}

function paint(cell, place, { classes, sure, before, shown, after }) {
  cell.className = classes.join(" ");
  cell.replaceChildren();
  if (before) cell.append(el("ins", { class: "comes" }, before));
  cell.append(after || classes.includes("goes") ? el("span", { class: "old" }, shown) : shown);
  if (after) cell.append(el("ins", {}, after));
  if (sure === null) cell.style.removeProperty("--tint");
  else cell.style.setProperty("--tint", tint(sure));
  cell.title = `${place} · ${classes[1]}${sure === null ? "" : ` · ${percent(sure)}`}`;
}

function flash(cell, kind) {
  const colour = getComputedStyle(cell).getPropertyValue(FLASHES[kind]);
  const steps = [{ backgroundColor: colour, opacity: 0.35 }, { opacity: 1 }];
  cell.animate(steps, { duration: 450, easing: "ease-out" });
}
