// What the pages do beyond being read: keys, parts that come later, a run as it goes on, curves, formulas.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// --- parts that come later ---

const load = async (place) => {
  try {
    const answer = await fetch(place.dataset.src);
    const text = await answer.text();
    if (answer.ok) place.innerHTML = text; // our own template's: every value in it is escaped
    else place.textContent = text;
  } catch {
    place.textContent = "The server does not answer.";
  }
};
for (const place of $$("[data-src]")) load(place);

// --- keys ---

let at = -1;
const rows = () => $$("[data-row]");
const go = (step) => {
  const all = rows();
  if (!all.length) return;
  all[at]?.classList.remove("at");
  at = Math.max(0, Math.min(all.length - 1, at + step));
  all[at].classList.add("at");
  $("a", all[at])?.focus({ preventScroll: true });
  all[at].scrollIntoView({ block: "nearest" });
};
const follow = (relation) => $(`a[rel=${relation}]`)?.click();
const keys = {
  j: () => go(1), k: () => go(-1), n: () => follow("next"), p: () => follow("prev"),
  ArrowRight: () => follow("next"), ArrowLeft: () => follow("prev"),
  "/": () => $("[data-search]")?.focus(),
};
// --- reviewing: each key is a button or a link of the page ---

const desk = $("#review");
if (desk) {
  for (const each of $$("[data-key]", desk)) keys[each.dataset.key] = () => each.click();
  const note = $("[data-note]", desk);
  keys.w = () => note?.focus();
  const edit = $("[data-edit]", desk);
  if (edit) keys.e = () => { edit.open = true; $("textarea", edit)?.focus(); };
  const back = $("[data-back]", desk);
  if (back && history.length > 1) {
    back.hidden = false;
    back.addEventListener("click", (event) => { event.preventDefault(); history.back(); });
    keys.b = () => history.back();
  }
  const points = () => $$("[data-scores]", desk).find((each) => !$("input:checked", each));
  for (let digit = 1; digit <= 9; digit += 1) keys[digit] ??= () => {
    const choice = points()?.querySelector(`input[value="${digit}"]`);
    if (choice) choice.checked = true;
  };
  desk.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === note) $("[value=note]", desk)?.click();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, pre, .scroll:focus")) return;
  const act = keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

// --- forms ---

for (const box of $$("[data-column]")) {
  box.addEventListener("change", () => {
    $("[data-columns]").value = $$("[data-column]:checked").map((each) => each.dataset.column).join(",");
    box.form.requestSubmit();
  });
}
for (const choice of $$("select[name=sort], [data-submits]")) choice.addEventListener("change", () => choice.form.requestSubmit());
for (const slider of $$("[data-slider]")) {
  slider.addEventListener("input", () => { slider.parentElement.querySelector("output").value = slider.value; });
  slider.addEventListener("change", () => slider.form.requestSubmit());
}

// --- curves ---

const charts = [];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const strokes = { accepted: "--good", rejected: "--bad", spent: "--link", in_flight: "--other" };
const draw = (data) => {
  const box = $("#curves-here");
  if (!box || !window.uPlot || data.seconds.length < 2) return;
  for (const [place, target] of $$("[data-curve]", box).entries()) {
    const names = target.dataset.curve.split(" ");
    const values = [data.seconds, ...names.map((name) => data[name])];
    if (charts[place]) {
      charts[place].setData(values);
      continue;
    }
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    charts[place] = new uPlot({
      width: target.clientWidth || 360, height: 190, scales: { x: { time: false } }, cursor: { drag: { x: false, y: false } },
      series: [{ label: "seconds" }, ...names.map((name) => ({ label: name.replace("_", " "), stroke: colour(strokes[name]), width: 2, points: { show: false } }))],
      axes: [{ ...axis }, { ...axis, size: 62 }],
    }, values, target);
  }
  const table = $("#curves-table");
  const heads = ["seconds", "accepted", "rejected", "calls", "spent", "in_flight"];
  const step = Math.max(1, Math.ceil(data.seconds.length / 40));
  const body = data.seconds.map((_, place) => place).filter((place) => place % step === 0 || place === data.seconds.length - 1);
  table.replaceChildren();
  const row = (cells, kind) => {
    const line = document.createElement("tr");
    for (const said of cells) {
      const cell = document.createElement(kind);
      cell.textContent = said;
      if (kind === "th") cell.scope = "col";
      line.append(cell);
    }
    table.append(line);
  };
  row(heads.map((name) => name.replace("_", " ")), "th");
  for (const place of body) row(heads.map((name) => data[name][place]), "td");
};
addEventListener("resize", () => {
  for (const [place, target] of $$("[data-curve]").entries()) charts[place]?.setSize({ width: target.clientWidth, height: 190 });
});

