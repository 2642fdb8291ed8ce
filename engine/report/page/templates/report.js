// Draws the map of the texts in the reader's colours, and shows the text of the mark under the pointer.
"use strict";

const canvas = document.getElementById("map");
const tip = document.getElementById("tip");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function unpacked() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function placed(data) {
  const xs = Object.values(data).flatMap((each) => each.x), ys = Object.values(data).flatMap((each) => each.y);
  const reduce = (values, choose) => values.reduce((best, value) => (choose(value, best) ? value : best), values[0]);
  const box = [reduce(xs, (a, b) => a < b), reduce(xs, (a, b) => a > b), reduce(ys, (a, b) => a < b), reduce(ys, (a, b) => a > b)];
  const wide = canvas.clientWidth, high = canvas.clientHeight, edge = 14;
  const across = (x) => edge + ((x - box[0]) / (box[1] - box[0] || 1)) * (wide - 2 * edge);
  const up = (y) => high - edge - ((y - box[2]) / (box[3] - box[2] || 1)) * (high - 2 * edge);
  return Object.entries(data).flatMap(([kind, each]) =>
    each.x.map((x, place) => ({ kind, x: across(x), y: up(each.y[place]), text: each.texts[place] })));
}

function draw(marks) {
  const scale = devicePixelRatio || 1, to = canvas.getContext("2d");
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  to.scale(scale, scale);
  // Two shapes as well as two colours: a cross is an original, a disc a new item.
  const size = marks.length > 4000 ? 1.7 : 2.6;
  to.fillStyle = colour("--accepted");
  to.globalAlpha = 0.7;
  for (const mark of marks) if (mark.kind === "accepted") { to.beginPath(); to.arc(mark.x, mark.y, size, 0, 7); to.fill(); }
  to.globalAlpha = 1;
  to.strokeStyle = colour("--original");
  to.lineWidth = 1.4;
  to.beginPath();
  for (const mark of marks) if (mark.kind === "original") {
    to.moveTo(mark.x - 3.2, mark.y); to.lineTo(mark.x + 3.2, mark.y);
    to.moveTo(mark.x, mark.y - 3.2); to.lineTo(mark.x, mark.y + 3.2);
  }
  to.stroke();
}

function readable(marks) {
  const near = (event) => {
    const x = event.offsetX, y = event.offsetY;
    let best = null, least = 144;
    for (const mark of marks()) {
      const far = (mark.x - x) ** 2 + (mark.y - y) ** 2;
      if (far < least) [best, least] = [mark, far];
    }
    tip.hidden = best === null;
    if (best === null) return;
    tip.textContent = best.text;
    const box = canvas.getBoundingClientRect();
    tip.style.left = Math.max(scrollX + 8, Math.min(box.left + scrollX + best.x + 12, scrollX + innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = box.top + scrollY + best.y + 14 + "px";
  };
  canvas.addEventListener("pointermove", near);
  canvas.addEventListener("pointerdown", near);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
}

unpacked().then((data) => {
  let marks = placed(data);
  draw(marks);
  readable(() => marks);
  const again = () => { marks = placed(data); draw(marks); };
  addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.body.dataset.drawn = "true";
}, () => { canvas.replaceWith("The map needs a newer browser."); });
