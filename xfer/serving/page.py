"""The page behind `GET /`: pictures are dropped on it, chosen or pasted. It asks for nothing but this service."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --strong: #0057b8; --wrong: #b00020; }
@media (prefers-color-scheme: dark) { :root { --strong: #7db5ff; --wrong: #ff8a94; } }
body { background: Canvas; color: CanvasText; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
#model { margin: .25rem 0 1rem; overflow-wrap: anywhere; }
#drop { display: block; border: 2px dashed GrayText; border-radius: 8px; padding: 2rem 1rem; text-align: center; }
#drop { cursor: pointer; margin-bottom: 1.5rem; }
#drop:hover, #drop.over { border-color: var(--strong); background: var(--soft); }
#drop b { color: var(--strong); }
:focus-visible, input:focus-visible + #drop { outline: 3px solid var(--strong); outline-offset: 2px; }
.heard { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); }
figure { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0; padding: 1rem 0; border-top: 1px solid var(--line); }
img { width: 9rem; height: 9rem; object-fit: contain; background: var(--soft); border-radius: 4px; }
figcaption { flex: 1; min-width: min(100%, 16rem); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { font-weight: normal; text-align: left; overflow-wrap: anywhere; padding-right: 1rem; }
td { text-align: right; width: 4.5rem; white-space: nowrap; }
tr.own > * { font-weight: bold; }
th, td { padding-top: .25rem; padding-bottom: .25rem; border-bottom: 3px solid var(--soft); }
tr { background: linear-gradient(var(--strong), var(--strong)) left bottom / var(--share, 0%) 3px no-repeat; }
summary { cursor: pointer; padding: .25rem 0; }
.wrong { color: var(--wrong); overflow-wrap: anywhere; margin: 0; }
"""

SCRIPT = """
"use strict";
const SHOWN = 5;
const at = id => document.getElementById(id);
let most = Infinity, waiting = Promise.resolve();

function add(parent, tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}
const percent = share => (100 * share).toFixed(1) + " %";

function figureOf(file) {
  const figure = document.createElement("figure"), image = add(figure, "img"), caption = add(figure, "figcaption");
  const address = URL.createObjectURL(file);
  image.alt = "";  // its name stands beside it
  image.onload = () => URL.revokeObjectURL(address);
  image.onerror = () => { URL.revokeObjectURL(address); image.remove(); };  // no browser shows TIFF
  image.src = address;
  add(caption, "h2", file.name);
  add(caption, "p", "waiting ...");
  return figure;
}
function rows(parent, shares, own) {
  const table = add(parent, "table"), body = add(table, "tbody");
  for (const [name, share] of shares) {
    const row = add(body, "tr"), head = add(row, "th", name);
    row.classList.toggle("own", own.includes(name));
    head.scope = "row";
    add(row, "td", percent(share));
    row.style.setProperty("--share", percent(share).replace(" ", ""));
  }
  return table;
}
async function answerOf(file) {
  if (file.size > most) throw new Error(`larger than ${(most / 2 ** 20).toFixed(1)} MiB, the most that is taken here`);
  const answer = await fetch("predict", { method: "POST", body: file }).catch(() => {
    throw new Error("the service does not answer, or cannot read this file");
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error.replace(/^picture: /, ""));
  return said.predictions[0];
}
async function predict(file, figure) {
  const caption = figure.querySelector("figcaption");
  try {
    const found = await answerOf(file);
    const shares = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
    const own = found.labels ?? [found.class];  // any number of labels, or a class
    caption.lastChild.remove();
    if (!own.length) add(caption, "p", "no label");
    rows(caption, shares.slice(0, SHOWN), own);
    if (shares.length > SHOWN) {
      const more = add(caption, "details");
      add(more, "summary", `${shares.length - SHOWN} more classes`);
      rows(more, shares.slice(SHOWN), own);
    }
    const said = own.map(name => `${name}, ${percent(found.probabilities[name])}`).join("; ");
    at("said").textContent = `${file.name}: ${said || "no label"}`;
  } catch (error) {
    caption.lastChild.textContent = error.message;
    caption.lastChild.className = "wrong";
    at("said").textContent = `${file.name}: ${error.message}`;
  }
}
function take(files) {
  const pairs = [...files].map(file => [file, figureOf(file)]);
  at("results").prepend(...pairs.map(pair => pair[1]));
  for (const [file, figure] of pairs) waiting = waiting.then(() => predict(file, figure));
}

at("files").addEventListener("change", event => { take(event.target.files); event.target.value = ""; });
document.addEventListener("paste", event => take(event.clipboardData.files));
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault();
  at("drop").classList.toggle("over", kind === "dragover");
  if (kind === "drop") take(event.dataTransfer.files);
});
waiting = fetch("ready").then(answer => answer.json()).then(about => {
  most = about.max_upload ?? Infinity;
  at("model").textContent = about.error ??
    `${about.model}, which knows ${about.classes.length} classes: ${about.classes.slice(0, 10).join(", ")}` +
    (about.classes.length > 10 ? ", ..." : "");
}).catch(() => { at("model").textContent = "The service does not answer."; });
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which class is it?</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Which class is it?</h1>
<p id="model">&nbsp;</p>
<input id="files" class="heard" type="file" accept="image/*" multiple>
<label id="drop" for="files"><b>Choose pictures</b>, drop them here, or paste one</label>
<p id="said" class="heard" role="status"></p>
<section id="results" aria-label="Pictures"></section>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _allowed(text: str) -> str:
    """A source of the policy: this text alone, whatever else may come into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src {_allowed(STYLE)}; script-src {_allowed(SCRIPT)}; "
    "img-src blob: data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
