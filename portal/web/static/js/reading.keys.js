// Which key does what: the reader's own map, beside keys that never change.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REPEATED = new Set(["zoom_in", "zoom_out", "darker", "brighter", "softer", "harder"]);

// keys: key -> command; answer.act(key): what a key says about the picture, if anything
export function bindKeys({ keys, commands, answer, box, view, submit, leave, note, help, asleep }) {
  const fixed = {
    Enter: submit, "?": () => help.showModal(), Escape: leave, Delete: box.remove, Backspace: box.remove,
    "=": keys["="] ? null : view.zoomIn,
  };

  function found(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const said = answer.act(key);
    if (said) return { act: said };
    if (commands[keys[key]]) return { act: commands[keys[key]], repeats: REPEATED.has(keys[key]) };
    return { act: fixed[event.key] };
  }
  function inNote(event) {
    if (event.key === "Escape") leave();
    if (event.key === "Enter" && event.ctrlKey && !event.repeat) submit();
  }
  function arrow(event) {
    if (event.target.matches("input[type=range], input[type=radio]") && !box.active) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key];
    if (box.active) box.nudge(dx, dy, event.shiftKey);
    else view.look(dx, dy);
  }

  document.addEventListener("keydown", (event) => {
    if (help.open || event.altKey || event.metaKey || event.target.matches("input:not([type=radio], [type=checkbox], [type=range]), select")) return;
    if (event.target === note) return inNote(event);
    if (event.ctrlKey) {
      if (event.key.toLowerCase() === "z" && box.active) { event.preventDefault(); box.back(); }
      return;
    }
    if (event.target.closest("button, a, dialog, summary") && ["Enter", " "].includes(event.key)) return;
    // an answer on its way is not touched any more
    if (asleep()) return;
    if (event.key in ARROWS) return arrow(event);
    const { act, repeats } = found(event);
    if (!act) return;
    event.preventDefault();
    // holding a key down must not answer the next picture too
    if (!event.repeat || repeats) act();
  });
}
