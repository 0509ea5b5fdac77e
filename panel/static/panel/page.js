/* What every page of the panel does: the workspace switcher submits itself. */
for (const select of document.querySelectorAll("[data-submit-on-change]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
