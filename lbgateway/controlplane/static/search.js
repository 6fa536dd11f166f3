// Search inside of services. Their instances are not on the page, so while somebody searches, all are read, at a calm pace.

import { get } from "./api.js";

const EVERY_MS = 20000;
/** So many instances at once: reading 4,000 in one go would block the page for a tenth of a second. */
const AT_ONCE = 500;
/** Shorter words are for names of services. */
const LEAST = 2;

export class SearchIndex {
  constructor(onNews) {
    this.onNews = onNews;
    this.texts = new Map(); // service -> what can be searched of each of its instances
    this.readAtMs = -EVERY_MS;
    this.reading = false;
  }

  /** Have something to search in for these words. */
  async follow(words) {
    const needed = words.some((word) => word.length >= LEAST);
    if (!needed || this.reading || performance.now() - this.readAtMs < EVERY_MS) return;
    this.reading = true;
    try {
      this.texts = await readAll();
      this.readAtMs = performance.now();
      this.onNews();
    } catch {
      // Names of services are still found; the next look says what is wrong.
    } finally {
      this.reading = false;
    }
  }

  /** Whether an instance of `service` has all the words. */
  matches(service, words) {
    return words.some((word) => word.length >= LEAST) && (this.texts.get(service) ?? []).some((text) => has(text, words));
  }

  instanceMatches(instance, words) {
    return has(textOf(instance), words);
  }
}

/** Service -> texts of its instances, page by page; a service may go on with the next one. */
async function readAll() {
  const texts = new Map();
  let cursor = "";
  while (cursor !== null) {
    const page = await get(`/admin/upstreams?limit=${AT_ONCE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    for (const { name, instances } of page.services) texts.set(name, [...(texts.get(name) ?? []), ...instances.map(textOf)]);
    cursor = page.next_cursor ?? null;
  }
  return texts;
}

function textOf(instance) {
  const meta = Object.entries(instance.meta).map(([key, value]) => `${key}=${value}`);
  const { id, node, address, port, zone, state, tags } = instance;
  const words = [id, node, `${address}:${port}`, zone ?? "", state, ...tags, ...meta];
  return words.join("\n").toLowerCase();
}

function has(text, words) {
  return words.every((word) => text.includes(word));
}
