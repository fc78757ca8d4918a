// What the page consists of, and what each part of it calls.
import { Branches } from "./branches.js";
import { Canvas } from "./canvas.js";
import { button, el } from "./dom.js";
import { PolicyPanel } from "./policy.js";
import { Position } from "./position.js";

export const NAMES = ["A", "B"];
export const MOVES = ["begin", "back", "play", "half", "step", "block", "end"];

const TITLES = {
  begin: "to the beginning (<)",
  back: "back (,)",
  play: "play or pause (space)",
  half: "half a step: forward, propose or apply (/)",
  step: "one step (.)",
  block: "to the end of the block (e)",
  end: "to the end (E)",
};

// Builds it inside `app.root`. What is drawn anew becomes the app's.
export function frame(app) {
  app.root.classList.add("llada");
  app.root.tabIndex = -1;
  app.status = el("p", { class: "status", role: "status" });
  app.file = el("input", { type: "file", accept: ".jsonl", hidden: true, onchange: () => app.load() });
  app.dialog = el("dialog", { onclick: event => event.target === app.dialog && app.dialog.close() });
  app.error = el("div", { class: "error", role: "alert", hidden: true, onclick: () => (app.error.hidden = true) });
  app.asking = asking(app);
  app.transport = transport(app);
  boards(app);
  app.branches = new Branches(node => app.steps.go(node));
  app.policy = new PolicyPanel({
    onchange: policy => app.changePolicy(policy),
    onapply: () => app.key("apply"),
    onreset: () => app.changePolicy(null),
  });
  app.position = new Position({
    write: (place, what) => app.edits.write(place, what),
    mask: place => app.edits.mask(place),
    lock: place => app.edits.lock(place),
    ban: (token, place) => app.edits.act(["ban", place, token, true]),
    insert: (place, text) => app.edits.insert(place, text),
    remove: place => app.edits.plan(place, ["delete"]),
    drop: place => app.edits.plan(place, []),
    disable: (layer, expert) => app.edits.act(["disable_expert", layer, expert, true]),
    close: () => app.select(null),
  });
  const sides = app.boards.map(board => board.element);
  const main = el("main", {}, el("div", { class: "boards" }, ...sides), app.transport, legend(), app.branches.element);
  const aside = el("aside", {}, app.position.element, app.policy.element);
  const work = el("div", { class: "work" }, introduction(), main, aside);
  app.root.append(header(app), app.asking, work, app.file, app.dialog, app.error);
}

