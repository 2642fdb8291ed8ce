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
for (const choice of $$("select[name=sort]")) choice.addEventListener("change", () => choice.form.requestSubmit());
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
