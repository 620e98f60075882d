// The answer as it stands on the page: chosen by keys or by mouse, put back from a draft, complete or not.
// leave(): where the keys go when a field is left
export function makeAnswer({ form, boxKinds, say, changed, leave }) {
  const kinds = [...form.querySelectorAll("input[name=kind]")];
  const steps = [...form.querySelectorAll("input[name=confidence]")];
  const reasons = [...form.querySelectorAll("input[name=reasons]")];
  const byKey = Object.fromEntries(kinds.flatMap((radio) => [...radio.dataset.keys].map((key) => [key, radio])));
  const byStep = Object.fromEntries(steps.map((radio) => [radio.dataset.key, radio]));

  const chosen = () => kinds.find((radio) => radio.checked)?.value;
  const asked = () => form.querySelector(`.reasons[data-of="${chosen()}"]`);

  function choose(radio) {
    radio.checked = true;
    say("");
    changed();
    if (asked()) asked().querySelector("input").focus();
    else if (document.activeElement?.closest(".reasons")) leave();
  }
  function step(radio) {
    radio.checked = !radio.checked;
    changed();
  }
  function missing({ box, boxAsked, reasonAsked }) {
    if (!chosen()) return "Choose an answer first: one of the list.";
    if (chosen() === "unusable" && !asked().querySelector(":checked")) {
      asked().querySelector("input").focus();
      return "Say why it is unusable: Space marks a reason, Tab goes to the next.";
    }
    if (reasonAsked && !form.elements.note.value.trim() && !reasons.some((mark) => mark.checked)) {
      form.elements.note.focus();
      return "Say in a few words why. Ctrl and Enter submit.";
    }
    if (boxAsked && !box && boxKinds.includes(chosen())) return "This study asks for a box: draw it around the cervix, then submit.";
    return "";
  }
  return {
    missing,
    act(key) {
      if (byKey[key]) return () => choose(byKey[key]);
      return byStep[key] && (() => step(byStep[key]));
    },
    fields() {
      const marked = new FormData(form);
      return {
        kind: marked.get("kind") || "", reasons: marked.getAll("reasons"), confidence: Number(marked.get("confidence")) || null,
        note: marked.get("note"), box: marked.get("box"),
      };
    },
    put(draft) {
      for (const radio of kinds) radio.checked = radio.value === draft.kind;
      for (const radio of steps) radio.checked = Number(radio.value) === draft.confidence;
      for (const mark of reasons) mark.checked = (draft.reasons || []).includes(mark.value);
      form.elements.note.value = draft.note || "";
    },
  };
}
