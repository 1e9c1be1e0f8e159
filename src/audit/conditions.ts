/**
 * A condition as Postgres writes it, in the one form that all ways to write the same have: chains without brackets that only group, lists of
 * texts in one order. A list of what may stand in a column gets longer in the order in which migrations were applied.
 */
export function normalForm(text: string): string {
  return flattenChains(
    text.replaceAll(LIST_OF_TEXTS, (_, items: string) => `ARRAY[${items.split(', ').sort().join(', ')}]`),
  );
}

const LIST_OF_TEXTS = /ARRAY\[('\w*'::text(?:, '\w*'::text)*)\]/g;

type Part = string | Group;

/** What stands between a pair of brackets. */
interface Group {
  readonly parts: readonly Part[];
}

/**
 * Without brackets that only group `a AND b` within a longer chain of AND (or of OR). Reading a dump it
 * flattens some such chains, so a restored database writes the same condition with fewer brackets than the one that was dumped.
 */
function flattenChains(text: string): string {
  const tokens = text.match(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[^()'"]+/g) ?? [];
  const { parts } = groupFrom(tokens[Symbol.iterator]());
  return parts.map(render).join('');
}

function groupFrom(tokens: Iterator<string>): Group {
  const parts: Part[] = [];
  for (let next = tokens.next(); next.done !== true && next.value !== ')'; next = tokens.next())
    parts.push(next.value === '(' ? groupFrom(tokens) : next.value);
  return { parts };
}

function render(part: Part): string {
  return typeof part === 'string' ? part : `(${flattened(part).map(render).join('')})`;
}

/** The parts of a group, those of its members that are chains of its own operator among them. */
function flattened(group: Group): readonly Part[] {
  const operator = operatorOf(group);
  if (operator === null) return group.parts;
  return group.parts.flatMap((part, index) => {
    const isMember = isOperator(group.parts[index - 1]) && isOperator(group.parts[index + 1]);
    if (typeof part === 'string' || !isMember || operatorOf(part) !== operator) return [part];
    return flattened(part);
  });

  /** Next to a member of the chain stands the operator alone, or nothing. */
  function isOperator(part: Part | undefined): boolean {
    return part === undefined || part === operator;
  }
}

/** By what the members of a group are joined, if they are all bracketed and joined by one operator. */
function operatorOf({ parts }: Group): ' AND ' | ' OR ' | null {
  const [operator, ...others] = new Set(parts.filter((part) => typeof part === 'string'));
  return others.length === 0 && (operator === ' AND ' || operator === ' OR ') ? operator : null;
}
