// The reader's own box over the picture: an SVG rectangle in the picture's pixels, by mouse, touch or keys, each step to be undone.
const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 8;
const HANDLE = 9;
const MOST_STEPS = 100;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// size: of the whole picture in pixels, whichever rendition is shown
export function makeBox({ overlay, size, field, onChange, onEdit }) {
  const rect = overlay.querySelector("#box");
  // the corners, and the middles of the sides
  const handles = Array.from({ length: 8 }, () => overlay.appendChild(document.createElementNS(SVG, "circle")));
  let box = read();
  let steps = [];
  let active = false;
  let grip = null;

  function read() { return field.value ? field.value.split(",").map(Number) : null; }
  const corners = ([x0, y0, x1, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  const sides = ([x0, y0, x1, y1]) => [[(x0 + x1) / 2, y0], [x1, (y0 + y1) / 2], [(x0 + x1) / 2, y1], [x0, (y0 + y1) / 2]];
  const reach = () => HANDLE / (overlay.getScreenCTM()?.a || 1);

  function draw() {
    rect.toggleAttribute("hidden", !box);
    for (const handle of handles) handle.toggleAttribute("hidden", !box || !active);
    field.value = box ? box.map((side) => side.toFixed(1)).join(",") : "";
    if (box) {
      const [x0, y0, x1, y1] = box;
      for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(name, value);
      [...corners(box), ...sides(box)].forEach(([x, y], k) => {
        for (const [name, value] of Object.entries({ cx: x, cy: y, r: reach() * (k < 4 ? 1 : 0.7) })) handles[k].setAttribute(name, value);
      });
    }
    onChange({ box, active, steps: steps.length });
  }
  function remember() {
    const last = steps.at(-1);
    if (steps.length && String(last) === String(box)) return;
    steps = [...steps.slice(-MOST_STEPS), box && [...box]];
  }
  function edited() { draw(); onEdit(); }
  function set(x0, y0, x1, y1) {
    const [width, height] = size();
    box = [clamp(Math.min(x0, x1), 0, width), clamp(Math.min(y0, y1), 0, height), clamp(Math.max(x0, x1), 0, width), clamp(Math.max(y0, y1), 0, height)];
    draw();
  }
  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(overlay.getScreenCTM().inverse());
    return [point.x, point.y];
  }
  const nearest = (points, x, y) => points.findIndex(([cx, cy]) => Math.hypot(cx - x, cy - y) < 2 * reach());
  function take(x, y) {
    const corner = box ? nearest(corners(box), x, y) : -1;
    if (corner >= 0) {
      const [fx, fy] = corners(box)[(corner + 2) % 4];
      return (tx, ty) => set(fx, fy, tx, ty);
    }
    const side = box ? nearest(sides(box), x, y) : -1;
    if (side >= 0) {
      const from = [...box];
      const at = [1, 2, 3, 0][side];
      return (tx, ty) => set(...from.map((value, k) => (k === at ? (at % 2 ? ty : tx) : value)));
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
    if (!active || event.button !== 0) return;
    event.preventDefault();
    overlay.setPointerCapture(event.pointerId);
    remember();
    grip = take(...place(event));
  });
  overlay.addEventListener("pointermove", (event) => grip && grip(...place(event)));
  overlay.addEventListener("pointerup", () => {
    if (!grip) return;
    grip = null;
    if (box && (box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST)) box = null;
    edited();
  });

  function remove() {
    if (!box) return;
    remember();
    box = null;
    edited();
  }
  function back() {
    if (!steps.length) return;
    box = steps.pop();
    edited();
  }
  function toggle(on = !active) {
    active = on;
    // Panzoom leaves what has this class alone: a drag draws then
    overlay.classList.toggle("panzoom-exclude", active);
    overlay.classList.toggle("drawing", active);
    draw();
  }
  function nudge(dx, dy, resize) {
    const [width, height] = size();
    remember();
    const step = Math.max(width, height) / 100;
    if (!box) set(width * 0.2, height * 0.2, width * 0.8, height * 0.8);
    else if (!resize) shift(box, dx * step, dy * step);
    else set(box[0], box[1], Math.max(box[2] + dx * step, box[0] + SMALLEST), Math.max(box[3] + dy * step, box[1] + SMALLEST));
    edited();
  }
  function put(text) {
    field.value = text || "";
    box = read();
    steps = [];
    toggle(false);
  }
  return { toggle, remove, back, nudge, put, redraw: draw, get active() { return active; }, get drawn() { return box !== null; } };
}
