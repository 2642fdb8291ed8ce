// Draws the figures in the reader's colours, and shows the text of the point under the pointer.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function unpacked() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function themed() {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line") };
  const found = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
    hoverlabel: { bgcolor: colour("--ink"), font: { color: colour("--ground") } },
  };
  for (const part of Object.keys(axis)) {
    found["xaxis." + part] = axis[part];
    found["yaxis." + part] = axis[part];
  }
  return found;
}

function hasWebGL() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl"));
  } catch {
    return false;
  }
}

function fit(name, figure) {
  // A phone has little room: the axis of a bar chart's names and the flow's labels get what there is.
  const narrow = innerWidth < 760;
  figure.layout.autosize = true;
  if (figure.layout.yaxis && figure.data.some((trace) => trace.orientation === "h")) figure.layout.yaxis.automargin = true;
  if (!figure.layout.yaxis && name === "cost") figure.layout.yaxis = { automargin: true };
  if (narrow) figure.layout.margin = { ...figure.layout.margin, l: 44, r: 8 };
  if (narrow && name === "flow") {
    figure.data[0].orientation = "v";
    figure.data[0].textfont = { size: 10 };
    figure.layout.height = 620;
    const { label } = figure.data[0].node, { target, value } = figure.data[0].link, whole = Math.max(...value);
    target.forEach((node, place) => { if (value[place] < whole / 12 && label[node].startsWith("rejected")) label[node] = ""; });
  }
  if (narrow && name === "map") figure.layout.dragmode = false; // a finger scrolls the page
  return figure;
}

function readable(place, texts) {
  const tip = document.getElementById("tip");
  place.on("plotly_hover", (event) => {
    const point = event.points[0];
    tip.textContent = texts[point.curveNumber][point.pointNumber];
    tip.hidden = false;
    const box = place.getBoundingClientRect();
    const x = box.left + scrollX + point.xaxis.l2p(point.x) + point.xaxis._offset;
    const y = box.top + scrollY + point.yaxis.l2p(point.y) + point.yaxis._offset;
    tip.style.left = Math.max(scrollX + 8, Math.min(x + 12, scrollX + innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = y + 14 + "px";
  });
  place.on("plotly_unhover", () => { tip.hidden = true; });
}

async function draw() {
  const { figures, texts } = await unpacked();
  const webgl = hasWebGL();
  const options = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
  const drawn = [];
  for (const [name, figure] of Object.entries(figures)) {
    const place = document.getElementById(name);
    if (!place) continue;
    if (!webgl) for (const trace of figure.data) if (trace.type === "scattergl") trace.type = "scatter";
    const buttons = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
    const own = name === "map" && innerWidth >= 760 ? { displayModeBar: true, scrollZoom: true, modeBarButtons: buttons } : {};
    const { data, layout } = fit(name, figure);
    await Plotly.newPlot(place, data, layout, { ...options, ...own });
    await Plotly.relayout(place, themed());
    if (name === "map") readable(place, texts);
    drawn.push(place);
  }
  dark.addEventListener("change", () => { for (const place of drawn) Plotly.relayout(place, themed()); });
  document.body.dataset.drawn = "true";
}

draw().catch((error) => {
  console.error(error);
  for (const place of document.querySelectorAll(".figure")) place.textContent = "This chart needs a newer browser.";
});
