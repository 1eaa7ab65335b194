"""A preview as a page of its own: the program in three dimensions, turned with the mouse, played with a slider.

One HTML file without anything from elsewhere, so that it opens from a folder. In: a preview's JSON
(designs/toolpath/preview.py); out: the page. Orthographic; work dark, travel light, up to where the slider stands.
"""

from __future__ import annotations

import html
from typing import Final

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%TITLE%</title><style>
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: #faf9f6; color: #222; }
canvas { display: block; width: 100vw; height: calc(100vh - 4rem); touch-action: none; cursor: grab; }
form { height: 4rem; display: flex; gap: 1rem; align-items: center; padding: 0 1rem; }
input[type=range] { flex: 1; }
</style></head><body><canvas id="view" role="img" aria-label="%TITLE%, turned by dragging"></canvas>
<form><label for="part">%TITLE%</label><input id="part" type="range" min="0" max="1000" value="1000">
<label><input id="travel" type="checkbox" checked> travel</label></form>
<script type="application/json" id="preview">%PREVIEW%</script>
<script>
"use strict";
const told = JSON.parse(document.getElementById("preview").textContent);
const canvas = document.getElementById("view"), pen = canvas.getContext("2d");
const unit = told.unit_um / 1000;
const runs = told.runs.map(run => {
  const points = [];
  let at = [0, 0, 0];
  for (let k = 0; k < run.points.length; k += 3) {
    at = [at[0] + run.points[k], at[1] + run.points[k + 1], at[2] + run.points[k + 2]];
    points.push(at.map(v => v * unit));
  }
  return { work: run.kind === "work", points };
});
const work = runs.filter(run => run.work), low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
for (const run of work.length ? work : runs) for (const point of run.points) point.forEach((v, axis) => {
  low[axis] = Math.min(low[axis], v);
  high[axis] = Math.max(high[axis], v);
});
const middle = low.map((v, axis) => (v + high[axis]) / 2), reach = Math.hypot(...low.map((v, k) => high[k] - v)) || 1;
const total = runs.reduce((sum, run) => sum + run.points.length, 0);
let turn = -0.6, tip = 1.0, zoom = 1;
function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const scale = zoom * 0.9 * Math.min(canvas.width, canvas.height) / reach;
  const [ct, st, cp, sp] = [Math.cos(turn), Math.sin(turn), Math.cos(tip), Math.sin(tip)];
  const place = point => {
    const [x, y, z] = point.map((v, axis) => v - middle[axis]);
    const across = x * ct - y * st, deep = x * st + y * ct;
    return [canvas.width / 2 + across * scale, canvas.height / 2 - (deep * cp + z * sp) * scale];
  };
  const shown = total * document.getElementById("part").value / 1000;
  const travel = document.getElementById("travel").checked;
  for (const work of [false, true]) {
    if (!work && !travel) continue;
    pen.strokeStyle = work ? "#1a365d" : "#c9d3df";
    pen.lineWidth = work ? ratio : ratio / 2;
    pen.beginPath();
    let seen = 0;
    for (const run of runs) {
      if (seen > shown) break;
      if (run.work === work) {
        run.points.slice(0, Math.ceil(shown - seen)).forEach((point, k) => {
          const [x, y] = place(point);
          if (k) pen.lineTo(x, y); else pen.moveTo(x, y);
        });
      }
      seen += run.points.length;
    }
    pen.stroke();
  }
}
canvas.addEventListener("pointermove", event => {
  if (!event.buttons) return;
  turn += event.movementX / 150;
  tip = Math.min(Math.PI / 2, Math.max(0, tip + event.movementY / 150));
  draw();
});
canvas.addEventListener("wheel", event => { zoom *= Math.exp(-event.deltaY / 500); draw(); event.preventDefault(); });
for (const name of ["part", "travel"]) document.getElementById(name).addEventListener("input", draw);
window.addEventListener("resize", draw);
draw();
</script></body></html>
"""


def preview_page(preview: bytes, title: str) -> bytes:
    """The page's bytes. `preview`: JSON of `designs.toolpath.preview.preview`."""
    data = preview.decode("ascii").replace("</", "<\\/")
    parts = _PAGE.replace("%TITLE%", html.escape(title)).split("%PREVIEW%")
    return data.join(parts).encode("utf-8")
