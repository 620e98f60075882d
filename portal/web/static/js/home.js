// Labels by site, as stacked bars.
import { BarController, BarElement, CategoryScale, Chart, Legend, LinearScale, Tooltip } from "chart.js";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, Legend, Tooltip);
const holder = document.getElementById("composition-data");
if (holder) {
  const data = JSON.parse(holder.textContent);
  const style = getComputedStyle(document.documentElement);
  const datasets = Object.entries(data.kinds)
    .filter(([, counts]) => counts.some((count) => count > 0))
    .map(([kind, counts]) => ({ label: kind.replaceAll("_", " "), data: counts, backgroundColor: style.getPropertyValue(`--${kind}`).trim() }));
  new Chart(document.getElementById("composition"), {
    type: "bar",
    data: { labels: data.sites.map((site, i) => `${site} (${data.patients[i]} patients)`), datasets },
    options: { indexAxis: "y", maintainAspectRatio: false, animation: false, scales: { x: { stacked: true, title: { display: true, text: "images" } }, y: { stacked: true } } },
  });
}
