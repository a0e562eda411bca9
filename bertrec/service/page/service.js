// What the page asks of the service, and the key that the service may ask for.

const KEY = "bertrec-key";

export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function keep(key) {
  sessionStorage.setItem(KEY, key);
}

function headers(body) {
  const key = sessionStorage.getItem(KEY);
  return {
    Accept: "application/json",
    ...(body && { "Content-Type": "application/json" }),
    ...(key && { Authorization: `Bearer ${key}` }),
  };
}

// Send a request; `body` makes it a POST. A path without a leading slash also holds where the service is not at the root of its host.
export async function ask(path, body, signal) {
  let answer;
  try {
    const init = { method: body ? "POST" : "GET", headers: headers(body), body: body && JSON.stringify(body), signal };
    answer = await fetch(new URL(path, document.baseURI.split("#")[0]), init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer.", 0);
  }
  const found = await answer.json().catch(() => null);
  if (answer.ok && found !== null) return found;
  throw new ServiceError(found?.error ?? `The service answered ${answer.status}.`, answer.status);
}