// --- a run as it goes on ---

const standing = $("#standing");
if (standing) {
  const source = new EventSource(standing.dataset.events);
  fetch($("#curves-here").dataset.lines).then((answer) => answer.json()).then(draw, () => {});
  const link = $("#link");
  source.addEventListener("standing", (event) => {
    const kept = document.activeElement?.getAttribute?.("href");
    standing.innerHTML = event.data; // as above
    if (kept && document.activeElement === document.body) $(`#standing a[href="${CSS.escape(kept)}"]`)?.focus({ preventScroll: true });
    link.textContent = "";
  });
  source.addEventListener("lines", (event) => draw(JSON.parse(event.data)));
  source.onerror = () => { link.textContent = "The server does not answer; this page goes on by itself once it does."; };
  addEventListener("pagehide", () => source.close());
}

// --- the map: drawn, read by pointing, chosen from by drawing around some ---

const map = $("canvas#map");
const hues = ["--accepted", "--rejected", "--revised", "--surplus", "--good", "--other", "--warn", "--link", "--soft"];
const shapes = [
  (to, x, y) => to.arc(x, y, 2.6, 0, 7), (to, x, y) => to.rect(x - 2.3, y - 2.3, 4.6, 4.6),
  (to, x, y) => { to.moveTo(x, y - 3.4); to.lineTo(x + 3, y + 2.4); to.lineTo(x - 3, y + 2.4); to.closePath(); },
];
const onMap = (data) => {
  const every = [...data.x.map((x, place) => [x, data.y[place]]), ...data.originals];
  const box = every.reduce(([a, b, c, d], [x, y]) => [Math.min(a, x), Math.max(b, x), Math.min(c, y), Math.max(d, y)], [Infinity, -Infinity, Infinity, -Infinity]);
  const edge = 16;
  const place = () => ({ wide: map.clientWidth - 2 * edge, high: map.clientHeight - 2 * edge });
  const across = (x) => edge + ((x - box[0]) / (box[1] - box[0] || 1)) * place().wide;
  const up = (y) => edge + (1 - (y - box[2]) / (box[3] - box[2] || 1)) * place().high;
  const back = (x, y) => [box[0] + ((x - edge) / place().wide) * (box[1] - box[0]), box[2] + (1 - (y - edge) / place().high) * (box[3] - box[2])];
  let lasso = [], frame = null; // the frame is the keyboard's: its middle and half its sides
  const list = (corners) => { location.href = `${map.dataset.items}?area=${corners.flatMap(([x, y]) => back(x, y)).map((value) => value.toFixed(4)).join(",")}`; };
  const paint = () => {
    const scale = devicePixelRatio || 1, to = map.getContext("2d");
    map.width = map.clientWidth * scale;
    map.height = map.clientHeight * scale;
    to.scale(scale, scale);
    for (const [kind] of data.names.entries()) {
      to.fillStyle = colour(hues[kind % hues.length]);
      to.globalAlpha = 0.75;
      for (let place = 0; place < data.x.length; place += 1) if (data.kinds[place] === kind) {
        to.beginPath();
        shapes[kind % shapes.length](to, across(data.x[place]), up(data.y[place]));
        to.fill();
      }
    }
    to.globalAlpha = 1;
    to.strokeStyle = colour("--original");
    to.beginPath();
    for (const [x, y] of data.originals) { const a = across(x), b = up(y); to.moveTo(a - 3, b); to.lineTo(a + 3, b); to.moveTo(a, b - 3); to.lineTo(a, b + 3); }
    to.stroke();
    if (lasso.length > 1) { to.strokeStyle = colour("--ink"); to.setLineDash([4, 3]); to.beginPath(); lasso.forEach(([x, y], n) => (n ? to.lineTo(x, y) : to.moveTo(x, y))); to.stroke(); }
    if (frame) { to.strokeStyle = colour("--ink"); to.setLineDash([4, 3]); to.strokeRect(frame.x - frame.wide, frame.y - frame.high, 2 * frame.wide, 2 * frame.high); }
  };
  const key = $("#map-key"), said = $("#map-said");
  key.replaceChildren(...data.names.map((name, kind) => {
    const part = document.createElement("span"), mark = document.createElement("b");
    mark.textContent = "\u25CF\u25A0\u25B2"[kind % 3] + "\u00A0";
    mark.style.color = `var(${hues[kind % hues.length]})`;
    part.append(mark, name);
    return part;
  }));
  map.addEventListener("pointerdown", (event) => { lasso = [[event.offsetX, event.offsetY]]; map.setPointerCapture(event.pointerId); });
  map.addEventListener("pointermove", (event) => {
    if (event.buttons && lasso.length) { lasso.push([event.offsetX, event.offsetY]); paint(); return; }
    let best = -1, least = 100;
    for (let place = 0; place < data.x.length; place += 1) {
      const far = (across(data.x[place]) - event.offsetX) ** 2 + (up(data.y[place]) - event.offsetY) ** 2;
      if (far < least) [best, least] = [place, far];
    }
    if (best < 0) return;
    const number = data.numbers[best], id = `${Math.floor(number / 65536)}-${number % 65536}`;
    if (said.dataset.id === id) return;
    said.dataset.id = id;
    const link = document.createElement("a");
    link.href = `${map.dataset.items.replace(/items$/, "item")}/${id}`;
    link.textContent = `item ${id}`;
    said.replaceChildren(link, `: ${data.names[data.kinds[best]]}`);
  });
  map.addEventListener("pointerup", () => {
    const step = Math.max(1, Math.ceil(lasso.length / 40));
    const corners = lasso.filter((_, n) => n % step === 0);
    if (corners.length >= 3) list(corners);
    lasso = [];
  });
  const within = () => data.x.filter((x, n) => Math.abs(across(x) - frame.x) <= frame.wide && Math.abs(up(data.y[n]) - frame.y) <= frame.high).length;
  map.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way && !(event.key === "Enter" && frame)) return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) {
      const { x, y, wide, high } = frame;
      list([[x - wide, y - high], [x + wide, y - high], [x + wide, y + high], [x - wide, y + high]]);
      return;
    }
    frame ??= { x: map.clientWidth / 2, y: map.clientHeight / 2, wide: map.clientWidth / 8, high: map.clientHeight / 8 };
    const [x, y] = event.shiftKey ? ["wide", "high"] : ["x", "y"], sign = event.shiftKey ? -1 : 1; // with Shift, up is higher
    frame[x] = Math.min(map.clientWidth, Math.max(4, frame[x] + way[0] * map.clientWidth / 24));
    frame[y] = Math.min(map.clientHeight, Math.max(4, frame[y] + sign * way[1] * map.clientHeight / 24));
    paint();
    said.dataset.id = "";
    said.textContent = `${within().toLocaleString("en")} items in the frame; Enter lists them.`;
  });
  map.addEventListener("blur", () => { frame = null; paint(); });
  addEventListener("resize", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();
  map.dataset.drawn = "true";
};
if (map) fetch(map.dataset.points).then((answer) => answer.json()).then(onMap, () => { $("#map-said").textContent = "The map cannot be read."; });

// --- formulas ---

const formula = /\$\$([^$]+)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$(?=\S)([^$\n]*?[\\^_{}=][^$\n]*?)(?<=\S)\$(?!\d)/g;
const typeset = () => {
  if (!window.katex) return;
  for (const place of $$(".math")) {
    const text = place.textContent;
    if (!/[$\\]/.test(text) || text.length > 20000) continue;
    const parts = [];
    let end = 0;
    for (const found of text.matchAll(formula)) {
      const said = found[1] ?? found[2] ?? found[3] ?? found[4];
      const box = document.createElement("span");
      try {
        katex.render(said, box, { displayMode: found[1] !== undefined || found[2] !== undefined, throwOnError: true, trust: false, maxSize: 20, maxExpand: 200 });
      } catch {
        continue; // it stays as it is written
      }
      box.title = found[0];
      parts.push(text.slice(end, found.index), box);
      end = found.index + found[0].length;
    }
    if (parts.length) place.replaceChildren(...parts, text.slice(end));
  }
};
if (document.readyState === "complete") typeset();
else addEventListener("load", typeset);
