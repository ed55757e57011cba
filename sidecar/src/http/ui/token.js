// Asks for the token where the server wants one. It is kept in memory alone: `localhost` is one origin for all that is forwarded.

import * as api from "./api.js";
import { h, fill } from "./dom.js";

// Done when the server lets us in, or wants nothing.
export async function askForToken(root) {
  while (await isRefused()) await asked(root, api.hasToken());
}

const isRefused = () => api.request("/version").then(() => false, (error) => error.problem?.code === api.UNAUTHORIZED);

function asked(root, again) {
  return new Promise((given) => {
    const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const submit = (event) => {
      event.preventDefault();
      api.setToken(field.value.trim());
      given();
    };
    fill(root, h("form", { class: "token", submit },
      h("h2", {}, "A token is required"),
      again && h("p", { role: "alert" }, "That was not it."),
      h("p", {}, "This server was started with a token file. The page keeps what you enter until it is closed or reloaded."),
      h("label", { for: "token" }, "Token ", field), h("button", { type: "submit", class: "primary" }, "Continue")));
    field.focus();
  });
}
