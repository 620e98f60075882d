// The other pictures of the same exam: one of them beside the picture, zoomed, moved and lit alike, or in its place in turn.
const get = (id) => document.getElementById(id);

export function makeBeside({ main, picture, down, changed }) {
  const strip = get("strip");
  const frame = get("beside-frame");
  const stage = get("beside-stage");
  const shown = get("beside-picture");
  const overlaid = get("blink");
  let thumbs = [];
  let at = -1;
  let blinking = false;

  // frames of one size: what moves one moves the other
  function follow() {
    stage.style.transform = main.style.transform;
    shown.style.filter = overlaid.style.filter = picture().style.filter;
  }
  function show(place) {
    at = place;
    thumbs.forEach((thumb, k) => thumb.setAttribute("aria-pressed", k === at));
    frame.hidden = at < 0;
    get("frames").classList.toggle("two", at >= 0);
    if (at < 0) blink(false);
    else shown.src = overlaid.src = thumbs[at].dataset.full;
    say();
    follow();
    changed();
  }
  function say() {
    const other = `another of the exam, ${at + 1} of ${thumbs.length}`;
    get("beside-which").textContent = at < 0 ? "" : other;
    get("which").textContent = at < 0 ? "" : blinking ? other : "the one to be read";
    get("which").classList.toggle("other", blinking);
  }
  function blink(on = !blinking && thumbs.length > 0) {
    if (on && at < 0) show(0);
    blinking = on;
    overlaid.hidden = !on;
    get("blink-toggle").setAttribute("aria-pressed", on);
    say();
  }
  function thumb(token, key, k, count) {
    const address = (size) => strip.dataset.address.replace("TOKEN", token).replace("KEY", key).replace("SIZE", size);
    const made = document.createElement("button");
    made.type = "button";
    made.className = "thumb";
    made.dataset.full = address("full");
    made.setAttribute("aria-pressed", "false");
    made.setAttribute("aria-label", `Picture ${k + 1} of ${count}, beside`);
    const small = made.appendChild(new Image());
    Object.assign(small, { src: address("small"), alt: "", draggable: false });
    made.addEventListener("click", () => show(k === at ? -1 : k));
    return made;
  }
  function load(token, keys) {
    thumbs = keys.map((key, k) => thumb(token, key, k, keys.length));
    get("thumbs").replaceChildren(...thumbs);
    strip.hidden = !keys.length;
    for (const image of [shown, overlaid]) image.removeAttribute("src");
    show(-1);
  }

  stage.addEventListener("pointerdown", down);
  for (const image of [shown, overlaid]) {
    image.addEventListener("error", () => { get("beside-which").textContent = "This picture could not be loaded: it may have been withdrawn."; });
  }
  return { follow, blink, load, next: () => thumbs.length && show(at + 1 < thumbs.length ? at + 1 : -1) };
}
