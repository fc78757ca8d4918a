// The tree of what was tried. A row is a branch; a state is a mark, by what led to it.
import { el, svg } from "./dom.js";

const WIDE = 15, HIGH = 18, LEFT = 12;
// What leads on by itself; all else was done by whoever steps.
const OWN = ["begin", "step", "forward", "propose", "apply", "fork"];

export class Branches {
  // ongo(number) when a state is chosen.
  constructor(ongo) {
    this.edges = svg("g", { class: "edges" });
    this.marks = svg("g", { class: "marks" });
    this.here = svg("g", { class: "here" });
    const onclick = event => {
      const mark = event.target.closest("[data-node]");
      if (mark) ongo(Number(mark.dataset.node));
    };
    const about = { class: "tree", role: "img", "aria-label": "what was tried" };
    this.picture = svg("svg", { ...about, onclick }, this.edges, this.here, this.marks);
    this.scroll = el("div", { class: "scroll" }, this.picture);
    const heading = el("h2", {}, "What was tried");
    this.element = el("section", { class: "panel branches", "aria-label": "what was tried" }, heading, this.scroll);
    this.clear();
  }

  clear() {
    this.nodes = new Map();
    this.rows = 0;
    this.deepest = 0;
    this.epoch = -1;
    this.newest = 0;
    for (const layer of [this.edges, this.marks, this.here]) layer.replaceChildren();
  }

  // What came with an answer: new states, or all of them if some were forgotten.
  take(tree) {
    if (tree.epoch !== this.epoch || tree.since > this.newest) this.clear();
    this.epoch = tree.epoch;
    for (const [number, parent, kind, label, forwards, finished] of tree.nodes) {
      if (this.nodes.has(number)) continue;
      const before = this.nodes.get(parent);
      const row = before && before.children.length === 0 ? before.row : this.rows++;
      const depth = before ? before.depth + 1 : 0;
      const node = { number, parent, kind, label, forwards, finished, children: [], row, depth };
      if (before) before.children.push(number);
      this.nodes.set(number, node);
      this.newest = Math.max(this.newest, number);
      this.deepest = Math.max(this.deepest, node.depth);
      this.add(node, before);
    }
    this.picture.setAttribute("width", 2 * LEFT + this.deepest * WIDE + 10);
    this.picture.setAttribute("height", Math.max(this.rows, 1) * HIGH + 6);
  }

  place(node) {
    return [LEFT + node.depth * WIDE, 12 + node.row * HIGH];
  }

  add(node, before) {
    const [x, y] = this.place(node);
    if (before) {
      const [x0, y0] = this.place(before);
      const way = y0 === y ? `H${x}` : `C${x0 + 8} ${y} ${x0 + 4} ${y} ${x} ${y}`;
      this.edges.append(svg("path", { d: `M${x0} ${y0}${way}` }));
    }
    const host = !OWN.includes(node.kind);
    const forwards = `${node.forwards} ${node.forwards === 1 ? "forward" : "forwards"}`;
    const said = [node.label, forwards, ...(node.finished ? ["the end"] : [])].join(" · ");
    const about = { class: `mark ${host ? "host" : node.kind}${node.finished ? " finished" : ""}` };
    const target = { x: x - WIDE / 2, y: y - HIGH / 2, width: WIDE, height: HIGH, class: "target" };
    const inside = [svg("title", {}, said), svg("rect", target), mark(node.kind, host, x, y)];
    this.marks.append(svg("g", { ...about, "data-node": node.number }, ...inside));
  }

  // Where each lane stands.
  show(numbers) {
    const found = numbers.map(number => this.nodes.get(number)).filter(Boolean);
    const ring = (node, lane) => {
      const [x, y] = this.place(node);
      return svg("circle", { cx: x, cy: y, r: lane ? 9 : 8, class: lane ? "second" : "" });
    };
    this.here.replaceChildren(...found.map(ring));
    if (found.length) this.reveal(...this.place(found[0]));
  }

  reveal(x, y) {
    const box = this.scroll;
    if (x < box.scrollLeft + 20 || x > box.scrollLeft + box.clientWidth - 30) box.scrollLeft = x - box.clientWidth / 2;
    if (y < box.scrollTop + 10 || y > box.scrollTop + box.clientHeight - 14) box.scrollTop = y - box.clientHeight / 2;
  }

  // The state from which one goes on again: the child that was made last.
  after(number) {
    return this.nodes.get(number)?.children.at(-1) ?? null;
  }

  // Another branch of the nearest fork above: what stands there at the same depth, or at its end.
  beside(number, by) {
    let node = this.nodes.get(number);
    const deep = node?.depth ?? 0;
    while (node && this.nodes.has(node.parent)) {
      const children = this.nodes.get(node.parent).children;
      const other = children[children.indexOf(node.number) + by];
      if (other !== undefined) {
        let found = this.nodes.get(other);
        while (found.depth < deep && found.children.length) found = this.nodes.get(found.children[0]);
        return found.number;
      }
      node = this.nodes.get(node.parent);
    }
    return null;
  }
}

function mark(kind, host, x, y) {
  if (host) return svg("path", { d: `M${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}L${x - 5} ${y}z` });
  if (kind === "fork") return svg("rect", { x: x - 4, y: y - 4, width: 8, height: 8, rx: 1.5 });
  return svg("circle", { cx: x, cy: y, r: { forward: 2.6, propose: 2.6, begin: 4.5 }[kind] ?? 4 });
}
