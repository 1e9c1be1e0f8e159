/** SQL text, or text with a name under which the connection keeps its plan (for the hot statements). */
export type SqlText = string | { readonly name: string; readonly text: string };

const knownToWrite = new Map<string, boolean>();

/** Whether a statement writes rows, by its words. Those with a name are looked at once. */
export function writes(statement: SqlText): boolean {
  if (typeof statement === 'string') return WRITES.test(statement);
  const known = knownToWrite.get(statement.name) ?? WRITES.test(statement.text);
  knownToWrite.set(statement.name, known);
  return known;
}

// The queue writes its own in capitals.
const WRITES = /\b(?:insert into|(?<!for |key )update|delete from)\b/i;
