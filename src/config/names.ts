/** A variable that looks like one of Chokin's but is not. */
export interface UnknownVariable {
  readonly name: string;
  /** Chokin's variable with the nearest name. */
  readonly nearest: string;
}

/** So short or so common that other programs have variables which begin with them. */
const COMMON = /^(?:PORT|HOST|MODE|API_KEY|DATA_DIR|LOG_LEVEL|OTEL_.*|CHOKIN_.*)$/;
/** A variable that begins so is almost certainly meant for Chokin. */
const CHOKIN_PREFIXES = /^(?:WALLET|LOW_BALANCE|RECONCILE|MERCHANT|FX_RATES|SVIX|WEBHOOK)_/;
/** Letters that may be wrong, missing or too many in a slip of the hand. */
const SLIP = 2;

/**
 * Names among `set` that somebody will have meant for Chokin: another variable of a provider (`STRIPE_SECRET`), a known one with
 * something behind it (`DATABASE_URL_OLD`), and slips (`DATABSE_URL`). Whatever stands in .env (`fromFile`) is for Chokin, so there names that are
 * common elsewhere count too.
 * @param known every name that is read
 * @param providers as they begin the names of their variables: `STRIPE`
 */
export function unknownVariables(
  { set, fromFile }: { readonly set: Readonly<Record<string, string>>; readonly fromFile: ReadonlySet<string> },
  known: readonly string[],
  providers: readonly string[],
): readonly UnknownVariable[] {
  const knownNames = new Set(known);
  return Object.keys(set)
    .filter((name) => /^[A-Za-z]\w*$/.test(name) && !knownNames.has(name) && !name.startsWith('OTEL_'))
    .map((name) => ({ name, nearest: nearestOf(name, known) }))
    .filter(({ name, nearest }) => {
      if (CHOKIN_PREFIXES.test(name) || providers.some((provider) => name.startsWith(`${provider}_`))) return true;
      const isCommon = (one: string) => COMMON.test(one) && !fromFile.has(name);
      return (
        known.some((one) => name.startsWith(`${one}_`) && !isCommon(one)) ||
        (!isCommon(nearest) &&
          distance(name.toUpperCase(), nearest) <= (fromFile.has(name) ? SLIP : Math.min(SLIP, nearest.length / 4)))
      );
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** The name that shares most words with `name`; among several, the one with the fewest letters to change. */
function nearestOf(name: string, known: readonly string[]): string {
  const upper = name.toUpperCase();
  const words = new Set(upper.split('_'));
  const scored = known.map((one) => {
    const others = new Set(one.split('_'));
    return { one, shared: words.intersection(others).size / words.union(others).size, letters: distance(upper, one) };
  });
  // A name with a misspelt word has fewer whole words in common than other names, but is the likelier one.
  const slip = scored.filter(({ letters }) => letters <= SLIP).sort((a, b) => a.letters - b.letters)[0];
  const best = slip ?? scored.sort((a, b) => b.shared - a.shared || a.letters - b.letters)[0];
  return best?.one ?? '';
}

/** How many letters to add, remove or change to make one text the other (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const changed = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
