// A policy and its sliders. Above a threshold stand the confidences that it divides, so that one sees what it would do.
import { button, el, svg } from "./dom.js";

// [name, what it says, least, most, step, whether it is among the first]
const SLIDERS = [
  ["threshold", "fill a mask above", 0, 1, 0.01, true],
  ["editing_threshold", "replace a token above", 0, 1, 0.01, true],
  ["steps", "steps for a block", 1, 64, 1, true],
  ["num_to_transfer", "fill at least", 1, 16, 1, true],
  ["max_post_steps", "steps without a mask", 0, 32, 1, false],
  ["penalty_lambda", "penalty for repeating", 0, 4, 0.1, false],
  ["mbe_window", "blocks revisited", 1, 8, 1, false],
  ["mbe_rounds", "times revisited", 1, 8, 1, false],
  ["minimal_topk", "minimal_topk", 1, 16, 1, false],
  ["max_steps_per_block", "most steps of a block", 1, 1000, 1, false],
  ["temperature", "temperature", 0, 2, 0.05, true],
  ["top_k", "top k", 0, 100, 1, false],
  ["top_p", "top p", 0.01, 1, 0.01, false],
  ["seed", "seed", 0, 99, 1, false],
];
const PRESETS = {
  "L": "LLaDA2.2: fills, replaces, inserts and deletes",
  "S": "LLaDA2.1: writes early, replaces freely",
  "Q": "LLaDA2.1: careful",
  "2.0": "LLaDA2.0: what is written stays",
};
const NONE = { top_k: 0, top_p: 1 }; // what stands for "all"
// A fork keeps the predictions that are there.
const LATER = ["temperature", "top_k", "top_p", "seed", "penalty_lambda"];

export const samePolicy = (one, other) => Object.keys(one).every(name => one[name] === other[name]);

export class PolicyPanel {
  // onchange(policy) as a slider moves; onapply() and onreset() of what was changed.
  constructor({ onchange, onapply, onreset }) {
    this.onchange = onchange;
    this.heading = el("h2", {}, "Policy");
    this.which = el("div", { class: "which", role: "group", "aria-label": "whose policy" });
    this.presets = el("div", { class: "presets", role: "group", "aria-label": "presets" });
    this.sliders = el("div", { class: "sliders" });
    this.note = el("p", { class: "note" });
    const use = button("Use it now", "a fork with this policy (Enter)", onapply, { class: "first" });
    const reset = button("As before", "forget the change", onreset);
    this.element = el(
      "section",
      { class: "panel policy", "aria-label": "policy" },
      el("div", { class: "head" }, this.heading, this.which),
      this.presets,
      this.sliders,
      el("div", { class: "changed" }, this.note, el("div", { class: "row" }, use, reset)),
    );
  }

  // `policy`: as shown. `state`: of the decoder, which may have another; null before anything was asked. `lanes`: the
  // names of the decoders to choose from.
  draw(model, policy, state, { lanes, lane, onlane }) {
    this.policy = policy;
    const choice = (name, index) =>
      button(name, `of ${name}`, () => onlane(index), { "aria-pressed": `${index === lane}` });
    this.which.replaceChildren(...lanes.map(choice));
    const current = state?.policy ?? null;
    const key = [model.name, policy.kind].join();
    if (key !== this.key) this.build(model, policy);
    this.key = key;
    for (const [name, preset] of Object.entries(model.presets)) {
      this.presets.querySelector(`[data-preset="${name}"]`).setAttribute("aria-pressed", samePolicy(preset, policy));
    }
    for (const [name, slider] of this.inputs) {
      const value = policy[name] ?? NONE[name] ?? 0;
      if (Number(slider.input.value) !== value) slider.input.value = value;
      slider.output.textContent = name in NONE && value === NONE[name] ? "all" : `${value}`;
      slider.row.classList.toggle("differs", current !== null && policy[name] !== current[name]);
    }
    this.dots(state);
    const changed = current !== null && !samePolicy(policy, current);
    this.element.classList.toggle("is-changed", changed);
    const later = changed && state.phase !== "ready" && LATER.some(name => policy[name] !== current[name]);
    const said = "Drawn on the canvas, not done yet: the next step will use it.";
    this.note.textContent = later ? `${said} What is predicted stays; the next forward draws otherwise.` : said;
  }

  build(model, policy) {
    const preset = ([name, values]) =>
      button(name, PRESETS[name], () => this.onchange({ ...values }), { "data-preset": name });
    this.presets.replaceChildren(...Object.entries(model.presets).map(preset));
    this.inputs = new Map();
    const first = [], more = [];
    for (const [name, says, min, max, step, front] of SLIDERS) {
      if (!model.fields[policy.kind].includes(name)) continue;
      (front ? first : more).push(this.slider(name, says, min, max, step));
    }
    this.sliders.replaceChildren(...first, el("details", {}, el("summary", {}, "more"), ...more));
  }

  slider(name, says, min, max, step) {
    const output = el("output");
    const change = () => {
      const value = Number(input.value);
      this.onchange({ ...this.policy, [name]: name in NONE && value === NONE[name] ? null : value });
    };
    const about = { type: "range", min, max, step, "aria-label": name, "data-field": name };
    const input = el("input", { ...about, oninput: change });
    const dots = name.endsWith("threshold") ? svg("svg", { class: "dots", "aria-hidden": "true" }) : null;
    const row = el("label", { class: "slider", title: name }, el("span", {}, says), output, dots, input);
    this.inputs.set(name, { input, output, dots, row });
    return row;
  }

  // Masks that may be filled, and drafts of which the model thinks otherwise: a dot where each is.
  dots(state) {
    const found = { threshold: [], editing_threshold: [] };
    if (state && state.phase !== "finished") {
      const locked = new Set(state.locked);
      for (let place = state.rows[0]; place < Math.min(state.rows[1], state.canvas.length); place++) {
        const sure = state.thoughtSure[place], thought = state.thoughts[place];
        if (thought < 0 || locked.has(place)) continue;
        if (state.states[place] === "1") found.threshold.push(sure);
        else if (state.states[place] === "2" && thought !== state.canvas[place]) found.editing_threshold.push(sure);
      }
    }
    for (const [name, values] of Object.entries(found)) {
      const slider = this.inputs.get(name);
      if (!slider) continue;
      const over = value => value > this.policy[name];
      // Dots that would hide each other stand on top of each other.
      const heap = new Map();
      const dot = value => {
        const at = Math.round(value * 60), high = Math.min(heap.get(at) ?? 0, 6);
        heap.set(at, high + 1);
        const spot = { cx: `${((100 * at) / 60).toFixed(1)}%`, cy: 22 - high * 3.2, r: 2 };
        return svg("circle", { ...spot, class: over(value) ? "over" : "" });
      };
      slider.dots.replaceChildren(...values.sort((one, other) => one - other).map(dot));
    }
  }
}
