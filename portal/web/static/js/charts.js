// Draws every <canvas data-chart="id"> from the JSON of <script type="application/json" id="id">, also after htmx has swapped it in.
import { Chart, registerables } from "chart.js";

Chart.register(...registerables);
Chart.defaults.animation = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.color = "#3b494d";

const KINDS = {
  regular: "#4f86cc", green_filter: "#4c9a50", lugol_iodine: "#b5701f", not_cervix: "#8a78bd", unusable: "#8c9196", post_treatment: "#bb5595",
};
const LINES = ["#0f5c5c", "#c2571a", "#5b4a8a", "#7a4d00", "#9c1c28", "#2a5fa8", "#1d6335"];
const POINTS = ["circle", "rect", "triangle", "rectRot", "star", "cross"];
const words = (code) => code.replaceAll("_", " ");
const share = { min: 0, max: 1 };

const drawings = {
  // labels: [split, site] of each bar; series: one a kind
  stacked: (data) => ({
    type: "bar",
    data: {
      labels: data.labels,
      datasets: data.series.map((one, index) => ({
        label: words(one.name), data: one.values, backgroundColor: KINDS[one.name] ?? LINES[index % LINES.length], maxBarThickness: 72,
      })),
    },
    options: { aspectRatio: 2.8, scales: { x: { stacked: true }, y: { stacked: true, title: { display: true, text: "images" }, ticks: { precision: 0 } } } },
  }),
  // series: {name, points: [[false positive rate, true positive rate, threshold], ...]}
  roc: (data) => ({
    type: "line",
    data: {
      datasets: [
        ...data.series.map((one, index) => ({
          label: one.name, data: one.points.map(([x, y, at]) => ({ x, y, at })), borderColor: LINES[index], backgroundColor: LINES[index],
          borderDash: index ? [6, 4] : [], pointRadius: one.points.length > 40 ? 0 : 2, borderWidth: 2,
        })),
        { label: "chance", data: [{ x: 0, y: 0 }, { x: 1, y: 1 }], borderColor: "#98a3a6", borderDash: [2, 4], pointRadius: 0, borderWidth: 1 },
      ],
    },
    options: {
      aspectRatio: 1.25,
      scales: {
        x: { type: "linear", ...share, title: { display: true, text: "false positive rate (1 − specificity)" } },
        y: { ...share, title: { display: true, text: "true positive rate (sensitivity)" } },
      },
      plugins: { tooltip: { callbacks: { label: ({ raw }) => `${raw.y.toFixed(3)} at ${raw.x.toFixed(3)}, threshold ${raw.at?.toFixed?.(3) ?? "none"}` } } },
    },
  }),
  // series: {name, points: [[recall, precision, threshold], ...]}
  precision_recall: (data) => ({
    type: "line",
    data: {
      datasets: data.series.map((one, index) => ({
        label: one.name, data: one.points.map(([x, y, at]) => ({ x, y, at })), borderColor: LINES[index], backgroundColor: LINES[index],
        borderDash: index ? [6, 4] : [], pointRadius: 0, borderWidth: 2,
      })),
    },
    options: {
      aspectRatio: 1.25,
      scales: {
        x: { type: "linear", ...share, title: { display: true, text: "recall (sensitivity)" } },
        y: { ...share, title: { display: true, text: "precision" } },
      },
      plugins: { tooltip: { callbacks: { label: ({ raw }) => `precision ${raw.y.toFixed(3)} at recall ${raw.x.toFixed(3)}, threshold ${raw.at?.toFixed?.(3) ?? "none"}` } } },
    },
  }),
  // series: {name, points: [[x, y], ...]}; the axes mean nothing
  scatter: (data) => ({
    type: "scatter",
    data: {
      datasets: data.series.map((one, index) => ({
        label: words(one.name), data: one.points.map(([x, y]) => ({ x, y })), backgroundColor: `${KINDS[one.name] ?? LINES[index % LINES.length]}cc`,
        pointStyle: POINTS[index % POINTS.length], pointRadius: 3.5,
      })),
    },
    options: {
      aspectRatio: 1.25, scales: { x: { display: false }, y: { display: false } },
      plugins: { legend: { labels: { usePointStyle: true } }, tooltip: { callbacks: { label: ({ dataset }) => dataset.label } } },
    },
  }),
  // series: {name, points: [[share of the run, value], ...]}
  lines: (data) => ({
    type: "line",
    data: {
      datasets: data.series.map((one, index) => ({
        label: words(one.name), data: one.points.map(([x, y]) => ({ x, y })), borderColor: LINES[index % LINES.length],
        backgroundColor: LINES[index % LINES.length], pointRadius: one.points.length > 30 ? 0 : 2, borderWidth: 2,
      })),
    },
    options: { aspectRatio: 2.6, scales: { x: { type: "linear", ...share, title: { display: true, text: "share of the run" } }, y: { title: { display: true, text: data.unit } } } },
  }),
};

function draw() {
  for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
    const source = document.getElementById(canvas.dataset.chart);
    if (!source || Chart.getChart(canvas)) continue;
    const data = JSON.parse(source.textContent);
    const config = drawings[data.type](data);
    new Chart(canvas, { ...config, options: { responsive: true, ...config.options } });
  }
}

draw();
document.body.addEventListener("htmx:afterSwap", draw);