function header(app) {
  const mark = el("span", { class: "logo", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  const menu = el(
    "div",
    { class: "menu" },
    button("Python", "as a Python script (p)", () => app.key("code")),
    button("Trace", "save the trace (s)", () => app.key("save")),
    button("Page", "save the trace as a page", () => app.save("page")),
    button("Load", "do a saved trace again", () => app.file.click()),
    button("◐", "light, dark, or as the system", () => app.shade(), { "aria-label": "light or dark" }),
    button("?", "keys (?)", () => app.key("help"), { "aria-label": "keys" }),
  );
  return el("header", {}, el("h1", {}, mark, "llada playground"), app.status, menu);
}

function asking(app) {
  const enter = event => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    app.ask();
  };
  const hint = { rows: 1, placeholder: "Ask the model something", "aria-label": "prompt", spellcheck: "false" };
  app.prompt = el("textarea", { ...hint, oninput: () => app.grow(), onkeydown: enter });
  new ResizeObserver(() => app.grow()).observe(app.prompt);
  const number = (label, value, max, title) => {
    const field = el("input", { type: "number", min: 1, max, value, "aria-label": label });
    return el("label", { title }, label, field);
  };
  app.options = {
    gen_length: number("tokens", 128, 100000, "gen_length: tokens to generate at most"),
    block_length: number("a block", 32, 4096, "block_length: tokens that are denoised together"),
  };
  app.chat = el("input", { type: "checkbox", checked: true });
  app.stops = el("input", { type: "checkbox", checked: true });
  app.second = el("input", { type: "checkbox", "aria-label": "two decoders", onchange: () => app.draw() });
  app.choices = NAMES.map(name => el("select", { "aria-label": `model of ${name}`, onchange: () => app.rechoose() }));
  const options = el(
    "div",
    { class: "row options" },
    app.choices[0],
    el("label", {}, app.second, "beside a second"),
    app.choices[1],
    app.options.gen_length,
    app.options.block_length,
    el("label", {}, app.chat, "chat layout"),
    el("label", { title: "eos_early_stop" }, app.stops, "stop at the end"),
  );
  const submit = event => {
    event.preventDefault();
    app.ask();
  };
  const ask = el("button", { class: "first", title: "ask (Enter)" }, "Ask");
  return el("form", { class: "ask panel", onsubmit: submit }, el("div", { class: "row" }, app.prompt, ask), options);
}

function transport(app) {
  app.controls = {};
  for (const name of MOVES) {
    const more = { "data-control": name, "aria-label": TITLES[name].replace(/ \(.*/, "") };
    app.controls[name] = button(name === "end" ? "⇥" : name, TITLES[name], () => app.key(name), more);
  }
  const slow = { type: "range", min: 0, max: 1500, step: 50, value: 350, "aria-label": "pause between steps" };
  app.speed = el("input", slow);
  app.thinking = el("input", { type: "checkbox", checked: true });
  app.both = el("input", { type: "checkbox", checked: true });
  app.bothLabel = el("label", { title: "steps are of both decoders" }, app.both, "both");
  app.comparing = button("compare", "a second decoder from here, or none (c)", () => app.key("compare"));
  app.comparing.append("Compare");
  app.comparing.classList.add("compare");
  return el(
    "div",
    { class: "transport", role: "toolbar", "aria-label": "steps" },
    ...MOVES.map(name => app.controls[name]),
    el("label", { class: "speed", title: "pause between steps" }, "fast", app.speed, "slow"),
    el("label", { title: "playing shows what is proposed before it is done" }, app.thinking, "proposals"),
    app.comparing,
    app.bothLabel,
  );
}

function boards(app) {
  app.canvases = NAMES.map((name, lane) => new Canvas(`c${name}`, place => app.select(place, lane)));
  app.boards = app.canvases.map((canvas, lane) => {
    const heading = el("h2"), counters = el("div", { class: "counters" });
    const take = () => app.choose(lane);
    const about = { class: "panel board", "aria-label": `decoder ${NAMES[lane]}`, onfocusin: take, onclick: take };
    const head = el("div", { class: "head" }, heading, counters);
    return { heading, counters, element: el("section", about, head, canvas.map, canvas.body) };
  });
}

function legend() {
  const sign = (name, says) => el("span", {}, el("i", { class: `cell ${name}` }, "abc"), ` ${says}`);
  return el(
    "p",
    { class: "legend" },
    el("span", {}, "unsure ", el("i", { class: "ramp" }), " sure"),
    sign("did-unmask", "written"),
    sign("did-replace", "replaced"),
    sign("did-insert", "inserted"),
    sign("did-delete", "deleted before"),
    sign("plan possible", "would be done"),
    sign("plan certain", "proposed"),
    sign("host", "by you"),
    sign("locked", "locked"),
  );
}

// What stands there before anything was asked.
function introduction() {
  const cell = (text, sure, kind = "draft") => el("i", { class: `cell ${kind} ${sure}` }, text);
  const canvas = el(
    "div",
    { class: "canvas", "aria-hidden": "true" },
    ...["First", " ", "7", " +"].map(text => cell(text, "sure")),
    ...[" ", "5", " gives"].map(text => cell(text, "unsure")),
    ..."░░░░░░░░░".split("").map(text => cell(text, "", "mask")),
  );
  const key = name => el("kbd", {}, name);
  return el(
    "section",
    { class: "panel introduction" },
    canvas,
    el("p", {}, "A block of masks becomes text, all of its positions at a time. Ask something, then take steps."),
    el("p", {}, key("."), "takes one, ", key("/"), "half of one, ", key("space"), "plays, ", key(","), "goes back; ",
      key("?"), "lists the rest. Every state is kept."),
    el("p", {}, "Point at a token to see what else the model thought of, and to change it. Move a threshold to see ",
      "what it would do before it is done."),
  );
}
