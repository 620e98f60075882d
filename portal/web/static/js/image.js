// The switch that hides the boxes, so that what lies below them can be seen.
const toggle = document.getElementById("show-boxes");
const boxes = document.getElementById("boxes");
toggle?.addEventListener("change", () => boxes.toggleAttribute("hidden", !toggle.checked));
