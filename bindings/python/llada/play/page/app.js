// The playground: what was asked, one decoder or two, and what is known of them.
import { commands } from "./commands.js";
import { button, download, el, icon } from "./dom.js";
import { Edits } from "./edits.js";
import { frame, MOVES, NAMES } from "./frame.js";
import { listen } from "./keys.js";
import { samePolicy } from "./policy.js";
import { Steps } from "./steps.js";

const PHASES = { ready: "next: forward", forwarded: "next: propose", proposed: "next: apply" };
const ENDS = { eos: "ended", length: "full" };
// Calls that change nothing, and are told nothing of the tree.
const LOOKS = ["hello", "would", "cell", "tokens", "save"];

// Builds the playground inside an element. `call(name, arguments)` asks the session; `keys` is where keys are heard;
// `hash` may name a position.
export function mount(root, call, keys, hash = "") {
  const app = new App(root, call);
  listen(keys, (name, event) => app.key(name, event));
  app.begin(/^#\d+$/.test(hash) ? Number(hash.slice(1)) : null);
  return app;
}

class App {
  constructor(root, call) {
    this.root = root;
    this.call = call;
    this.models = [];
    this.lanes = []; // the states that the decoders are in
    this.lane = 0; // the one at hand
    this.selected = null; // a position of it
    this.changed = [null, null]; // the policies that are tried
    this.preview = [null, null]; // what those would propose
    this.queue = Promise.resolve();
    this.waiting = 0;
    this.steps = new Steps(this);
    this.edits = new Edits(this);
    frame(this);
    this.commands = commands(this);
  }

  key(name, event) {
    this.commands[name](event);
  }

  async begin(place) {
    await this.send("hello", {}, ({ models, question, lanes }) => {
      this.models = models;
      this.choices.forEach((choice, lane) => {
        choice.replaceChildren(...models.map((model, number) => el("option", { value: number }, model.name)));
        const found = models.findIndex(model => model.name === lanes[lane]?.model);
        choice.value = found >= 0 ? found : Math.min(lane, models.length - 1);
      });
      this.second.checked = lanes.length > 1;
      if (!question) return;
      this.prompt.value = question.prompt;
      this.chat.checked = question.chat !== false;
      for (const [name, label] of Object.entries(this.options)) {
        label.querySelector("input").value = question.options[name] ?? label.querySelector("input").value;
      }
    });
    this.grow();
    if (!this.lanes.length) this.prompt.focus();
    else if (place !== null) this.select(place);
  }

  // -- Asking the session

  // One call at a time, in their order. What comes back is drawn; null: it was refused, which is said.
  send(name, args, then) {
    const answer = this.queue.then(async () => {
      this.waiting += 1;
      const slow = setTimeout(() => this.root.classList.add("busy"), 150);
      try {
        const known = { since: this.branches.newest, epoch: this.branches.epoch };
        const told = await this.call(name, LOOKS.includes(name) ? args : { ...args, ...known });
        if (told.tree) this.branches.take(told.tree);
        then?.(told);
        if (told.lanes) this.stand(told.lanes);
        return told;
      } finally {
        this.waiting -= 1;
        clearTimeout(slow);
        if (!this.waiting) this.root.classList.remove("busy");
      }
    });
    this.queue = answer.catch(() => {});
    return answer.catch(problem => {
      this.steps.halt();
      this.complain(problem.message);
      return null;
    });
  }

  stand(lanes) {
    this.lanes = lanes;
    this.lane = Math.min(this.lane, Math.max(lanes.length - 1, 0));
    this.preview = [null, null];
    this.draw();
  }

  complain(message) {
    this.error.textContent = message;
    this.error.hidden = false;
    clearTimeout(this.complaint);
    this.complaint = setTimeout(() => (this.error.hidden = true), 8000);
  }

  // The model that is chosen for a lane's next question, and the one that the lane has.
  chosen(lane) {
    return this.models[Number(this.choices[lane].value)] ?? null;
  }

  model(lane) {
    return this.models.find(model => model.name === this.lanes[lane]?.model) ?? this.chosen(lane);
  }

  // The policy that a lane is about to have, has, or begins with.
  policyOf(lane) {
    return this.changed[lane] ?? this.lanes[lane]?.policy ?? this.first(lane);
  }

  // What the model of a lane's next question is asked with, if nothing else is said.
  first(lane) {
    return Object.values(this.chosen(lane)?.presets ?? {})[0] ?? null;
  }

  async ask() {
    this.steps.halt();
    const numbers = this.second.checked ? [0, 1] : [0];
    const lanes = numbers.map(lane => ({ model: Number(this.choices[lane].value), policy: this.fitting(lane) }));
    const options = { eos_early_stop: this.stops.checked };
    for (const [name, label] of Object.entries(this.options)) {
      options[name] = Number(label.querySelector("input").value);
    }
    const question = { prompt: this.prompt.value, chat: this.chat.checked ? null : false, options };
    const done = await this.send("ask", { ...question, lanes }, () => {
      this.changed = [null, null];
      this.selected = null;
    });
    if (done) this.canvases[0].body.focus({ preventScroll: true });
  }

  // A lane's policy, if the model that is chosen can have it.
  fitting(lane) {
    const policy = this.policyOf(lane), { presets } = this.chosen(lane);
    return policy.kind === "levenshtein" && !("L" in presets) ? presets.S : policy;
  }

  // Another model begins with a policy of its own.
  rechoose() {
    NAMES.forEach((_, lane) => {
      if (this.lanes[lane] && this.chosen(lane)?.name === this.lanes[lane].model) return;
      this.changed[lane] = this.first(lane);
    });
    this.draw();
  }

  compare() {
    const on = this.lanes.length < 2;
    return this.send("compare", { on }, () => {
      this.second.checked = on;
      this.lane = on ? 1 : 0;
    });
  }

  // The lanes that a step is of.
  moving() {
    return this.lanes.length > 1 && this.both.checked ? [0, 1] : [this.lane];
  }

  // A policy that is tried: what it would do is drawn. That takes a forward, if there was none in this step.
  async changePolicy(policy) {
    const lane = this.lane;
    this.changed[lane] = policy;
    if (!policy) this.preview[lane] = null;
    this.draw();
    const state = this.lanes[lane];
    if (!policy || !state || state.phase === "finished" || this.steps.playing || this.trying) return;
    this.trying = true;
    try {
      if (state.phase === "ready") await this.send("half", { lanes: [lane] });
      for (let asked = null; this.changed[lane] && asked !== this.changed[lane]; ) {
        asked = this.changed[lane];
        const told = await this.send("would", { lane, policy: asked });
        if (!told) break;
        Object.assign(this.lanes[lane].texts, told.texts);
        this.preview[lane] = told.would;
        this.draw();
      }
    } finally {
      this.trying = false;
    }
  }

  // -- What is at hand

  select(place, lane = this.lane) {
    this.lane = lane;
    this.selected = place;
    this.draw();
    if (place !== null) this.canvases[lane].cells[place]?.scrollIntoView({ block: "nearest" });
  }

  choose(lane) {
    if (lane === this.lane || (lane > 0 && this.lanes.length < 2 && !this.second.checked)) return;
    this.lane = lane;
    this.draw();
  }

  move(key) {
    const state = this.lanes[this.lane], canvas = this.canvases[this.lane];
    if (!state) return;
    const here = this.selected ?? state.active[0] - (key === "ArrowRight" ? 1 : 0);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const to = by ? here + by : canvas.beside(Math.max(here, 0), key === "ArrowUp" ? -1 : 1);
    this.select(Math.max(0, Math.min(state.canvas.length - 1, to)));
  }

  // -- Out and in

  async save(form) {
    const file = this.lanes.length ? await this.send("save", { lane: this.lane, form }) : null;
    if (file) download(file);
  }

  async code() {
    const file = this.lanes.length ? await this.send("save", { lane: this.lane, form: "code" }) : null;
    if (!file) return;
    const copy = button("Copy", "to the clipboard", () => navigator.clipboard?.writeText(file.text));
    const save = button("Save", "as a file", () => download(file));
    this.show("The same in Python", el("pre", { class: "code", tabindex: 0 }, file.text), copy, save);
  }

  async load() {
    const [file] = this.file.files;
    if (!file) return;
    this.steps.halt();
    const text = await file.text();
    this.file.value = "";
    const told = await this.send("load", { text });
    if (told) this.say(told.difference ? `Not the same: ${told.difference}` : "Done again: the same, bit for bit.");
  }

  show(title, ...content) {
    const close = button("×", "close (Escape)", () => this.dialog.close(), { class: "close", "aria-label": "close" });
    this.dialog.replaceChildren(close, el("h2", {}, title), ...content);
    this.dialog.showModal();
  }

  shade() {
    this.root.dataset.shade = { "": "light", light: "dark", dark: "" }[this.root.dataset.shade ?? ""];
    this.draw();
  }

  // The prompt's field is as high as the prompt.
  grow() {
    const high = this.prompt.scrollHeight;
    if (high === this.grown) return;
    this.prompt.style.height = "auto";
    this.prompt.style.height = `${Math.min(this.prompt.scrollHeight, 160)}px`;
    this.grown = this.prompt.scrollHeight;
  }

  // -- Being drawn

  draw() {
    const two = this.lanes.length > 1, begun = this.lanes.length > 0;
    this.root.classList.toggle("two", two);
    this.root.classList.toggle("begun", begun);
    this.choices[1].hidden = !this.second.checked;
    this.choices[0].hidden = this.models.length < 2 && !this.second.checked;
    this.asking.hidden = begun && this.models.every(model => !model.text);
    this.boards.forEach((_, lane) => this.drawBoard(lane, two));
    this.branches.show(this.lanes.map(state => state.node));
    this.drawPolicy(two);
    this.drawControls(two, begun);
    this.drawPosition();
    this.tell();
  }

  drawBoard(lane, two) {
    const board = this.boards[lane], state = this.lanes[lane];
    board.element.hidden = !state;
    if (!state) return;
    board.element.classList.toggle("chosen", two && lane === this.lane);
    const title = `${two ? NAMES[lane] + " · " : ""}${state.model} `;
    board.heading.replaceChildren(title, el("small", {}, this.nameOf(lane)));
    const counters = Object.entries(this.counters(state));
    board.counters.replaceChildren(
      ...counters.map(([name, value]) => el("span", { "data-count": name }, el("b", {}, value), ` ${name}`)),
    );
    const preview = this.preview[lane], other = this.lanes[1 - lane];
    this.canvases[lane].draw(state, this.model(lane), {
      selected: lane === this.lane ? this.selected : null,
      plan: preview ?? state.proposal ?? state.would,
      certain: preview === null && state.proposal !== null,
      other: other?.prompt === state.prompt ? other : null,
    });
  }

  drawPolicy(two) {
    const state = this.lanes[this.lane] ?? null, policy = this.policyOf(this.lane);
    const model = state && !this.changed[this.lane] ? this.model(this.lane) : this.chosen(this.lane);
    if (!model) return;
    const lanes = two || this.second.checked ? NAMES : [];
    this.policy.draw(model, policy, state, { lanes, lane: this.lane, onlane: lane => this.choose(lane) });
  }

  drawControls(two, begun) {
    const { playing } = this.steps, able = this.steps.able(this.moving()).length > 0;
    this.controls.play.replaceChildren(icon(playing ? "pause" : "play"));
    this.controls.play.setAttribute("aria-label", playing ? "pause" : "play");
    for (const name of MOVES) this.controls[name].disabled = !begun || (!able && !["begin", "back"].includes(name));
    this.bothLabel.hidden = !two;
    this.comparing.setAttribute("aria-pressed", two);
    this.comparing.disabled = !begun;
  }

  async drawPosition() {
    const state = this.lanes[this.lane], place = this.selected;
    const shown = state !== undefined && place !== null && place < state.canvas.length;
    this.root.classList.toggle("inspecting", shown);
    this.position.element.hidden = !shown;
    if (!shown) this.asked = null;
    if (!shown) return;
    const model = this.model(this.lane), plan = state.proposal ?? state.would ?? [];
    const planned = plan.some(edit => edit[0] === place);
    this.position.draw(state, model, place, { proposes: this.edits.proposes(place), planned });
    const asked = [this.lane, state.node, place].join();
    if (asked === this.asked || this.steps.playing || this.steps.running) return;
    this.asked = asked;
    const told = await this.send("cell", { lane: this.lane, position: place });
    if (told && this.asked === asked) this.position.fill(state, model, told);
  }

  // The preset's name, or the kind.
  nameOf(lane) {
    const { presets } = this.model(lane), { policy } = this.lanes[lane];
    const found = Object.entries(presets).find(([, preset]) => samePolicy(preset, policy));
    return found?.[0] ?? `${policy.kind.replace("_", " ")}, changed`;
  }

  counters({ counts, policy }) {
    const moves = counts.insertions || counts.deletions || policy.kind === "levenshtein";
    return {
      "tokens a forward": counts.tpf.toFixed(2),
      "forwards": counts.forwards,
      "edits": counts.edits,
      ...(moves ? { "inserted": counts.insertions, "deleted": counts.deletions } : {}),
      "masks left": counts.masks,
    };
  }

  // What the last step did, and what is next.
  tell() {
    const state = this.lanes[this.lane];
    if (!state) return this.say("");
    const many = {};
    for (const [, kind] of state.events) many[kind] = (many[kind] ?? 0) + 1;
    const words = { unmask: "written", replace: "replaced", insert: "inserted", delete: "deleted", remask: "masked" };
    const did = Object.entries(words).filter(([kind]) => many[kind]).map(([kind, word]) => `${many[kind]} ${word}`);
    const block = Math.min(Math.floor(state.active[0] / state.blockLength), state.blocks - 1);
    const said = [`block ${block} of ${state.blocks}`, ENDS[state.finish] ?? PHASES[state.phase], did.join(", ")];
    return this.say(said.filter(Boolean).join(" · "));
  }

  say(words) {
    this.status.textContent = words;
  }
}
