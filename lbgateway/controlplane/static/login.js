// The door: asks for a token, once, when the gateway wants one.

import { useToken } from "./api.js";
import { h, setAttribute, setHidden, setText } from "./dom.js";

export class Login {
  constructor(onToken) {
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    const secret = { type: "password", required: true, autocomplete: "off", spellcheck: "false" };
    this.field = h("input", { id: "token", ...secret, "aria-describedby": "token-note" });
    this.element = h(
      "form",
      { class: "login" },
      h("h2", { text: "Sign in" }),
      h("label", { for: "token", text: "Admin token, or a JWT with the admin scope" }),
      this.field,
      h("p", { class: "note", id: "token-note", text: "Kept in the memory of this page only: closing or reloading it forgets the token." }),
      this.problem,
      h("button", { type: "submit", class: "primary", text: "Open" }),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      useToken(this.field.value.trim().replace(/^Bearer\s+/i, ""));
      this.field.value = "";
      onToken();
    });
  }

  /** Say why the door is closed; null for somebody who has only just come. */
  show(problem) {
    setHidden(this.problem, !problem);
    setAttribute(this.field, "aria-invalid", problem ? "true" : null);
    setText(this.problem, problem ?? "");
    this.field.focus();
  }
}
