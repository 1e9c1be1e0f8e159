/** Texts that must never turn up where they do not belong, and the search for them in whatever form they may take. */
export class Canaries {
  readonly #named: readonly (readonly [string, string])[];

  constructor(texts: Readonly<Record<string, string>>) {
    this.#named = Object.entries(texts).flatMap(([name, text]) => formsOf(text).map((form) => [name, form] as const));
  }

  /** The names of those that `text` holds, as they are or encoded. */
  foundIn(text: string): readonly string[] {
    const lower = text.toLowerCase();
    return [...new Set(this.#named.filter(([, form]) => lower.includes(form)).map(([name]) => name))];
  }

  /** Where each was found, for a message that tells what to mend; empty if nowhere. */
  sightings(places: Readonly<Record<string, string>>): readonly string[] {
    return Object.entries(places).flatMap(([place, text]) => {
      const lower = text.toLowerCase();
      const found = this.#named.find(([, form]) => lower.includes(form));
      if (found === undefined) return [];
      const at = lower.indexOf(found[1]);
      return [`${place}: ${found[0]} in …${text.slice(Math.max(0, at - 150), at + 80)}…`];
    });
  }
}

/** As it is, percent-encoded, in hexadecimal and in base64 at each of its three offsets; letters small. */
function formsOf(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const base64 = [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    // The ends depend on what stands beside it.
    return encoded.slice(offset === 0 ? 0 : 4, -2);
  });
  const forms = [text, encodeURIComponent(text), bytes.toString('hex'), ...base64];
  return [...new Set(forms.filter((form) => form.length >= 8).map((form) => form.toLowerCase()))];
}
