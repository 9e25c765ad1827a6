"use strict";
// One request at a time: it answers with the newest picture and everything that belongs to it, or
// after a second with the state alone. Without an answer the picture is covered: a picture that
// stands still in a browser would look as alive as any other.
const SILENT_MS = 2000;
const byId = (id) => document.getElementById(id);
let number = -1;
let heard = performance.now();
let url = null;

function dead(words) {
  byId("dead").hidden = words === null;
  if (words === null) return;
  byId("why").textContent = words;
  byId("regions").replaceChildren();
  byId("notes").replaceChildren();
}

function row(cells) {
  const line = document.createElement("tr");
  for (const [text, warn] of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (warn) cell.className = "warn";
    line.append(cell);
  }
  return line;
}

function list(element, texts) {
  element.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function show(state) {
  byId("state").textContent = state.words;
  dead(state.dead);
  if (state.dead === null) {
    byId("regions").replaceChildren(...state.regions.map((region) => row([
      [region.letter, false], [region.class, region.doubtful],
      [region.share, false], [region.redness, !region.redness_reliable],
    ])));
    list(byId("notes"), state.notes);
  }
  byId("said").textContent = state.said.join(" · ");
  byId("health").replaceChildren(...Object.entries(state.health).flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
  byId("freeze").hidden = state.frozen;
  byId("freeze").disabled = state.freezing || state.dead !== null;
  byId("release").hidden = !state.frozen;
}

async function next() {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), 5000);
  try {
    const answer = await fetch("live?after=" + number, { cache: "no-store", signal: patience.signal });
    if (!answer.ok) throw new Error(answer.status === 503 ? "too many viewers" : "the device says " + answer.status);
    const data = await answer.arrayBuffer();
    const length = new DataView(data).getUint32(0, true);
    const state = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    if (data.byteLength > 4 + length) {
      const fresh = URL.createObjectURL(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      const picture = byId("picture");
      picture.src = fresh;
      await picture.decode();
      picture.hidden = false;
      if (url) URL.revokeObjectURL(url);
      url = fresh;
      number = state.number;
    }
    heard = performance.now();
    show(state);
  } catch (error) {
    if (performance.now() - heard > SILENT_MS) {
      byId("state").textContent = "no connection";
      dead(error.name === "AbortError" || error instanceof TypeError ? "no answer from the device" : error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  } finally {
    clearTimeout(timer);
  }
}

async function ask(wish) {
  try {
    await fetch("wish/" + wish, { method: "POST", headers: { "X-Dermedge": "1" } });
  } catch {
    byId("said").textContent = "no answer from the device";
  }
}

for (const wish of ["freeze", "release", "card"]) byId(wish).addEventListener("click", () => ask(wish));
setInterval(() => {
  if (performance.now() - heard > SILENT_MS) {
    byId("state").textContent = "no connection";
    dead("no answer from the device");
  }
}, 250);
(async () => { for (;;) await next(); })();
