// Images by site and label, as stacked bars; what has no label yet in greys.
import { BarController, BarElement, CategoryScale, Chart, Legend, LinearScale, Tooltip } from "chart.js";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, Legend, Tooltip);
const holder = document.getElementById("composition-data");
if (holder) {
  const data = JSON.parse(holder.textContent);
  const style = getComputedStyle(document.documentElement);
  const greys = ["#9aa6a9", "#c3cbcd", "#4d5c60"];
  const labelled = Object.entries(data.kinds).map(([kind, counts]) => [kind.replaceAll("_", " "), counts, style.getPropertyValue(`--${kind}`).trim()]);
  const unlabelled = Object.entries(data.unlabelled).map(([name, counts], i) => [name, counts, greys[i]]);
  const datasets = [...labelled, ...unlabelled]
    .filter(([, counts]) => counts.some((count) => count > 0))
    .map(([label, counts, backgroundColor]) => ({ label, data: counts, backgroundColor }));
  new Chart(document.getElementById("composition"), {
    type: "bar",
    data: { labels: data.sites.map((site, i) => `${site} (${data.patients[i]} patients)`), datasets },
    options: { indexAxis: "y", maintainAspectRatio: false, animation: false, scales: { x: { stacked: true, title: { display: true, text: "images" } }, y: { stacked: true } } },
  });
}
