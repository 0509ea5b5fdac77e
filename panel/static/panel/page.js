/* What every page of the panel does: the workspace switcher submits itself. */
for (const select of document.querySelectorAll("[data-submit-on-change]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

/* A link to set a password carries its proof behind the #: it goes into the form, and out of the address bar. */
for (const field of document.querySelectorAll("[data-from-hash]")) {
  const proof = decodeURIComponent(window.location.hash.slice(1));
  if (proof) {
    field.value = proof;
    history.replaceState(null, "", window.location.pathname + window.location.search);
  }
  if (field.value) {
    field.closest(".field").hidden = true;
  }
}
