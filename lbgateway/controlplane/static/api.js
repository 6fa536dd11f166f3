// The admin API. The token is in this module's memory and nowhere else: closing the page forgets it.

let token = null;

/** The gateway has answered, and the answer is no. `status`, and what it says about it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The gateway answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** There was no answer of the gateway's own. */
export class Unreachable extends Error {}

export function useToken(given) {
  token = given;
}

export function hasToken() {
  return token !== null;
}

/** The JSON at `path`; raises `Refused` or `Unreachable`. */
export async function get(path) {
  const answer = await ask(path, { signal: AbortSignal.timeout(15000) });
  return json(answer);
}

/** Have something done to one instance; returns it as it is then. */
export async function act(service, instance, verb, body) {
  const path = `/admin/upstreams/${encodeURIComponent(service)}/${encodeURIComponent(instance)}/${verb}`;
  const headers = body ? { "Content-Type": "application/json" } : {};
  const signal = AbortSignal.timeout(15000);
  return json(await ask(path, { method: "POST", headers, body: body && JSON.stringify(body), signal }));
}

/** The answer at `path`, its body still to be read. */
export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options, headers });
  } catch (error) {
    throw new Unreachable(error.name === "TimeoutError" ? "No answer within 15 s" : "The gateway cannot be reached");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  // A proxy in front speaks for a gateway that is away.
  if (answer.status >= 500) throw new Unreachable(problem.detail || `The answer was ${answer.status}`);
  throw new Refused(answer.status, problem);
}

async function json(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Unreachable("The answer broke off");
  }
}
