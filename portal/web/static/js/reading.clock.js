// Active time with a picture: neither idle nor with the tab hidden.
const IDLE = 60_000;

export function makeClock() {
  let active = 0;
  let since = performance.now();
  let touched = since;
  let visible = document.visibilityState === "visible";

  function settle() {
    const now = performance.now();
    if (visible) active += Math.max(0, Math.min(now, touched + IDLE) - since);
    since = now;
    return now;
  }
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) {
    document.addEventListener(kind, () => { touched = settle(); }, { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    touched = settle();
    visible = document.visibilityState === "visible";
  });
  return {
    begin() { touched = settle(); active = 0; },
    seconds() { settle(); return active / 1000; },
    idle: () => !visible || performance.now() - touched > IDLE,
  };
}
