// @ts-check
// Language, light and dark, and the new address after the token was renewed.

const root = document.documentElement;
const themes = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-theme-is]"));

function show() {
  for (const one of themes) one.setAttribute("aria-pressed", String(one.dataset.themeIs === (root.dataset.theme ?? "system")));
}

for (const one of themes) {
  one.addEventListener("click", () => {
    const wanted = one.dataset.themeIs ?? "system";
    if (wanted === "system") delete root.dataset.theme;
    else root.dataset.theme = wanted;
    if (wanted === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", wanted);
    show();
  });
}
document.getElementById("theme")?.addEventListener("click", show);
show();

document.getElementById("renew")?.addEventListener("renewed", (event) => {
  const place = /** @type {HTMLElement} */ (document.getElementById("token"));
  /** @type {HTMLElement} */ (place.querySelector("code")).textContent = /** @type {CustomEvent} */ (event).detail.url;
  place.hidden = false;
});
