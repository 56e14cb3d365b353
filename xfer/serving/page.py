"""The page behind `GET /`: one drops a picture there. It asks for nothing but this service."""

from __future__ import annotations

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>xfer serve</title>
<link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
label { display: block; border: 2px dashed #888; border-radius: 8px; padding: 2em; text-align: center; cursor: pointer }
label.over { border-color: #06c; background: #eef5ff }
figure { display: flex; gap: 1em; margin: 1em 0; align-items: flex-start }
img { width: 9em; height: 9em; object-fit: contain; background: #eee }
figcaption { flex: 1; min-width: 0; overflow-wrap: anywhere }
meter { width: 100% }
.error { color: #b00 }
</style>
</head>
<body>
<h1>Which class is it?</h1>
<label id="drop">Drop pictures here, or choose some <input id="files" type="file" accept="image/*" multiple></label>
<div id="results" aria-live="polite"></div>
<script>
const results = document.getElementById("results"), drop = document.getElementById("drop");
function add(parent, tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
}
async function predict(file) {
  const figure = document.createElement("figure");
  results.prepend(figure);
  const image = add(figure, "img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
  const caption = add(figure, "figcaption", file.name + " ...");
  try {
    const answer = await fetch("predict", { method: "POST", body: file });
    const said = await answer.json();
    caption.textContent = file.name;
    if (!answer.ok) throw new Error(said.error);
    const shares = Object.entries(said.predictions[0].probabilities).sort((a, b) => b[1] - a[1]);
    for (const [name, share] of shares.slice(0, 5)) {
      add(caption, "div", name + "  " + (100 * share).toFixed(1) + " %", "class");
      add(caption, "meter").value = share;
    }
  } catch (error) {
    add(caption, "div", error.message, "error");
  }
}
document.getElementById("files").addEventListener("change", event => {
  [...event.target.files].forEach(predict);
  event.target.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault();
  drop.className = kind === "dragover" ? "over" : "";
  if (kind === "drop") [...event.dataTransfer.files].forEach(predict);
});
</script>
</body>
</html>
"""
