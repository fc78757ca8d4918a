// The page: calls go to its own server, beside it.
import { mount } from "./app.js";

async function call(name, args) {
  const answer = await fetch("call", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ call: name, arguments: args }),
  }).catch(() => { throw new Error("the playground's server does not answer; was it ended?"); });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

// The browser's console, and tests, can look at it. An address that ends with #50 points at position 50.
window.playground = mount(document.getElementById("playground"), call, document, location.hash);
