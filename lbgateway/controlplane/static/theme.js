// Dark or light: as the system says, or as chosen here. Nothing else of this page is ever stored.

import { setText } from "./dom.js";

const KEY = "lbgateway.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" };

export function followTheme(button) {
  let theme = stored();
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    setText(button, WORDS[theme]);
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // A browser that stores nothing still shows it.
    }
    apply();
  });
  apply();
}

function stored() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme in NEXT ? theme : "auto";
  } catch {
    return "auto";
  }
}
