// The reader's own box over the picture: an SVG rectangle in the picture's pixels, by mouse, touch or keys.
const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 8;
const HANDLE = 9;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export function makeBox({ overlay, picture, field, onChange }) {
  const rect = overlay.querySelector("#box");
  const handles = [0, 1, 2, 3].map(() => overlay.appendChild(document.createElementNS(SVG, "circle")));
  let box = field.value ? field.value.split(",").map(Number) : null;
  let active = false;
  let grip = null;

  const size = () => [picture.naturalWidth, picture.naturalHeight];
  const corners = ([x0, y0, x1, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  const reach = () => HANDLE / (overlay.getScreenCTM()?.a || 1);

  function draw() {
    rect.toggleAttribute("hidden", !box);
    for (const handle of handles) handle.toggleAttribute("hidden", !box || !active);
    field.value = box ? box.map((side) => side.toFixed(1)).join(",") : "";
    if (box) {
      const [x0, y0, x1, y1] = box;
      for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(name, value);
      corners(box).forEach(([x, y], k) => {
        for (const [name, value] of Object.entries({ cx: x, cy: y, r: reach() })) handles[k].setAttribute(name, value);
      });
    }
    onChange({ box, active });
  }
  function set(x0, y0, x1, y1) {
    const [width, height] = size();
    box = [clamp(Math.min(x0, x1), 0, width), clamp(Math.min(y0, y1), 0, height), clamp(Math.max(x0, x1), 0, width), clamp(Math.max(y0, y1), 0, height)];
    draw();
  }
  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(overlay.getScreenCTM().inverse());
    return [point.x, point.y];
  }
  function take(x, y) {
    const near = box ? corners(box).findIndex(([cx, cy]) => Math.hypot(cx - x, cy - y) < 2 * reach()) : -1;
    if (near >= 0) {
      const [fx, fy] = corners(box)[(near + 2) % 4];
      return (tx, ty) => set(fx, fy, tx, ty);
    }
    if (box && x > box[0] && x < box[2] && y > box[1] && y < box[3]) {
      const from = [...box];
      return (tx, ty) => shift(from, tx - x, ty - y);
    }
    return (tx, ty) => set(x, y, tx, ty);
  }
  function shift(from, dx, dy) {
    const [width, height] = size();
    dx = clamp(dx, -from[0], width - from[2]);
    dy = clamp(dy, -from[1], height - from[3]);
    set(from[0] + dx, from[1] + dy, from[2] + dx, from[3] + dy);
  }

  overlay.addEventListener("pointerdown", (event) => {
    if (!active) return;
    event.preventDefault();
    overlay.setPointerCapture(event.pointerId);
    grip = take(...place(event));
  });
  overlay.addEventListener("pointermove", (event) => grip && grip(...place(event)));
  overlay.addEventListener("pointerup", () => {
    grip = null;
    if (box && (box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST)) remove();
  });

  function remove() { box = null; draw(); }
  function toggle(on = !active) {
    active = on;
    // Panzoom leaves what has this class alone: a drag draws then
    overlay.classList.toggle("panzoom-exclude", active);
    overlay.classList.toggle("drawing", active);
    draw();
  }
  function nudge(dx, dy, resize) {
    const [width, height] = size();
    if (!box) return set(width * 0.2, height * 0.2, width * 0.8, height * 0.8);
    const step = Math.max(width, height) / 100;
    if (!resize) return shift(box, dx * step, dy * step);
    set(box[0], box[1], Math.max(box[2] + dx * step, box[0] + SMALLEST), Math.max(box[3] + dy * step, box[1] + SMALLEST));
  }
  return { toggle, remove, nudge, redraw: draw, get active() { return active; } };
}
