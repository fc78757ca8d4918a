// What each key does, and the page that says so.
import { el } from "./dom.js";

// [keys, what they do, the name of what is called]
export const KEYS = [
  [[" "], "play, pause", "play"],
  [[".", "n"], "one step", "step"],
  [["/", "h"], "half a step: forward, propose or apply", "half"],
  [[",", "b"], "back", "back"],
  [[";"], "forward again, where one came back from", "again"],
  [["e"], "to the end of the block", "block"],
  [["E"], "to the end", "end"],
  [["<"], "to the beginning", "begin"],
  [["["], "the branch before", "before"],
  [["]"], "the next branch", "next"],
  [["c"], "a second decoder beside this one, or none", "compare"],
  [["a"], "the other decoder", "other"],
  [["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], "from token to token", "move"],
  [["w"], "write at the token: text, or #id", "write"],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "write a candidate", "candidate"],
  [["m"], "mask it", "mask"],
  [["l"], "lock or unlock it", "lock"],
  [["i"], "insert before it", "insert"],
  [["x", "Delete"], "delete it", "remove"],
  [["u"], "leave it as it is: not in the proposal", "drop"],
  [["Enter"], "use the changed policy", "apply"],
  [["q"], "ask something else", "prompt"],
  [["p"], "as Python", "code"],
  [["s"], "save the trace", "save"],
  [["Escape"], "close, or let go of the token", "escape"],
  [["?"], "this list", "help"],
];
const SIGNS = { " ": "space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const BY_KEY = new Map(KEYS.flatMap(([keys, , name]) => keys.map(key => [key, name])));

// Listens at an element, or the document. Fields keep their keys, but for Escape; buttons their space and Enter.
export function listen(target, does) {
  target.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const name = BY_KEY.get(event.key), tag = event.target.tagName;
    const slides = tag === "INPUT" && ["range", "checkbox"].includes(event.target.type);
    const typing = tag === "TEXTAREA" || tag === "SELECT" || (tag === "INPUT" && !slides);
    if (typing && event.key === "Escape") event.target.blur();
    if (!name || typing || event.target.closest?.("dialog")) return;
    const pressed = ["BUTTON", "SUMMARY"].includes(tag) || event.target.type === "checkbox";
    if (pressed && [" ", "Enter"].includes(event.key)) return;
    if (tag === "INPUT" && event.key.startsWith("Arrow")) return;
    does(name, event);
    event.preventDefault();
    event.stopPropagation();
  });
}

export function help() {
  const row = ([keys, says]) => {
    const shown = keys.length > 4 ? [keys[0], "…", keys.at(-1)] : keys;
    const faces = shown.map(key => (key === "…" ? "… " : el("kbd", {}, SIGNS[key] ?? key)));
    return el("tr", {}, el("td", {}, ...faces), el("td", {}, says));
  };
  return el("table", { class: "keys" }, ...KEYS.map(row));
}
