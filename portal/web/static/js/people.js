// Copies the one-time link.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      document.querySelector("[data-copied]").textContent = "Copied.";
    } catch {
      document.querySelector("[data-copied]").textContent = "The link is selected: copy it with Ctrl+C.";
    }
  });
}
