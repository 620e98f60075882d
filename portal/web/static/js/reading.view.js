// Zoom, pan and light of the picture, kept from one picture to the next (for this browser tab alone).
import Panzoom from "@panzoom/panzoom";

const KEPT = "winnow.view";
const PLAIN = { scale: 1, x: 0, y: 0, brightness: 100, contrast: 100 };
const STEP = 60;
const DRAG = 0.5;

// picture(): the one that is shown now
export function makeView({ frame, stage, picture, onChange }) {
  const kept = { ...PLAIN, ...JSON.parse(sessionStorage.getItem(KEPT) || "{}") };
  const brightness = document.getElementById("brightness");
  const contrast = document.getElementById("contrast");
  const zoomText = document.getElementById("zoom");
  const panzoom = Panzoom(stage, {
    maxScale: 12, minScale: 0.5, step: 0.25, canvas: true, cursor: "grab", animate: false,
    startScale: kept.scale, startX: kept.x, startY: kept.y,
  });

  function keep() {
    const { x, y } = panzoom.getPan();
    const scale = panzoom.getScale();
    zoomText.textContent = `${Math.round(scale * 100)} %`;
    sessionStorage.setItem(KEPT, JSON.stringify({ scale, x, y, brightness: +brightness.value, contrast: +contrast.value }));
    onChange({ scale });
  }
  function light() {
    picture().style.filter = `brightness(${brightness.value}%) contrast(${contrast.value}%)`;
    keep();
  }
  function turn(slider, by) {
    slider.value = +slider.value + by;
    light();
  }

  brightness.value = kept.brightness;
  contrast.value = kept.contrast;
  for (const slider of [brightness, contrast]) slider.addEventListener("input", light);
  stage.addEventListener("panzoomchange", () => requestAnimationFrame(keep));
  frame.addEventListener("wheel", (event) => { event.preventDefault(); panzoom.zoomWithWheel(event); }, { passive: false });
  requestAnimationFrame(light);

  // ---- light by drag: right button, or Shift; before Panzoom sees the pointer
  let from = null;
  frame.addEventListener("contextmenu", (event) => event.preventDefault());
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 2 && !(event.shiftKey && event.button === 0)) return;
    event.preventDefault();
    event.stopPropagation();
    frame.setPointerCapture(event.pointerId);
    from = { x: event.clientX, y: event.clientY, brightness: +brightness.value, contrast: +contrast.value };
  }, { capture: true });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    contrast.value = from.contrast + (event.clientX - from.x) * DRAG;
    brightness.value = from.brightness - (event.clientY - from.y) * DRAG;
    light();
  });
  for (const kind of ["pointerup", "pointercancel"]) frame.addEventListener(kind, () => { from = null; });

  return {
    light,
    down: (event) => panzoom.handleDown(event),
    zoomIn: () => panzoom.zoomIn({ animate: false }),
    zoomOut: () => panzoom.zoomOut({ animate: false }),
    fit: () => panzoom.reset({ animate: false, startScale: 1, startX: 0, startY: 0 }),
    plain: () => { brightness.value = contrast.value = 100; light(); },
    brighter: (sign) => turn(brightness, 10 * sign),
    harder: (sign) => turn(contrast, 10 * sign),
    // the arrow says where to look: the picture moves the other way
    look: (dx, dy) => panzoom.pan(-dx * STEP / panzoom.getScale(), -dy * STEP / panzoom.getScale(), { relative: true }),
  };
}
