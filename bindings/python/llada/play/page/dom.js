// Elements, and the few drawings that buttons bear.

// An element: "on..." are listeners, the rest attributes; null and false are left out.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

const DRAWINGS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  step: "M3 3v10l7-5zM11 3h2v10h-2z",
  half: "M3 3v10l7-5zM11 7h2v2h-2z",
  back: "M13 3v10L6 8zM3 3h2v10H3z",
  block: "M2 3v10l5-5zM7 3v10l5-5zM12.4 3H14v10h-1.6z",
  begin: "M14 3v10L9 8zM9 3v10L4 8zM2 3h1.6v10H2z",
  compare: "M2 3h5v10H2zM9 3h5v10H9z",
  ban:
    "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM3.1 8A4.9 4.9 0 0 1 11 4L4 11a4.9 4.9 0 0 1-.9-3z" +
    "M8 12.9A4.9 4.9 0 0 1 5 12l7-7a4.9 4.9 0 0 1-4 7.9z",
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, svg("path", { d: DRAWINGS[name] }));
}

// A button of a drawing or a word; what it does, and its key, are its title.
export function button(face, title, onclick, attributes = {}) {
  const inside = face in DRAWINGS ? icon(face) : face;
  const label = face in DRAWINGS ? { "aria-label": title.replace(/ \(.*\)$/, "") } : {};
  return el("button", { type: "button", title, onclick, ...label, ...attributes }, inside);
}

// Spaces and line ends of a token are there to be seen.
export const quoted = text => "“" + text.replace(/\n/g, "⏎") + "”";

export function percent(value) {
  if (value === null || value === undefined) return "";
  return value > 0 && value < 0.0005 ? "<0.1 %" : `${(100 * value).toFixed(1)} %`;
}

// From unsure to sure, by way of nothing: most tokens are above one half. The two colours are those of the style.
export function tint(sure, strength = 1) {
  const share = sure ** 2, colour = share < 0.5 ? "--unsure" : "--sure";
  const much = Math.min(100, strength * (6 + 44 * Math.abs(2 * share - 1) ** 1.3));
  return `color-mix(in srgb, var(${colour}) ${much.toFixed(0)}%, transparent)`;
}

export function download(file) {
  const url = URL.createObjectURL(new Blob([file.text], { type: file.type }));
  const link = el("a", { href: url, download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
