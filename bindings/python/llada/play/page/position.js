// One position: what stands there, what else the model thought of, what was done there, which experts it went to; and
// all that can be done to it.
import { button, el, icon, percent, quoted, svg, tint } from "./dom.js";

const KINDS = ["prompt", "masked", "draft", "settled"];

export class Position {
  // `does`: write(place, text or [ids]), mask(place), lock(place), ban(token, place), insert(place, text),
  // remove(place), drop(place), disable(layer, expert), close()
  constructor(does) {
    this.does = does;
    this.title = el("h2");
    this.facts = el("p", { class: "facts" });
    const field = { type: "text", placeholder: "text, or #id", "aria-label": "what to write", autocomplete: "off" };
    this.field = el("input", { ...field, spellcheck: "false" });
    this.writes = button("Write", "write it (Enter)", null, { type: "submit", class: "first" });
    const submit = event => {
      event.preventDefault();
      if (this.field.value) does.write(this.place, this.taken());
    };
    this.mask = button("Mask", "mask it (m)", () => does.mask(this.place));
    this.lock = button("Lock", "the policy leaves it alone (l)", () => does.lock(this.place));
    const inserts = "put in before it what stands in the field, or a mask (i)";
    this.insert = button("Insert", inserts, () => does.insert(this.place, this.taken()));
    this.remove = button("Delete", "take it out: what stands behind moves up (x)", () => does.remove(this.place));
    const drops = "take what is proposed here out of the proposal (u)";
    this.drop = button("Leave as it is", drops, () => does.drop(this.place));
    this.candidates = el("ol", { class: "candidates" });
    this.experts = el("div", { class: "experts" });
    this.history = el("ol", { class: "history" });
    this.candidatesHead = el("h3", {}, "Candidates");
    this.expertsHead = el("h3", {}, "Experts");
    this.element = el(
      "section",
      { class: "panel position", "aria-label": "position" },
      button("×", "close (Escape)", () => does.close(), { class: "close", "aria-label": "close" }),
      this.title,
      this.facts,
      el("form", { class: "row", onsubmit: submit }, this.field, this.writes),
      el("div", { class: "row edit" }, this.mask, this.lock, this.insert, this.remove, this.drop),
      this.candidatesHead,
      this.candidates,
      this.expertsHead,
      this.experts,
      el("h3", {}, "History"),
      this.history,
    );
  }

  // What stands in the field, which is empty then.
  taken() {
    const text = this.field.value;
    this.field.value = "";
    return text;
  }

  // `proposes`: edits of this position go into the proposal. `planned`: something is proposed here.
  draw(state, model, place, { proposes, planned }) {
    if (place !== this.place) this.element.scrollTop = 0;
    this.place = place;
    const token = state.canvas[place], kind = KINDS[Number(state.states[place])];
    const locked = state.locked.includes(place);
    this.title.textContent = token === model.mask ? "mask " : `${quoted(state.texts[token] ?? "")} `;
    this.title.append(el("small", {}, `token ${token}, position ${place}`));
    this.facts.textContent = this.said(state, place, locked ? `${kind}, locked` : kind).join(" · ");
    const ended = state.phase === "finished", fixed = ended || kind === "prompt";
    this.writes.textContent = proposes ? "Propose" : "Write";
    this.lock.textContent = locked ? "Unlock" : "Lock";
    for (const control of [this.field, this.writes, this.lock]) control.disabled = ended;
    for (const control of [this.mask, this.insert, this.remove]) control.disabled = fixed;
    this.drop.hidden = !planned;
  }

  said(state, place, kind) {
    const say = [kind], sure = state.sure[place] ?? null, thought = state.thoughts[place];
    if (sure !== null) say.push(`confidence ${percent(sure)}`);
    const written = state.written[place];
    if (written) say.push(`written by forward ${written} (${state.reasons[place].replace("_", " ")})`);
    if (thought >= 0 && thought !== state.canvas[place]) {
      say.push(`the model sees ${quoted(state.texts[thought] ?? "")} ${percent(state.thoughtSure[place])}`);
    }
    return say;
  }

  // What the session knows of it.
  fill(state, model, cell) {
    this.cell = cell;
    const none = cell.candidates.length === 0;
    this.candidatesHead.hidden = this.candidates.hidden = none;
    const ended = state.phase === "finished";
    this.candidates.replaceChildren(...cell.candidates.map((each, index) => this.candidate(each, index, model, ended)));
    this.history.replaceChildren(...cell.history.map(entry));
    if (!cell.history.length) this.history.append(el("li", { class: "nothing" }, "nothing yet"));
    this.expertsHead.hidden = this.experts.hidden = cell.experts.length === 0;
    if (cell.experts.length) this.fillExperts(model, cell.experts);
  }

  candidate([token, text, probability], index, model, disabled) {
    const bar = el("span", { class: "bar" }), word = token === model.mask ? "mask" : quoted(text);
    bar.style.width = `${100 * probability}%`;
    bar.style.background = tint(probability, 2);
    const write = { type: "button", class: "candidate", title: `token ${token} (${index + 1})`, disabled };
    const bans = event => this.does.ban(token, event.shiftKey ? -1 : this.place);
    const ban = { type: "button", class: "ban", title: "ban it here; with Shift, everywhere", disabled };
    return el(
      "li",
      {},
      el(
        "button",
        { ...write, onclick: () => this.does.write(this.place, [token]) },
        bar,
        el("span", { class: "word" }, word),
        el("span", { class: "number" }, percent(probability)),
      ),
      el("button", { ...ban, "aria-label": `ban ${word}`, onclick: bans }, icon("ban")),
    );
  }

  fillExperts(model, layers) {
    const wide = Math.min(16, 256 / model.experts), high = 9;
    const most = Math.max(...layers.flatMap(([, chosen]) => chosen.map(([, weight]) => weight)));
    const said = el("p", { class: "facts" }, "A row a layer, a column an expert. Point at one.");
    const mark = (row, layer, expert, weight) => {
      const words = `layer ${layer}, expert ${expert}: weight ${weight.toFixed(3)} `;
      const disable = () => this.does.disable(layer, expert);
      const off = button("Disable", "no position chooses it any more, from here on", disable);
      const box = { x: expert * wide, y: row * high, width: Math.max(wide - 0.5, 1), height: high - 1, rx: 1 };
      const shade = (0.25 + (0.75 * weight) / most).toFixed(2);
      const does = { onmouseenter: () => (said.textContent = words), onclick: () => said.replaceChildren(words, off) };
      return svg("rect", { ...box, ...does, "fill-opacity": shade, class: "chosen-expert" }, svg("title", {}, words));
    };
    const marks = layers.flatMap(([layer, chosen], row) =>
      chosen.map(([expert, weight]) => mark(row, layer, expert, weight)),
    );
    const size = { viewBox: `0 0 ${model.experts * wide} ${layers.length * high}`, preserveAspectRatio: "none" };
    const ground = svg("rect", { width: "100%", height: "100%", class: "ground" });
    this.experts.replaceChildren(svg("svg", { ...size, class: "grid" }, ground, ...marks), said);
  }
}

function entry({ what, why, sure, forwards }) {
  const reason = why === "forward" ? "" : why.replace("_", " ");
  const number = [sure === null || why === "host" ? "" : percent(sure), reason].filter(Boolean).join(" ");
  const when = el("span", { class: "when" }, forwards);
  return el("li", { class: why }, when, el("span", {}, what), el("span", { class: "number" }, number));
}
