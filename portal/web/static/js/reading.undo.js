// Taking back the last answer, as long as its minute runs.
export function makeUndo(form) {
  if (!form) return { begin() {}, end() {}, ask() {} };
  const left = form.querySelector("#undo-left");
  let over = 0;
  let timer = null;

  function tick() {
    const seconds = Math.ceil((over - performance.now()) / 1000);
    if (seconds <= 0) return end();
    left.textContent = `${seconds} s left`;
  }
  function begin(token, seconds) {
    if (token) form.elements.token.value = token;
    over = performance.now() + seconds * 1000;
    form.hidden = false;
    clearInterval(timer);
    timer = setInterval(tick, 1000);
    tick();
  }
  function end() {
    clearInterval(timer);
    form.hidden = true;
  }
  if (!form.hidden) begin("", Number(form.dataset.seconds));
  document.addEventListener("keydown", (event) => {
    // without a picture there is no room that minds the keys
    if (!document.getElementById("room") && event.key === form.dataset.key) form.requestSubmit();
  });
  return { form, begin, end, ask() { if (!form.hidden) form.requestSubmit(); } };
}
